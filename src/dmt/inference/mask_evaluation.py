"""A trained segmentation measured on masks: which images count is decided by the caller."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmt.core import IGNORE_INDEX
from dmt.data.catalog import Catalog
from dmt.data.masks import mask_reader, scan_masks
from dmt.data.read_ahead import read_ahead
from dmt.engine.segmenter import Segmenter
from dmt.errors import DataError
from dmt.metrics.confusion import confusion_matrix, iou_per_class, mean_iou, pixel_accuracy


def evaluate_masks(
    segmenter: Segmenter, catalog: Catalog, rows: NDArray[np.int64]
) -> dict[str, Any]:
    """Mean IoU, IoU by class and confusion, at the images' full size, from one confusion matrix.

    Args:
        segmenter: knows every class of `catalog` by name; their order may differ.
        catalog: of a segmentation.
        rows: int64 (M,), of images with a mask: those to measure on.

    Returns:
        `metric` ("miou"), `value` and `pixel_accuracy` in %, `classes: [{name, iou, pixels}]` in
        the order of `segmenter` (iou in %, None for a class absent from truth and prediction and
        therefore left out of the mean; pixels: of the truth), `absent` (the names of those), and
        `confusion` (rows are the truth).

    Raises:
        DataError: masks that do not fit their image or the classes, all found before anything is
            predicted; no labeled pixel; an image that cannot be read.
    """
    if scan_masks(catalog, rows, segmenter.workers).pixels[rows].sum() == 0:
        raise DataError(
            f"the masks of {catalog.name} hold no labeled pixel to evaluate on: all of them are "
            f"left out ({IGNORE_INDEX})"
        )
    counts = _count(segmenter, catalog, rows)
    iou, mean = iou_per_class(counts).tolist(), mean_iou(counts)
    absent = set(mean.absent)
    return {
        "metric": "miou",
        "value": mean.value,
        "pixel_accuracy": pixel_accuracy(counts),
        "classes": [
            {"name": name, "iou": None if k in absent else iou[k], "pixels": pixels}
            for k, (name, pixels) in enumerate(
                zip(segmenter.classes, counts.sum(axis=1).tolist(), strict=True)
            )
        ],
        "absent": [segmenter.classes[k] for k in mean.absent],
        "confusion": counts.tolist(),
    }


def _count(segmenter: Segmenter, catalog: Catalog, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The confusion matrix, int64 (K, K), in the segmenter's order of classes."""
    number = {name: k for k, name in enumerate(segmenter.classes)}
    assert set(catalog.classes) <= set(number), "classes that the run knows"
    known = np.full(IGNORE_INDEX + 1, IGNORE_INDEX, dtype=np.uint8)
    known[: len(catalog.classes)] = [number[name] for name in catalog.classes]
    images: Sequence[Any]
    if catalog.images is not None:
        images = catalog.images[rows]  # type: ignore[assignment]
    else:
        assert catalog.root is not None, "a catalog has files or arrays"
        images = [catalog.root / catalog.paths[row] for row in rows]
    read = mask_reader(catalog, None)
    calls: Iterator[list[Callable[[], NDArray[np.uint8]]]] = (
        [partial(read, row)] for row in rows.tolist()
    )
    counts = np.zeros((len(number), len(number)), dtype=np.int64)
    with closing(read_ahead(calls, segmenter.workers)) as truths:
        for scene, (truth,) in zip(segmenter.predict_each(images), truths, strict=True):
            counts += confusion_matrix(known[truth], scene.label, len(number))
    return counts
