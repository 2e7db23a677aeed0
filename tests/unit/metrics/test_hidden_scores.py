"""Scores against hidden labels: which ids count and in which order; not the figures themselves."""

import numpy as np
import pytest
import torch

from dmt.data.hidden import HiddenLabels, HiddenMasks
from dmt.errors import DataError
from dmt.metrics.confusion import confusion_matrix
from dmt.metrics.hidden_scores import (
    class_pseudo_label_accuracy,
    is_correct,
    pseudo_label_accuracy,
    score,
    score_mask,
    score_selected_mask,
)

HIDDEN = HiddenLabels(np.array([7, 2, 9, 4]), np.array([0, 1, 1, 2]))
NOBODY = HiddenLabels(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))


def test_score_counts_known_ids_in_any_order() -> None:
    ids = np.array([4, 5, 2, 100, 9, 7])  # 5 and 100 are unknown
    prediction = np.array([2, 0, 0, 1, 1, 0])
    expected = [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert score(ids, prediction, HIDDEN, 3).tolist() == expected
    tensors = score(torch.from_numpy(ids), torch.from_numpy(prediction), HIDDEN, 3)
    assert tensors.tolist() == expected


def test_score_of_batches_adds_up() -> None:
    ids, prediction = np.array([2, 4, 7, 9]), np.array([1, 1, 1, 1])
    parts = score(ids[:1], prediction[:1], HIDDEN, 3) + score(ids[1:], prediction[1:], HIDDEN, 3)
    assert (parts == score(ids, prediction, HIDDEN, 3)).all()


def test_class_255_is_a_class() -> None:
    hidden = HiddenLabels(np.array([0]), np.array([255]))
    assert score(np.array([0]), np.array([255]), hidden, 300)[255, 255] == 1


def test_pseudo_label_accuracy_looks_at_known_ids_only() -> None:
    ids, label = np.array([1, 2, 7, 9]), np.array([2, 1, 0, 0])
    assert pseudo_label_accuracy(ids, label, HIDDEN) == pytest.approx(100 * 2 / 3)
    assert pseudo_label_accuracy(np.array([1, 3]), np.array([0, 0]), HIDDEN) is None
    assert pseudo_label_accuracy(ids, label, NOBODY) is None
    assert pseudo_label_accuracy(ids[:0], label[:0], HIDDEN) is None


def test_class_accuracy_is_of_what_was_called() -> None:
    # Called 0: id 7 (true 0) and 9 (true 1). Called 1: id 2 (true 1). Called 2: only unknown id 3.
    ids, label = np.array([7, 9, 2, 3]), np.array([0, 0, 1, 2])
    assert class_pseudo_label_accuracy(ids, label, HIDDEN, 3) == [50.0, 100.0, None]
    assert class_pseudo_label_accuracy(ids, label, NOBODY, 3) == [None, None, None]


def test_is_correct_follows_the_order_of_hidden_ids() -> None:
    assert is_correct(np.array([0, 0, 1, 2]), HIDDEN).tolist() == [True, False, True, True]
    assert is_correct(np.zeros(0, dtype=np.int64), NOBODY).tolist() == []


def test_misaligned_input_is_refused() -> None:
    with pytest.raises(ValueError, match="do not align"):
        is_correct(np.array([0, 1]), HIDDEN)
    with pytest.raises(ValueError, match="two equal"):
        score(np.array([2, 4]), np.array([1]), HIDDEN, 3)


TRUTH = np.array([[0, 0, 1], [2, 255, 1]], dtype=np.uint8)
CALLED = np.array([[0, 1, 1], [2, 0, 2]], dtype=np.uint8)
MASKS = HiddenMasks(
    np.array([7, 3]), lambda id: TRUTH if id == 7 else np.full((2, 3), 255, np.uint8)
)


def test_score_mask_by_hand() -> None:
    expected = [[1, 1, 0], [0, 1, 1], [0, 0, 1]]
    assert score_mask(7, CALLED, MASKS, 3).tolist() == expected
    found = score_mask(7, torch.from_numpy(CALLED).long(), MASKS, 3)
    assert found.tolist() == expected
    assert found.dtype == np.int64


def test_score_mask_of_an_unknown_id_or_nothing_but_void_is_zero() -> None:
    assert score_mask(8, CALLED, MASKS, 3).tolist() == [[0] * 3] * 3
    assert score_mask(3, CALLED, MASKS, 3).tolist() == [[0] * 3] * 3
    assert score_selected_mask(8, CALLED, CALLED == 0, MASKS, 3).sum() == 0


def test_only_selected_pixels_count() -> None:
    is_selected = np.array([[1, 1, 0], [0, 1, 1]], dtype=np.bool_)
    expected = [[1, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert score_selected_mask(7, CALLED, is_selected, MASKS, 3).tolist() == expected
    kept = torch.from_numpy(is_selected)
    assert score_selected_mask(7, CALLED, kept, MASKS, 3).tolist() == expected
    assert score_selected_mask(7, CALLED, is_selected & False, MASKS, 3).sum() == 0
    assert TRUTH[1, 0] == 2  # the mask itself stays as it was


@pytest.mark.parametrize("num_classes", [2, 19, 255])
def test_score_mask_equals_the_confusion_matrix(num_classes: int) -> None:
    generator = np.random.default_rng(num_classes)
    truth = generator.integers(0, num_classes, (37, 53)).astype(np.uint8)
    truth[generator.random(truth.shape) < 0.2] = 255
    called = generator.integers(0, num_classes, truth.shape)
    hidden = HiddenMasks(np.array([0]), lambda _: truth)
    expected = confusion_matrix(truth, called, num_classes)
    assert (score_mask(0, called, hidden, num_classes) == expected).all()


def test_masks_of_wrong_shape_or_value_are_refused() -> None:
    with pytest.raises(ValueError, match="mask of image 7"):
        score_mask(7, CALLED.T, MASKS, 3)
    with pytest.raises(ValueError, match="is_selected must be bool"):
        score_selected_mask(7, CALLED, np.ones((3, 2), dtype=np.bool_), MASKS, 3)
    with pytest.raises(ValueError, match="is_selected must be bool"):
        score_selected_mask(7, CALLED, CALLED, MASKS, 3)
    with pytest.raises(ValueError, match="do not fit 2 classes"):
        score_mask(7, CALLED, MASKS, 2)
    with pytest.raises(DataError, match="a mask has the value 2, but the 2 classes"):
        score_mask(7, CALLED.clip(max=1), MASKS, 2)
