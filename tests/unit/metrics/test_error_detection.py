"""Average precision and AUROC in finding wrong pseudo labels, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from dmt.data.hidden import HiddenLabels, HiddenMasks
from dmt.metrics.error_detection import (
    Ranking,
    SampledScene,
    detect_in_images,
    detect_in_scenes,
    gains,
)
from dmt.records import ErrorDetection

IDS = np.array([3, 1, 7, 5])
TRUTH = HiddenLabels(np.array([1, 3, 5, 7, 9]), np.array([0, 0, 1, 1, 0]))
LABEL = np.array([1, 0, 0, 1])  # the first and the third are wrong
ALL = np.ones(4, np.bool_)


def found_in(
    *score: float, label: NDArray[np.int64] = LABEL, kept: NDArray[np.bool_] = ALL
) -> ErrorDetection:
    return detect_in_images(IDS, label, kept, {"confidence": np.array(score)}, TRUTH, seed=0)


def test_by_hand() -> None:
    found = found_in(0.9, 0.8, 0.7, 0.6)
    assert (found.num_images, found.num_labels, found.num_wrong) == (4, 4, 2)
    assert (found.num_selected, found.num_selected_wrong) == (4, 2)
    score = found.scores["confidence"]
    # recall 1/2 at precision 1/1, recall 2/2 at precision 2/3
    assert score.ap == pytest.approx((1 + 2 / 3) / 2)
    # of the four pairs of a wrong label and a right one, three are in order
    assert score.auroc == pytest.approx(3 / 4)
    assert (score.ap_selected, score.auroc_selected) == (score.ap, score.auroc)
    assert found.gains == {}, "there is nothing to compare with"


@pytest.mark.parametrize(
    ("score", "ap", "auroc"),
    [
        ((0.9, 0.1, 0.8, 0.2), 1.0, 1.0),
        ((0.1, 0.9, 0.2, 0.8), (1 / 3 + 2 / 4) / 2, 0.0),
        ((0.5, 0.5, 0.5, 0.5), 0.5, 0.5),  # one threshold for all: the share of wrong ones
        ((0.9, 0.9, 0.1, 0.1), 0.5, 0.5),
        ((0.9, 0.9, 0.9, 0.1), 2 / 3, 0.75),
    ],
)
def test_order_and_ties(score: tuple[float, ...], ap: float, auroc: float) -> None:
    found = found_in(*score).scores["confidence"]
    assert (found.ap, found.auroc) == (pytest.approx(ap), pytest.approx(auroc))


@pytest.mark.parametrize("label", [[0, 0, 1, 1], [1, 1, 0, 0]])
def test_without_both_kinds_nothing_is_said(label: list[int]) -> None:
    found = found_in(0.9, 0.8, 0.7, 0.6, label=np.array(label))
    assert found.num_wrong in (0, 4)
    assert set(found.scores["confidence"].model_dump().values()) == {None}


def test_the_selected_are_judged_by_themselves() -> None:
    found = found_in(0.9, 0.8, 0.7, 0.6, kept=np.array([False, True, True, False]))
    assert (found.num_selected, found.num_selected_wrong) == (2, 1)
    score = found.scores["confidence"]
    assert (score.ap_selected, score.auroc_selected) == (0.5, 0.0)
    none = found_in(0.9, 0.8, 0.7, 0.6, kept=~ALL)
    assert none.scores["confidence"].ap_selected is None
    assert none.scores["confidence"].ap is not None


def test_unknown_and_infinite_are_left_out() -> None:
    truth = TRUTH.restrict(np.array([3, 1, 5]))  # 7 is not known
    scores = {"confidence": np.array([0.2, 0.3, 0.9, 0.1]), "entropy": np.array([1, 2, 3, np.nan])}
    found = detect_in_images(IDS, LABEL, ALL, scores, truth, seed=0)
    assert (found.num_images, found.num_labels, found.num_wrong) == (2, 2, 1)
    assert found.scores["confidence"].ap == 0.5
    empty = detect_in_images(IDS, LABEL, ALL, scores, TRUTH.restrict(np.array([9])), seed=0)
    assert (empty.num_labels, empty.scores["confidence"].ap, empty.gains) == (0, None, {})


def noisy(strength: float, seed: int, num: int = 400) -> tuple[NDArray, NDArray]:
    """One label in five is wrong; a score of which they have `strength` more."""
    generator = np.random.default_rng(seed)
    is_wrong = generator.random(num) < 0.2
    return is_wrong, strength * is_wrong + generator.normal(size=num)


def test_many_weightings_at_once_are_each_as_of_scikit_learn() -> None:
    is_wrong, score = noisy(1.0, 1)
    score = score.round(1)  # many ties
    weights = np.random.default_rng(2).integers(0, 3, (5, len(score))).astype(np.float32)
    weights[4] = is_wrong == 0
    found = Ranking(score, is_wrong).average_precision(weights)
    for row in range(4):
        alone = average_precision_score(is_wrong, score, sample_weight=weights[row])
        assert found[row] == pytest.approx(alone, abs=1e-5)
    assert np.isnan(found[4]), "no wrong label was drawn"


def test_the_interval_of_a_gain() -> None:
    is_wrong, plain = noisy(0.5, 3)
    _, better = noisy(3.0, 3)
    blocks = np.arange(len(plain))
    scores = {"confidence": plain, "disagreement": better, "dmt_weight": plain}
    found = gains(scores, is_wrong, blocks, seed=4)
    assert list(found) == ["disagreement", "dmt_weight"]
    value, low, high = found["disagreement"]
    assert 0 < low < value < high < 1
    difference = average_precision_score(is_wrong, better) - average_precision_score(
        is_wrong, plain
    )
    assert value == pytest.approx(difference, abs=1e-5)
    assert found["dmt_weight"] == (0, 0, 0), "the same order on the same resamples"
    assert gains(scores, is_wrong, blocks, seed=4) == found
    assert gains(scores, is_wrong, blocks, seed=5) != found
    # The same labels in ten blocks say less.
    few = gains(scores, is_wrong, blocks % 10, seed=4)["disagreement"]
    assert few.value == pytest.approx(value)
    assert gains(scores, is_wrong, blocks * 0, seed=4) == {}, "one block says nothing"


def test_pixels_of_scenes() -> None:
    masks = {4: np.array([[0, 1], [255, 1]], np.uint8), 6: np.array([[1, 1, 0]], np.uint8)}
    hidden = HiddenMasks(np.array([4, 6]), masks.__getitem__)
    scenes = [
        SampledScene(4, (2, 2), np.array([0, 2, 3]), np.array([0, 0, 0]), ALL[:3]),
        SampledScene(6, (1, 3), np.array([0, 2]), np.array([1, 1]), ~ALL[:2]),
        SampledScene(8, (1, 1), np.array([0]), np.array([1]), ALL[:1]),  # no mask
    ]
    scores = {"confidence": np.array([0.1, 0.9, 0.7, 0.2, 0.8, 0.9])}
    blocks = np.zeros(9, np.int64)
    found = detect_in_scenes(scenes, scores, hidden, blocks, seed=0)
    assert (found.num_images, found.num_blocks, found.num_labels) == (2, 1, 4)
    # wrong: the last pixel of image 4 (0.7, selected) and the second of image 6 (0.8)
    assert (found.num_wrong, found.num_selected, found.num_selected_wrong) == (2, 2, 1)
    assert found.scores["confidence"].auroc == 1.0
    assert found.scores["confidence"].auroc_selected == 1.0
    blocks[6] = 1
    assert detect_in_scenes(scenes, scores, hidden, blocks, seed=0).num_blocks == 2
    with pytest.raises(ValueError, match="the mask of image 6"):
        turned = scenes[1]._replace(shape=(3, 1))
        detect_in_scenes([turned], {"entropy": np.zeros(2)}, hidden, blocks, seed=0)
