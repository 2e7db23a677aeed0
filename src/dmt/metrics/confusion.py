"""The confusion matrix and the figures that follow from it; intervals and the verdict are not here.

Every figure is in % and is taken from one matrix over the whole data set, never averaged over
images or batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dmt.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK = 1 << 20  # elements widened to int64 at a time: 8 MB a copy, whatever comes in


class MeanIou(NamedTuple):
    """Mean IoU in % over the classes that occur, and the indices of those that do not."""

    value: float
    absent: tuple[int, ...]


def as_integers(labels: NDArray[Any] | Tensor) -> NDArray[Any]:
    """Labels as a numpy array of their own integer type, fetched from any device.

    Args:
        labels: integer or boolean array or tensor, any shape.

    Raises:
        ValueError: the values are not integers.
    """
    array = np.asarray(labels if isinstance(labels, np.ndarray) else labels.detach().cpu().numpy())
    if array.dtype.kind not in "iub":
        raise ValueError(f"labels must be integers, not {array.dtype}")
    return array


def confusion_matrix(
    target: NDArray[Any] | Tensor,
    prediction: NDArray[Any] | Tensor,
    num_classes: int,
    ignore_index: int | None = 255,
) -> NDArray[np.int64]:
    """Count how many of true class i were called class j.

    Matrices of batches and ranks add up to the matrix of the whole. Beyond its inputs it needs
    the same memory for an image and for a data set.

    Args:
        target: true classes, integers of any shape and width, in [0, num_classes) or
            `ignore_index`.
        prediction: called classes, the same shape, in [0, num_classes) wherever target counts.
        num_classes: K.
        ignore_index: target value that is not counted; None counts everything, which a set of
            more than 255 classes needs.

    Returns:
        int64 of shape (K, K), rows are the truth.

    Raises:
        DataError: a target is neither a class nor `ignore_index`.
        ValueError: shapes differ, a prediction is no class, or `ignore_index` is itself a class.
    """
    truth, called = as_integers(target), as_integers(prediction)
    if truth.shape != called.shape:
        raise ValueError(f"target {truth.shape} and prediction {called.shape} differ in shape")
    if ignore_index is not None and 0 <= ignore_index < num_classes:
        raise ValueError(
            f"ignore_index={ignore_index} is one of the {num_classes} classes and would hide it; "
            "pass None or another value"
        )
    truth, called = truth.reshape(-1), called.reshape(-1)
    counts = np.zeros(num_classes * num_classes, dtype=np.int64)
    for start in range(0, truth.size, _BLOCK):
        rows = truth[start : start + _BLOCK].astype(np.int64)
        columns = called[start : start + _BLOCK].astype(np.int64)
        if ignore_index is not None:
            kept = rows != ignore_index
            rows, columns = rows[kept], columns[kept]
        _check_range(rows, columns, num_classes)
        counts += np.bincount(rows * num_classes + columns, minlength=counts.size)
    return counts.reshape(num_classes, num_classes)


def accuracy(confusion: NDArray[np.integer[Any]]) -> float:
    """Share of images (or pixels) called by their true class, in %.

    Args:
        confusion: (K, K) counts, rows are the truth.

    Raises:
        ValueError: nothing was counted.
    """
    total = int(confusion.sum())
    if total == 0:
        raise ValueError("a confusion matrix without a single count has no accuracy")
    return 100 * int(np.trace(confusion)) / total


def error_rate(confusion: NDArray[np.integer[Any]]) -> float:
    """Share of images called by a wrong class, in %; `100 − accuracy` without its rounding.

    Args:
        confusion: (K, K) counts, rows are the truth.

    Raises:
        ValueError: nothing was counted.
    """
    total = int(confusion.sum())
    if total == 0:
        raise ValueError("a confusion matrix without a single count has no error rate")
    return 100 * (total - int(np.trace(confusion))) / total


def pixel_accuracy(confusion: NDArray[np.integer[Any]]) -> float:
    """Share of pixels called by their true class, in %: what `accuracy` is for a segmentation.

    Args:
        confusion: (K, K) counts of pixels, rows are the truth.

    Raises:
        ValueError: nothing was counted.
    """
    return accuracy(confusion)


def class_recall(confusion: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Of each true class, the share that was called so, in %.

    Args:
        confusion: (K, K) counts, rows are the truth.

    Returns:
        float64 of shape (K,); nan for a class that the truth does not hold.
    """
    return _percent(np.diagonal(confusion), confusion.sum(-1))


def iou_per_class(confusion: NDArray[Any]) -> NDArray[np.float64]:
    """Intersection over union of each class, in %.

    Args:
        confusion: (..., K, K) counts, rows are the truth; leading dimensions are many matrices.

    Returns:
        float64 of shape (..., K); nan for a class absent from truth and prediction. A class
        that was called but is never true has an IoU of 0.
    """
    return _percent(*hits_and_unions(confusion))


def hits_and_unions(confusion: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """What an IoU is made of, class by class: they add up over images, an IoU does not.

    Args:
        confusion: (..., K, K) counts, rows are the truth.

    Returns:
        Two of shape (..., K): what is called and true; what is called or true.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    return hits, confusion.sum(-1) + confusion.sum(-2) - hits


def mean_iou(confusion: NDArray[np.integer[Any]]) -> MeanIou:
    """Mean IoU over the classes that occur in truth or prediction.

    Args:
        confusion: (K, K) counts, rows are the truth.

    Raises:
        ValueError: nothing was counted.
    """
    iou = iou_per_class(confusion)
    absent = np.isnan(iou)
    if absent.all():
        raise ValueError("a confusion matrix without a single count has no mean IoU")
    return MeanIou(float(iou[~absent].mean()), tuple(int(k) for k in np.flatnonzero(absent)))


def _check_range(rows: NDArray[np.int64], columns: NDArray[np.int64], num_classes: int) -> None:
    if rows.size == 0:
        return
    for value in (int(rows.min()), int(rows.max())):
        if not 0 <= value < num_classes:
            raise DataError(
                f"a true label has the value {value}, but the {num_classes} classes are "
                f"0 to {num_classes - 1}; correct that label or the list of classes"
            )
    if not (columns.min() >= 0 and columns.max() < num_classes):
        raise ValueError(
            f"predictions from {columns.min()} to {columns.max()} do not fit {num_classes} classes"
        )


def _percent(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """100 · part / whole, nan where whole is 0 (without numpy's warning)."""
    result = np.full(whole.shape, np.nan)
    np.divide(100.0 * part, whole, out=result, where=whole > 0)
    return result
