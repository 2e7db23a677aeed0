"""Average precision and AUROC in finding wrong pseudo labels, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from dmt.data.hidden import HiddenLabels, HiddenMasks
from dmt.metrics.error_detection import (
    SampledScene,
    areas,
    detect_in_images,
    detect_in_scenes,
    gains,
    precision_slope,
)
from dmt.records import ErrorDetection

IDS = np.array([3, 1, 7, 5])
TRUTH = HiddenLabels(np.array([1, 3, 5, 7, 9]), np.array([0, 0, 1, 1, 0]))
LABEL = np.array([1, 0, 0, 1])  # the first and the third are wrong
ALL = np.ones(4, np.bool_)


def found_in(
    *score: float, label: NDArray[np.int64] = LABEL, kept: NDArray[np.bool_] = ALL
) -> ErrorDetection:
    return detect_in_images(IDS, label, kept, {"confidence": np.array(score)}, TRUTH)


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
    found = detect_in_images(IDS, LABEL, ALL, scores, truth)
    assert (found.num_images, found.num_labels, found.num_wrong) == (2, 2, 1)
    assert found.scores["confidence"].ap == 0.5
    empty = detect_in_images(IDS, LABEL, ALL, scores, TRUTH.restrict(np.array([9])))
    assert (empty.num_labels, empty.scores["confidence"].ap, empty.gains) == (0, None, {})


def noisy(strength: float, seed: int, num: int = 400) -> tuple[NDArray, NDArray]:
    """One label in five is wrong; a score of which they have `strength` more."""
    generator = np.random.default_rng(seed)
    is_wrong = generator.random(num) < 0.2
    return is_wrong, strength * is_wrong + generator.normal(size=num)


@pytest.mark.parametrize("digits", [0, 1, 12])
def test_areas_are_those_of_scikit_learn(digits: int) -> None:
    is_wrong, score = noisy(1.0, 2)
    score = score.round(digits)  # with ties, and without
    ap, auroc = areas(score, is_wrong)
    assert ap == pytest.approx(average_precision_score(is_wrong, score), rel=1e-12)
    assert auroc == pytest.approx(roc_auc_score(is_wrong, score), rel=1e-12)


def weighted(is_wrong: NDArray, score: NDArray, weights: NDArray) -> float:
    return float(average_precision_score(is_wrong, score, sample_weight=weights))


def test_the_slope_is_what_a_little_more_weight_does() -> None:
    is_wrong, score = noisy(1.0, 1, num=60)
    score = score.round(1)  # many ties
    average, slope = precision_slope(score, is_wrong)
    even = np.ones(60)
    assert average == pytest.approx(average_precision_score(is_wrong, score))
    assert slope.sum() == pytest.approx(0, abs=1e-12), "twice the weight of all changes nothing"
    for row in range(60):
        step = np.where(np.arange(60) == row, 1e-6, 0)
        up, down = (weighted(is_wrong, score, even + sign * step) for sign in (1, -1))
        assert slope[row] == pytest.approx((up - down) / 2e-6, abs=1e-8)


def test_the_interval_of_a_gain() -> None:
    is_wrong, plain = noisy(0.5, 3)
    _, better = noisy(3.0, 3)
    blocks = np.arange(len(plain))
    scores = {"confidence": plain, "disagreement": better, "dmt_weight": 2 * plain}
    found = gains(scores, is_wrong, blocks)
    assert list(found) == ["disagreement", "dmt_weight"]
    value, low, high = found["disagreement"]
    assert 0 < low < value < high < 1
    assert value == pytest.approx(
        average_precision_score(is_wrong, better) - average_precision_score(is_wrong, plain)
    )
    assert found["dmt_weight"] == (0, 0, 0), "the same order"
    # A bootstrap finds the same spread.
    generator = np.random.default_rng(4)
    draws = []
    for _ in range(300):
        times = np.bincount(generator.integers(0, len(plain), len(plain)), minlength=len(plain))
        draws.append(weighted(is_wrong, better, times) - weighted(is_wrong, plain, times))
    assert (high - low) / 2 == pytest.approx(1.96 * np.std(draws), rel=0.15)


def test_labels_of_one_block_are_one_observation() -> None:
    is_wrong, plain = noisy(0.5, 3)
    _, better = noisy(3.0, 3)
    twice = [np.concatenate([each, each]) for each in (is_wrong, plain, better)]
    scores = {"confidence": twice[1], "disagreement": twice[2]}
    single = gains({"confidence": plain, "disagreement": better}, is_wrong, np.arange(400))
    doubled = gains(scores, twice[0], np.tile(np.arange(400), 2))
    assert doubled["disagreement"] == pytest.approx(single["disagreement"])
    assert gains(scores, twice[0], np.zeros(800, np.int64)) == {}, "one block says nothing"


def simulated(
    generator: np.random.Generator, num: int, num_blocks: int
) -> tuple[NDArray, dict[str, NDArray], NDArray]:
    """Two scores of one difficulty; of blocks some err more, and some are ranked better."""
    blocks = np.arange(num) * num_blocks // num
    of_block, skill = generator.normal(size=(2, num_blocks))[:, blocks] * (num_blocks < num)
    is_wrong = generator.random(num) < 0.1 * np.exp(0.7 * of_block - 0.25 * (num_blocks < num))
    common, own, other = generator.normal(size=(3, num))
    plain = 1.5 * is_wrong + common + 0.5 * own + 0.5 * skill
    better = 2.0 * is_wrong + common + 0.7 * other
    return is_wrong, {"confidence": plain, "disagreement": better}, blocks


@pytest.mark.parametrize(("num", "num_blocks"), [(500, 500), (2000, 40), (1000, 8)])
def test_nine_intervals_of_ten_hold_the_true_gain(num: int, num_blocks: int) -> None:
    generator = np.random.default_rng(num_blocks)
    is_wrong, scores, _ = simulated(generator, 200 * num, 200 * num_blocks)
    first, second = (precision_slope(each, is_wrong)[0] for each in scores.values())
    held = []
    for _ in range(200):
        is_wrong, scores, blocks = simulated(generator, num, num_blocks)
        _, low, high = gains(scores, is_wrong, blocks)["disagreement"]
        held.append(low <= second - first <= high)
    assert 0.88 < np.mean(held) < 0.995


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
    found = detect_in_scenes(scenes, scores, hidden, blocks)
    assert (found.num_images, found.num_blocks, found.num_labels) == (2, 1, 4)
    # wrong: the last pixel of image 4 (0.7, selected) and the second of image 6 (0.8)
    assert (found.num_wrong, found.num_selected, found.num_selected_wrong) == (2, 2, 1)
    assert found.scores["confidence"].auroc == 1.0
    assert found.scores["confidence"].auroc_selected == 1.0
    blocks[6] = 1
    assert detect_in_scenes(scenes, scores, hidden, blocks).num_blocks == 2
    turned = scenes[1]._replace(shape=(3, 1))
    with pytest.raises(ValueError, match="the mask of image 6"):
        detect_in_scenes([turned], {"entropy": np.zeros(2)}, hidden, blocks)
