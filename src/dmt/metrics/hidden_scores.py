"""What may be measured with hidden labels; the only file of metrics that looks into them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dmt.data.hidden import HiddenLabels, reveal
from dmt.metrics.confusion import as_integers, class_recall, confusion_matrix

if TYPE_CHECKING:
    from torch import Tensor


def score(
    ids: NDArray[Any] | Tensor,
    prediction: NDArray[Any] | Tensor,
    hidden: HiddenLabels,
    num_classes: int,
) -> NDArray[np.int64]:
    """Confusion matrix of the images whose hidden label is known; the others are passed over.

    Args:
        ids: integers, shape (B,), in any order.
        prediction: called classes, integers in [0, num_classes), shape (B,), aligned with ids.
        hidden: the labels to compare with.
        num_classes: K.

    Returns:
        int64 of shape (K, K), rows are the truth; all 0 when no id is known.

    Raises:
        DataError: a hidden label is no class.
        ValueError: shapes differ or a prediction is no class.
    """
    truth, called = _matched(ids, prediction, hidden)
    return confusion_matrix(truth, called, num_classes, ignore_index=None)


def is_correct(prediction: NDArray[Any] | Tensor, hidden: HiddenLabels) -> NDArray[np.bool_]:
    """Image by image, whether the called class is the hidden one.

    Args:
        prediction: called classes, integers, shape (N,), aligned with `hidden.ids`.
        hidden: the labels to compare with.

    Returns:
        bool of shape (N,), aligned with `hidden.ids`.

    Raises:
        ValueError: there are not as many predictions as hidden labels.
    """
    called = as_integers(prediction)
    _, labels = reveal(hidden)
    if called.shape != labels.shape:
        raise ValueError(f"{called.shape} predictions do not align with {labels.shape} labels")
    right: NDArray[np.bool_] = called == labels
    return right


def pseudo_label_accuracy(
    ids: NDArray[Any] | Tensor, label: NDArray[Any] | Tensor, hidden: HiddenLabels
) -> float | None:
    """Share of the pseudo labels that are true, in %, among those whose truth is known.

    Args:
        ids: integers, shape (B,), say of the selected images.
        label: pseudo labels, integers, shape (B,), aligned with ids.
        hidden: the labels to compare with.

    Returns:
        % in [0, 100]; None when no truth is known.

    Raises:
        ValueError: shapes differ.
    """
    truth, called = _matched(ids, label, hidden)
    return 100 * float((truth == called).mean()) if truth.size else None


def class_pseudo_label_accuracy(
    ids: NDArray[Any] | Tensor,
    label: NDArray[Any] | Tensor,
    hidden: HiddenLabels,
    num_classes: int,
) -> list[float | None]:
    """Of the pseudo labels that name each class, the share that is true, in %.

    Args:
        ids: integers, shape (B,), say of the selected images.
        label: pseudo labels, integers in [0, num_classes), shape (B,), aligned with ids.
        hidden: the labels to compare with.
        num_classes: K.

    Returns:
        K entries; None for a class that no pseudo label of known truth names.

    Raises:
        DataError: a hidden label is no class.
        ValueError: shapes differ or a pseudo label is no class.
    """
    # Transposed, the rows are what was called, and recall becomes precision.
    shares = class_recall(score(ids, label, hidden, num_classes).T)
    return [None if np.isnan(share) else float(share) for share in shares]


def _matched(
    ids: NDArray[Any] | Tensor, called: NDArray[Any] | Tensor, hidden: HiddenLabels
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """True and called classes of those ids that `hidden` knows, in the order of `ids`."""
    wanted, values = as_integers(ids), as_integers(called)
    if wanted.ndim != 1 or wanted.shape != values.shape:
        raise ValueError(f"ids {wanted.shape} and labels {values.shape} must be two equal (B,)")
    known, labels = reveal(hidden)
    if known.size == 0:
        return np.empty(0, dtype=np.int64), values[:0]
    order = np.argsort(known, kind="stable")
    place = np.searchsorted(known, wanted, sorter=order).clip(max=known.size - 1)
    found = order[place]
    is_known = known[found] == wanted
    return labels[found[is_known]], values[is_known]
