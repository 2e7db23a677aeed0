"""The rows of a review as a file for a labeling tool, with what the models say of each image."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dmt.annotations import coco, label_studio
from dmt.annotations.items import GIVEN, Item, Said
from dmt.annotations.lines import read_content, table_lines
from dmt.config import Settings
from dmt.data.catalog import Catalog
from dmt.data.decode import shown
from dmt.data.headers import read_header
from dmt.data.masks import read_mask
from dmt.engine.segmenter import Segmenter
from dmt.errors import DataError, SettingError
from dmt.inference.peers import image_of, open_segmenters
from dmt.insight.review import WRONG, ReviewRow
from dmt.records import write_text
from dmt.reviews.mask_correcting import networks_of

LABEL_STUDIO, COCO = "label-studio", "coco"
_PAIR = ("Peer a", "Peer b")  # that judges labels, whatever the run itself trained


def refuse_export(export: str | None, only: str | None, catalog: Catalog) -> None:
    """Look at what is asked before any work is done.

    Raises:
        SettingError: there is no such format, or `only` without one.
        DataError: the images are no files.
    """
    if export is None:
        if only is not None:
            raise SettingError(f"only={shown(only)} is for an export; add export=label-studio")
        return
    if export not in {LABEL_STUDIO, COCO}:
        raise SettingError(f"export={shown(export)} does not work; use {LABEL_STUDIO} or {COCO}")
    if catalog.root is None:
        raise DataError(
            f"the images of {catalog.name} are no files, so no tool could open them; only data in "
            "a folder or a CSV can be exported"
        )


def chosen_rows(rows: Sequence[ReviewRow], only: str | None) -> list[ReviewRow]:
    """The rows whose image a file of corrections leaves to be annotated; without one all.

    Raises:
        DataError: it is no such file, or none of the rows is to be annotated.
    """
    if only is None:
        return list(rows)
    lines = table_lines(Path(only), read_content(Path(only))).found
    last = {line.path: line.action for line in lines}
    found = [row for row in rows if last.get(row.path) == "annotate"]
    if not found:
        raise DataError(f"{shown(only)} leaves no image of the review to annotate; mark some there")
    return found


def export_rows(
    run: Path, catalog: Catalog, settings: Settings, rows: Sequence[ReviewRow],
    networks: Sequence[Sequence[str]], names: tuple[str, str], export: str,
) -> list[Path]:  # fmt: skip
    """Write `review-label-studio.json` with its interface, or `review-coco.json`, into the run.

    Args:
        run: its folder.
        catalog: its data, in a folder.
        settings: of the run.
        rows: which images.
        networks: of every row the networks that speak of it, where images have masks.
        names: what the models are called.
        export: the format.

    Returns:
        The files.

    Raises:
        DataError: an image cannot be read.
        RunError: a file cannot be written.
    """
    assert catalog.root is not None
    say = _Masks(run, catalog, settings) if catalog.task == "segmentation" else None
    items = []
    own = frozenset(catalog.paths[: catalog.num_own])
    for row, spoken in zip(rows, networks, strict=True):
        if row.path not in own:
            raise DataError(
                f"{shown(row.path)} is not in {shown(catalog.root)}: export= is for images of the "
                "data's own folder, not of data.unlabeled; leave it out"
            )
        header = read_header(catalog.root / row.path)
        called = _PAIR if row.section == WRONG else names
        said = _labels(row, called) if say is None else say(row, spoken, called)
        items.append(
            Item(row.path, row.section, row.rank, row.score, header.height, header.width, said)
        )
    path = run / f"review-{export}.json"
    if export == COCO:
        _write(path, coco.document(items, catalog.classes))
        return [path]
    _write(path, label_studio.tasks(items, catalog.classes, catalog.root.name))
    xml = label_studio.interface(catalog.classes, is_dense=say is not None)
    write_text(path.with_suffix(".xml"), xml)
    return [path, path.with_suffix(".xml")]


def _write(path: Path, value: object) -> None:
    # Runs of masks one number a line would be most of the file.
    write_text(path, json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")


def _labels(row: ReviewRow, names: tuple[str, str]) -> list[Said]:
    said = [Said(GIVEN, row.given, None)] if row.given else []
    said.append(Said(names[0], row.label_a, row.confidence_a))
    if row.confidence_b is not None:
        said.append(Said(names[1], row.label_b, row.confidence_b))
    return said


class _Masks:
    """What is said of an image's pixels, at the size of the upright image."""

    def __init__(self, run: Path, catalog: Catalog, settings: Settings) -> None:
        self._catalog, self._settings = catalog, settings
        self._files, self._open = networks_of(run), dict[str, Segmenter]()
        self._number = {path: row for row, path in enumerate(catalog.paths)}

    def __call__(
        self, row: ReviewRow, networks: Sequence[str], names: tuple[str, str]
    ) -> list[Said]:
        id = self._number[row.path]
        image = image_of(self._catalog, id)
        said = []
        if row.section == WRONG:
            said.append(Said(GIVEN, "", None, np.array(read_mask(self._catalog, id))))
        for name, network in zip(names, networks, strict=False):
            mask, sure = self._ask(network, image, row.path)
            said.append(Said(name, "", sure, mask))
        return said

    def _ask(
        self, network: str, image: NDArray[np.uint8], path: str
    ) -> tuple[NDArray[np.uint8], float]:
        if network not in self._open:
            (self._open[network],) = open_segmenters(
                [self._files[network]], self._settings, self._catalog.classes
            )
        scene = self._open[network].predict_pixels(image, shown(path))
        return scene.label, float(scene.confidence.mean())
