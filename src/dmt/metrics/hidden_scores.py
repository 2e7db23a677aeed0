"""What may be measured with hidden labels; the only file of metrics that looks into them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dmt.data.hidden import HiddenLabels, HiddenMasks, reveal, reveal_masks
from dmt.errors import DataError
from dmt.metrics.confusion import as_integers, class_recall, confusion_matrix
from dmt.metrics.reliability import no_counts, sureness

if TYPE_CHECKING:
    from torch import Tensor

_IGNORED = 255
_MASK_VALUES = 256  # of 8 bits


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


def sure_mistakes(
    prediction: NDArray[Any] | Tensor,
    confidence: NDArray[np.floating[Any]],
    hidden: HiddenLabels,
    num: int,
) -> list[tuple[int, int]]:
    """The surest wrong answers, with their truth, to be shown. For held-out labels alone.

    Args:
        prediction: called classes, integers, shape (N,), aligned with `hidden.ids`.
        confidence: of them, shape (N,).
        hidden: the held-out labels.
        num: how many at most.

    Returns:
        Rows and true classes, the surest first.

    Raises:
        ValueError: as `is_correct`.
    """
    wrong = np.flatnonzero(~is_correct(prediction, hidden))
    order = wrong[np.argsort(-confidence[wrong], kind="stable")][:num]
    _, labels = reveal(hidden)
    return list(zip(order.tolist(), labels[order].tolist(), strict=True))


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


def find_wrong(
    ids: NDArray[Any] | Tensor, label: NDArray[Any] | Tensor, hidden: HiddenLabels
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which pseudo labels have a known truth, and which of them are wrong.

    Args:
        ids: integers, shape (B,).
        label: pseudo labels, integers, shape (B,), aligned with ids.
        hidden: the labels to compare with.

    Returns:
        Two bool (B,), the second one False where the truth is not known.

    Raises:
        ValueError: shapes differ.
    """
    is_known, truth, called = _look_up(ids, label, hidden)
    is_wrong = is_known.copy()
    is_wrong[is_known] = truth != called
    return is_known, is_wrong


def find_wrong_pixels(
    id: int,
    shape: tuple[int, int],
    pixels: NDArray[np.int64],
    label: NDArray[Any] | Tensor,
    hidden: HiddenMasks,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """`find_wrong` for some pixels of one image; those of value 255 are not known.

    Args:
        id: of the image.
        shape: its height and width.
        pixels: where they lie in it, row by row, shape (P,).
        label: their pseudo labels, integers, shape (P,).
        hidden: the masks to compare with.

    Returns:
        Two bool (P,).

    Raises:
        ValueError: the mask has another shape.
    """
    truth = _mask(id, shape, hidden)
    if truth is None:
        return np.zeros(len(pixels), np.bool_), np.zeros(len(pixels), np.bool_)
    true = truth.reshape(-1)[pixels]
    is_known = true != _IGNORED
    return is_known, is_known & (true != as_integers(label))


def score_mask(
    id: int, label: NDArray[Any] | Tensor, hidden: HiddenMasks, num_classes: int
) -> NDArray[np.int64]:
    """Confusion matrix of the pixels of one image; those of value 255 are left out.

    Args:
        id: of the image.
        label: called classes, integers in [0, num_classes), shape (H, W).
        hidden: the masks to compare with.
        num_classes: K, at most 255.

    Returns:
        int64 of shape (K, K), rows are the truth; all 0 when `hidden` does not know the id.

    Raises:
        DataError: a mask holds a value that is neither a class nor 255.
        ValueError: the mask has another shape, or a prediction is no class.
    """
    truth = _mask(id, label.shape, hidden)
    return _count_pixels(truth, label, num_classes) if truth is not None else _nothing(num_classes)


def score_selected_mask(
    id: int,
    label: NDArray[Any] | Tensor,
    is_selected: NDArray[np.bool_] | Tensor,
    hidden: HiddenMasks,
    num_classes: int,
) -> NDArray[np.int64]:
    """`score_mask` of the selected pixels alone.

    Args:
        id: of the image.
        label: pseudo labels, integers in [0, num_classes), shape (H, W); what stands where no
            pixel is selected must be a class as well.
        is_selected: bool, shape (H, W).
        hidden: the masks to compare with.
        num_classes: K, at most 255.

    Returns:
        int64 of shape (K, K), rows are the truth; all 0 when `hidden` does not know the id.

    Raises:
        DataError: a mask holds a value that is neither a class nor 255.
        ValueError: the mask or `is_selected` has another shape, or a label is no class.
    """
    truth = _mask(id, label.shape, hidden)
    if truth is None:
        return _nothing(num_classes)
    kept = as_integers(is_selected)
    if kept.dtype != np.bool_ or kept.shape != truth.shape:
        raise ValueError(f"is_selected must be bool {truth.shape}, not {kept.dtype} {kept.shape}")
    return _count_pixels(np.where(kept, truth, np.uint8(_IGNORED)), label, num_classes)


def sureness_of_mask(
    id: int,
    label: NDArray[Any] | Tensor,
    confidence: NDArray[np.floating[Any]],
    hidden: HiddenMasks,
) -> NDArray[np.int64]:
    """`reliability.sureness` of the pixels of one image; those of value 255 are left out.

    Args:
        id: of the image.
        label: called classes, integers, shape (H, W).
        confidence: of them, shape (H, W).
        hidden: the masks to compare with.

    Raises:
        ValueError: the mask has another shape.
    """
    truth = _mask(id, label.shape, hidden)
    if truth is None:
        return no_counts()
    is_known = truth != _IGNORED
    return sureness(confidence[is_known], (as_integers(label) == truth)[is_known])


def truth_to_show(id: int, shape: tuple[int, int], hidden: HiddenMasks) -> NDArray[np.uint8] | None:
    """The mask of an image, to be shown beside what models say. For held-out masks alone.

    Raises:
        ValueError: it has another shape.
    """
    return _mask(id, shape, hidden)


def _mask(id: int, shape: tuple[int, ...], hidden: HiddenMasks) -> NDArray[np.uint8] | None:
    """The hidden mask of an image, of the shape of its labels; None where it is not known."""
    ids, read = reveal_masks(hidden)
    if not (ids == id).any():
        return None
    truth = read(id)
    if truth.shape != tuple(shape):
        raise ValueError(f"the mask of image {id} is {truth.shape}, its prediction {tuple(shape)}")
    return truth


def _count_pixels(
    truth: NDArray[np.uint8], label: NDArray[Any] | Tensor, num_classes: int
) -> NDArray[np.int64]:
    """One pass: the 255s are counted in a row of their own, which is cheaper than to take them
    out of two images first."""
    called = as_integers(label)
    if called.size and not (called.min() >= 0 and called.max() < num_classes):
        raise ValueError(
            f"predictions from {called.min()} to {called.max()} do not fit {num_classes} classes"
        )
    cell = np.multiply(truth, num_classes, dtype=np.intp)
    cell += called
    counts = np.bincount(cell.reshape(-1), minlength=_MASK_VALUES * num_classes)
    rows = counts.reshape(_MASK_VALUES, num_classes)
    wrong = np.flatnonzero(rows[num_classes:_IGNORED].sum(1))
    if wrong.size:
        raise DataError(
            f"a mask has the value {num_classes + int(wrong[0])}, but the {num_classes} classes "
            f"are 0 to {num_classes - 1} (and {_IGNORED} what is left out); correct that mask or "
            "the list of classes"
        )
    return rows[:num_classes].astype(np.int64)


def _nothing(num_classes: int) -> NDArray[np.int64]:
    return np.zeros((num_classes, num_classes), dtype=np.int64)


def _matched(
    ids: NDArray[Any] | Tensor, called: NDArray[Any] | Tensor, hidden: HiddenLabels
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """True and called classes of those ids that `hidden` knows, in the order of `ids`."""
    _, truth, known = _look_up(ids, called, hidden)
    return truth, known


def _look_up(
    ids: NDArray[Any] | Tensor, called: NDArray[Any] | Tensor, hidden: HiddenLabels
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[Any]]:
    """`_matched`, after which of the ids (bool, (B,)) are known."""
    wanted, values = as_integers(ids), as_integers(called)
    if wanted.ndim != 1 or wanted.shape != values.shape:
        raise ValueError(f"ids {wanted.shape} and labels {values.shape} must be two equal (B,)")
    known, labels = reveal(hidden)
    if known.size == 0:
        return np.zeros(wanted.shape, np.bool_), np.empty(0, dtype=np.int64), values[:0]
    order = np.argsort(known, kind="stable")
    place = np.searchsorted(known, wanted, sorter=order).clip(max=known.size - 1)
    found = order[place]
    is_known: NDArray[np.bool_] = known[found] == wanted
    return is_known, labels[found[is_known]], values[is_known]
