"""Reliability and the worst errors, against hand-computed values."""

from __future__ import annotations

import numpy as np
import pytest

from dmt.data.hidden import HiddenLabels, HiddenMasks
from dmt.metrics.hidden_scores import sure_mistakes, sureness_of_mask, truth_to_show
from dmt.metrics.reliability import no_counts, reliability, sureness


def test_the_calibration_error_of_four_answers() -> None:
    # Two bins: 0.85, 0.87 and 0.89 of which one is right, and 0.15 which is right.
    confidence = np.array([0.85, 0.87, 0.89, 0.15])
    found = reliability("a", sureness(confidence, np.array([True, False, False, True])))
    assert found.num == [0, 1, 0, 0, 0, 0, 0, 0, 3, 0]
    assert found.right == [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    assert found.confidence[8] == pytest.approx(0.8705, abs=1e-9)  # to half a thousandth
    assert found.confidence[0] is None
    expected = (3 * abs(1 / 3 - 0.8705) + abs(1 - 0.1505)) / 4
    assert found.error == pytest.approx(100 * expected)


def test_counts_add_up_over_parts_and_the_ends_belong_to_the_outer_bins() -> None:
    confidence, right = np.array([0.0, 1.0, 0.5, 0.999]), np.array([False, True, True, True])
    whole = sureness(confidence, right)
    parts = sureness(confidence[:1], right[:1]) + sureness(confidence[1:], right[1:])
    assert (whole == parts).all()
    found = reliability("a", whole)
    assert (found.num[0], found.num[5], found.num[9]) == (1, 1, 2)


def test_nothing_measured_is_no_error() -> None:
    found = reliability("a", no_counts())
    assert found.error == 0
    assert sum(found.num) == 0


def test_the_surest_mistakes_come_first_with_their_truth() -> None:
    hidden = HiddenLabels(np.array([7, 3, 9, 5]), np.array([1, 0, 2, 2]))
    called = np.array([1, 2, 0, 1])
    found = sure_mistakes(called, np.array([0.99, 0.6, 0.9, 0.6]), hidden, 2)
    assert found == [(2, 2), (1, 0)]
    assert len(sure_mistakes(called, np.ones(4), hidden, 12)) == 3


def test_pixels_that_are_left_out_do_not_count() -> None:
    masks = HiddenMasks(np.array([4]), lambda id: np.array([[0, 1], [255, 1]], np.uint8))
    label = np.array([[0, 0], [0, 1]])
    counts = sureness_of_mask(4, label, np.full((2, 2), 0.75), masks)
    assert counts.sum(axis=1).tolist() == [3, 2]
    assert sureness_of_mask(5, label, np.ones((2, 2)), masks).sum() == 0
    assert truth_to_show(5, (2, 2), masks) is None
    with pytest.raises(ValueError, match="mask of image 4"):
        truth_to_show(4, (3, 2), masks)
