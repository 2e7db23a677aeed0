"""Cityscapes as its authors ship it: `leftImg8bit/<part>/<city>/` and `gtFine/<part>/<city>/`.

Images may have been made smaller, and saved in any format, if masks were made smaller as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from dmt.core import IGNORE_INDEX
from dmt.data.catalog import Catalog, Part
from dmt.data.decode import shown
from dmt.data.finding import image_paths
from dmt.data.layouts.scene_rows import (
    SceneRows,
    by_stem,
    listed,
    require_masks,
    scene_catalog,
    subfolders,
)
from dmt.data.mask_files import Coding
from dmt.errors import DataError

CLASSES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign",
    "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train",
    "motorcycle", "bicycle",
)  # fmt: skip
_IMAGES, _MASKS = "leftImg8bit", "gtFine"
_PARTS = {"train": Part.TRAIN, "val": Part.VAL}
_UNUSED = {
    "test": "the public masks of its test part are empty",
    "train_extra": "only coarse masks exist for train_extra",
}
_TRAIN_IDS, _LABEL_IDS = "labelTrainIds", "labelIds"
# Label id of each of the 19 classes, in the order of CLASSES; the others are left out.
_LABEL_ID_OF = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
_NUM_LABEL_IDS = 34  # beside −1 (licence plate), which the masks do not hold


def has_cityscapes(root: Path) -> bool:
    """Whether `root` holds `leftImg8bit/`."""
    return (root / _IMAGES).is_dir()


def read_cityscapes(root: Path, *, follow_links: bool = False) -> Catalog:
    """The train and val images of Cityscapes, with the 19 classes that are scored.

    Args:
        root: absolute path of the folder that holds `leftImg8bit/` and `gtFine/`.
        follow_links: whether links may leave it.

    Returns:
        A catalog of layout `cityscapes`. Masks are `*_labelTrainIds` where every image that has
        masks has that one, else `*_labelIds` with its ids mapped. A train image without a mask
        is unlabeled.

    Raises:
        DataError: a mask has no image, two files have one stem, no image to train on has a mask,
            or one kind of mask covers only some images and the other kind only others.
    """
    gathered = SceneRows(follow_links=follow_links)
    gathered.tell_unused(root, ("labeled.txt", "classes.txt"), f"{_IMAGES}/")
    images: dict[Part, dict[str, str]] = {}
    for name in subfolders(root / _IMAGES):
        if name not in _PARTS:
            reason = _UNUSED.get(name, "known are train and val")
            path = f"{_IMAGES}/{name}"
            gathered.tell("ignored-folder", path, f"{shown(path)}/ is not used: {reason}")
            continue
        found = gathered.images_in(root, root / _IMAGES / name)
        images[_PARTS[name]] = by_stem(found, f"{_IMAGES}/{name}/", f"_{_IMAGES}")
    masks = _masks(root, follow_links)
    for part, of_part in masks.items():
        gathered.add(images.get(part, {}), of_part, part)
    require_masks(root, gathered, "put the masks into gtFine/train/<city>/")
    return scene_catalog(root, "cityscapes", *cityscapes_coding(gathered.masks), gathered)


def cityscapes_coding(masks: Iterable[str]) -> tuple[tuple[str, ...], Coding]:
    """The 19 classes that are scored, and how masks of these names hold them."""
    has_ids = any(os.path.splitext(path)[0].endswith(_LABEL_IDS) for path in masks)
    return CLASSES, Coding(len(CLASSES), _label_ids() if has_ids else None)


def _masks(root: Path, follow_links: bool) -> dict[Part, dict[str, str]]:
    """The masks of the kind that is used, by part and stem."""
    by_kind: dict[str, dict[Part, dict[str, str]]] = {_TRAIN_IDS: {}, _LABEL_IDS: {}}
    for name, part in _PARTS.items():
        folder = root / _MASKS / name
        is_there = folder.is_dir()
        files = image_paths(folder, root, follow_links=follow_links) if is_there else []
        for kind, masks in by_kind.items():
            ending = f"_{_MASKS}_{kind}"
            of_kind = [path for path in files if os.path.splitext(path)[0].endswith(ending)]
            masks[part] = by_stem(of_kind, f"{_MASKS}/{name}/", ending)
    stems = {
        kind: {f"{part.name.lower()}/{stem}" for part, of in masks.items() for stem in of}
        for kind, masks in by_kind.items()
    }
    missing = sorted(stems[_LABEL_IDS] - stems[_TRAIN_IDS])
    if stems[_TRAIN_IDS] and not missing:
        return by_kind[_TRAIN_IDS]
    if stems[_TRAIN_IDS] - stems[_LABEL_IDS]:
        raise DataError(
            f"in {shown(root / _MASKS)} some images have only *_{_LABEL_IDS} masks "
            f"({listed(missing)}) and others only *_{_TRAIN_IDS}: give all images one kind"
        )
    return by_kind[_LABEL_IDS]


def _label_ids() -> tuple[int, ...]:
    values = [IGNORE_INDEX] * _NUM_LABEL_IDS
    for train_id, label_id in enumerate(_LABEL_ID_OF):
        values[label_id] = train_id
    return tuple(values)
