"""The confusion matrix and its figures against tables counted by hand; intervals are not here."""

import numpy as np
import pytest
import torch

from dmt.errors import DataError
from dmt.metrics import confusion as module
from dmt.metrics.confusion import (
    accuracy,
    class_recall,
    confusion_matrix,
    error_rate,
    iou_per_class,
    mean_iou,
    pixel_accuracy,
)

# Truth in rows. Class 3 is never true and never called; class 2 is called once, never true.
HAND = np.array([[5, 1, 1, 0], [2, 3, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


def test_counts_by_hand() -> None:
    target = np.array([0, 0, 1, 2, 2, 2])
    prediction = np.array([0, 1, 1, 2, 0, 2])
    expected = [[1, 1, 0], [0, 1, 0], [1, 0, 2]]
    assert confusion_matrix(target, prediction, 3).tolist() == expected


def test_any_shape_gives_the_same_counts() -> None:
    generator = np.random.default_rng(0)
    target, prediction = generator.integers(0, 5, (2, 24))
    flat = confusion_matrix(target, prediction, 5)
    folded = confusion_matrix(target.reshape(2, 3, 4), prediction.reshape(2, 3, 4), 5)
    assert (flat == folded).all()
    assert flat.sum() == 24
    assert flat.dtype == np.int64


def test_narrow_integers_do_not_overflow() -> None:
    target = np.full(300, 18, dtype=np.uint8)
    assert confusion_matrix(target, target, 19)[18, 18] == 300


def test_tensors_are_counted_like_arrays() -> None:
    target = np.array([[0, 1], [255, 1]], dtype=np.uint8)
    prediction = np.array([[0, 0], [1, 1]], dtype=np.uint8)
    from_tensors = confusion_matrix(torch.from_numpy(target), torch.from_numpy(prediction), 2)
    assert from_tensors.tolist() == confusion_matrix(target, prediction, 2).tolist()
    assert from_tensors.tolist() == [[1, 0], [1, 1]]


def test_parts_add_up_and_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    target, prediction = generator.integers(0, 4, (2, 1000))
    whole = confusion_matrix(target, prediction, 4)
    parts = sum(
        confusion_matrix(target[i : i + 300], prediction[i : i + 300], 4)
        for i in range(0, 1000, 300)
    )
    monkeypatch.setattr(module, "_BLOCK", 7)
    assert (whole == parts).all()
    assert (whole == confusion_matrix(target, prediction, 4)).all()


def test_ignored_targets_are_not_counted_whatever_is_called_there() -> None:
    target = np.array([0, 255, 1])
    prediction = np.array([0, 9, 0])
    assert confusion_matrix(target, prediction, 2).tolist() == [[1, 0], [1, 0]]
    minus_one = confusion_matrix(np.array([0, -1]), np.array([1, 1]), 2, ignore_index=-1)
    assert minus_one.tolist() == [[0, 1], [0, 0]]


def test_everything_ignored_or_nothing_there_counts_nothing() -> None:
    ignored = np.full((2, 2), 255)
    assert confusion_matrix(ignored, np.zeros((2, 2), int), 3).sum() == 0
    nothing = np.zeros(0, dtype=np.int64)
    assert confusion_matrix(nothing, nothing, 3).shape == (3, 3)


def test_a_label_that_is_no_class_is_named() -> None:
    with pytest.raises(DataError, match=r"value 3, but the 3 classes are 0 to 2"):
        confusion_matrix(np.array([0, 3]), np.array([0, 0]), 3)
    with pytest.raises(DataError, match="value -1"):
        confusion_matrix(np.array([0, -1]), np.array([0, 0]), 3)


def test_wrong_use_is_refused() -> None:
    ints = np.zeros(2, dtype=np.int64)
    with pytest.raises(ValueError, match="differ in shape"):
        confusion_matrix(ints, np.zeros(3, dtype=np.int64), 2)
    with pytest.raises(ValueError, match="must be integers"):
        confusion_matrix(ints, np.zeros(2), 2)
    with pytest.raises(ValueError, match="do not fit 2 classes"):
        confusion_matrix(ints, ints + 2, 2)
    with pytest.raises(ValueError, match="is one of the 300 classes"):
        confusion_matrix(ints, ints, 300)
    assert confusion_matrix(ints + 255, ints, 300, ignore_index=None)[255, 0] == 2


def test_figures_by_hand() -> None:
    assert accuracy(HAND) == pytest.approx(100 * 8 / 12)
    assert pixel_accuracy(HAND) == accuracy(HAND)
    assert error_rate(HAND) == pytest.approx(100 * 4 / 12)
    np.testing.assert_allclose(class_recall(HAND), [100 * 5 / 7, 60, np.nan, np.nan])
    np.testing.assert_allclose(iou_per_class(HAND), [100 * 5 / 9, 50, 0, np.nan])


def test_mean_iou_counts_false_calls_and_leaves_out_absent_classes() -> None:
    value, absent = mean_iou(HAND)
    assert value == pytest.approx((100 * 5 / 9 + 50 + 0) / 3)
    assert absent == (3,)
    assert mean_iou(np.eye(3, dtype=np.int64)) == (100.0, ())


def test_iou_of_many_matrices_is_that_of_each() -> None:
    stacked = np.stack([HAND, HAND.T, np.zeros_like(HAND)])
    many = iou_per_class(stacked)
    assert many.shape == (3, 4)
    np.testing.assert_array_equal(many[0], iou_per_class(HAND))
    np.testing.assert_array_equal(many[1], many[0])
    assert np.isnan(many[2]).all()


def test_all_right_and_all_wrong_are_exact() -> None:
    right = np.diag([3, 4])
    assert (error_rate(right), accuracy(right)) == (0.0, 100.0)
    wrong = np.array([[0, 3], [4, 0]])
    assert (error_rate(wrong), accuracy(wrong), mean_iou(wrong).value) == (100.0, 0.0, 0.0)


@pytest.mark.parametrize("figure", [accuracy, error_rate, mean_iou])
def test_no_figure_of_nothing(figure) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="without a single count"):
        figure(np.zeros((2, 2), dtype=np.int64))
