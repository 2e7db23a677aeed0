"""Made-up films of scenes and their splits, for the tests beside this file. Holds no tests."""

import numpy as np

from dmt.data.catalog import Catalog, MaskFiles, Part
from dmt.data.mask_splits import MaskSplit, make_mask_split
from dmt.data.masks import Coding

PARTS = {"train": Part.TRAIN, "val": Part.VAL, "test": Part.TEST}
DRIVE = r"images/([a-z]+)_"
FILMS = {"a": 40, "b": 30, "c": 25}


class CountingReader:
    """Reads a mask whose only pixel is the id, and remembers who asked."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def __call__(self, id: int) -> np.ndarray:
        self.read.append(id)
        return np.full((1, 1), id, dtype=np.uint8)


def catalog_of(layout: str = "image-mask-folders", **counts: dict[str, int]) -> Catalog:
    """Counts by part and film: catalog_of(train={"a": 9, "b-": 3}); "-" behind: without masks."""
    rows = sorted(
        (f"{part}/images/{film.rstrip('-')}_{number}{'x' * ('-' in film)}.png", film, PARTS[part])
        for part, of_part in counts.items()
        for film, count in of_part.items()
        for number in range(count)
    )
    labels = [-1 if "-" in film else 0 for _, film, _ in rows]
    paths = tuple(path for path, _, _ in rows)
    masks = [path * (label == 0) for path, label in zip(paths, labels, strict=True)]
    return Catalog(
        name="films",
        layout=layout,
        root=None,
        classes=("road", "sky"),
        paths=paths,
        labels=np.array(labels, dtype=np.int64),
        parts=np.array([part for _, _, part in rows], dtype=np.uint8),
        images=np.zeros((len(rows), 1, 1, 3), dtype=np.uint8),
        problems=(),
        masks=MaskFiles(tuple(masks), Coding(2)),
    )


def split_of(catalog: Catalog, **settings) -> MaskSplit:
    reader = CountingReader()
    split = make_mask_split(catalog, reader, **({"seed": 1, "labels": None} | settings))
    assert reader.read == []
    return split


def paths_of(catalog: Catalog, ids) -> set[str]:
    return {catalog.paths[row] for row in ids}


def parts_of(split: MaskSplit) -> list[np.ndarray]:
    return [split.labeled, split.unlabeled, split.val.ids, split.test.ids]
