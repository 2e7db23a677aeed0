"""`dmt check` of a segmentation: what its masks show, class by class, and what is odd about it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmt.data.catalog import Catalog, Part, Problem
from dmt.data.checks.data_checkup import data_problems, found
from dmt.data.decode import shown
from dmt.data.headers import read_header
from dmt.data.masks import MaskScan, mask_reader, orientation_problems, scan_masks
from dmt.data.outliers import unreadable
from dmt.data.read_ahead import read_all

_FEW_IMAGES = 3
_FEW_PIXELS = 0.1  # % of the labeled ones


def check_masks(catalog: Catalog, workers: int | None = None) -> dict[str, Any]:
    """Look at every image and every mask once.

    Args:
        catalog: of a segmentation.
        workers: threads that decode (default: one a core).

    Returns:
        `task, name, layout, labeled, unlabeled, val, test, classes: [{name, count, pixels}]`
        (count: of the labeled images to train on that show it; pixels: its share of their labeled
        pixels in %) and `problems: [{kind, path, message}]`.

    Raises:
        DataError: masks that cannot be read, or do not fit their image or the classes.
    """
    workers = workers or os.cpu_count() or 1
    is_train, is_labeled = catalog.parts == Part.TRAIN, catalog.labels >= 0
    problems = [*catalog.problems, *unreadable(catalog, workers=workers)]
    bad = {each.path for each in problems if each.kind == "unreadable"}
    is_good = np.array([path not in bad for path in catalog.paths], dtype=np.bool_)
    masked = np.flatnonzero(is_labeled & is_good)
    scan = scan_masks(catalog, masked, workers)
    to_learn = scan.pixels[is_train & is_labeled]
    counts, pixels = (to_learn > 0).sum(axis=0), to_learn.sum(axis=0)
    shares = 100 * pixels / max(1, pixels.sum())
    problems += _no_unlabeled(catalog)
    problems += _class_problems(catalog.classes, counts, shares, len(to_learn))
    problems += _left_out(catalog, scan, masked)
    problems += orientation_problems(catalog, workers)
    problems += _sizes(catalog, np.flatnonzero(is_good), workers)
    read = mask_reader(catalog, None)
    problems += data_problems(catalog, lambda row: read(row).tobytes(), bad)
    classes = [
        {"name": name, "count": count, "pixels": share}
        for name, count, share in zip(
            catalog.classes, counts.tolist(), shares.tolist(), strict=True
        )
    ]
    return found(catalog, classes, problems)


def _no_unlabeled(catalog: Catalog) -> Iterator[Problem]:
    """That every image has its mask, unless the layout has told so."""
    is_told = any(each.kind == "no-unlabeled" for each in catalog.problems)
    if not is_told and not ((catalog.labels < 0) & (catalog.parts == Part.TRAIN)).any():
        yield Problem(
            "no-unlabeled",
            "",
            "there are no unlabeled images: training equals supervised training, unless "
            "labels=0.125 hides some masks",
        )


def _class_problems(
    names: Sequence[str], counts: NDArray[np.int64], shares: NDArray[np.float64], num_images: int
) -> Iterator[Problem]:
    for name, count, share in zip(names, counts.tolist(), shares.tolist(), strict=True):
        if not count:
            yield Problem(
                "never-labeled",
                "",
                f"class {name!r} is in no mask to train on: label an image that shows it, remove "
                "the class, or train without it (allow_unlabeled_classes=true)",
            )
        elif count < min(_FEW_IMAGES, num_images):
            where = _number(num_images, "labeled image", "labeled images")
            yield Problem("rare-class", "", f"class {name!r} is in only {count} of {where}")
        elif share < _FEW_PIXELS:
            yield Problem(
                "rare-class",
                "",
                f"class {name!r} covers only {share:.2g} % of the labeled pixels",
            )


def _left_out(catalog: Catalog, scan: MaskScan, masked: NDArray[np.int64]) -> Iterator[Problem]:
    """Masks without a single labeled pixel."""
    for row in masked[scan.pixels[masked].sum(axis=1) == 0].tolist():
        yield Problem(
            "void-mask",
            catalog.paths[row],
            "every pixel of its mask is left out (255), so there is nothing to learn or to judge",
        )


def _sizes(catalog: Catalog, rows: NDArray[np.int64], workers: int) -> Iterator[Problem]:
    """That images differ in size, which is no fault but good to know."""
    if catalog.images is not None or not len(rows):
        return
    root = catalog.root
    assert root is not None, "a catalog has files or arrays"
    sizes = np.zeros((len(rows), 2), dtype=np.int64)

    def look(number: int) -> None:
        header = read_header(root / catalog.paths[rows[number]])
        sizes[number] = header.height, header.width

    read_all(look, len(rows), workers, None)
    order = np.argsort(sizes.prod(axis=1), kind="stable")
    smallest, largest = order[0], order[-1]
    num = len(np.unique(sizes, axis=0))
    if num > 1:
        small, large = (
            f"{sizes[each][1]}×{sizes[each][0]} ({shown(catalog.paths[rows[each]])})"
            for each in (smallest, largest)
        )
        yield Problem(
            "sizes-differ",
            "",
            f"the images have {num} sizes, from {small} to {large} pixels; that is no fault",
        )


def _number(num: int, one: str, many: str) -> str:
    return f"{num:,} {one if num == 1 else many}"
