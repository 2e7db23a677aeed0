"""The verdict: its word, its sentence and the cases without a comparison; not the statistics."""

import numpy as np
import pytest

from dmt.data.hidden import HiddenLabels
from dmt.metrics.verdict import compare_predictions, direction, gap_closed, judge
from dmt.records import Difference


def difference(
    value: float, low: float, high: float, p_value: float | None = 0.001, num: int = 357
) -> Difference:
    return Difference(value=value, low=low, high=high, p_value=p_value, num_images=num)


CLEAR = difference(-4.2, -6.9, -1.6)
UNCLEAR = difference(-1.1, -4.0, 1.8, 0.52)


@pytest.mark.parametrize(
    ("given", "metric", "expected"),
    [
        (difference(-4, -6, -1), "error", "better"),
        (difference(-4, -6, -1), "miou", "worse"),
        (difference(4, 1, 6), "error", "worse"),
        (difference(4, 1, 6, None), "miou", "better"),
        (difference(-4, -9, 1), "error", "unclear"),
        (difference(-4, -9, 0), "error", "unclear"),  # an end at 0 does not exclude 0
        (difference(4, 0, 9, None), "miou", "unclear"),
        (difference(0, 0, 0, 1.0), "error", "unclear"),
        (difference(-4, -9, -0.1, 0.0525), "error", "unclear"),  # the exact test disagrees
        (difference(-4, -9, -0.1, 0.05), "error", "unclear"),
        (difference(-4, -9, 1, 0.01), "error", "unclear"),  # the interval decides alone
    ],
)
def test_direction(given, metric, expected) -> None:  # type: ignore[no-untyped-def]
    assert direction(given, metric) == expected


def test_helped_in_words() -> None:
    assert judge(8.1, 12.3, CLEAR, "error", num_unlabeled=1400) == (
        "helped",
        "The unlabeled images helped: error fell from 12.3 % to 8.1 % on 357 held-out images "
        "(difference −4.2 points, 95 % interval −6.9 to −1.6).",
    )


def test_hurt_in_words_and_miou_the_other_way_round() -> None:
    worse = difference(4.2, 1.6, 6.9)
    answer, sentence = judge(12.3, 8.1, worse, "error", num_unlabeled=9)
    assert answer == "hurt"
    assert sentence.startswith("The unlabeled images hurt: error rose from 8.1 % to 12.3 % on")
    answer, sentence = judge(67.1, 62.9, worse, "miou", num_unlabeled=9)
    assert answer == "helped"
    assert "mean IoU rose from 62.9 % to 67.1 %" in sentence


def test_unclear_says_how_many_labels_would_do() -> None:
    answer, sentence = judge(11.2, 12.3, UNCLEAR, "error", num_unlabeled=1400)
    assert answer == "unclear"
    # 2.04 · 357 · (2.9 / 1.1)² = 5062, up to two figures
    assert sentence == (
        "It cannot be told whether the unlabeled images helped: error fell from 12.3 % to 11.2 % "
        "on 357 held-out images (difference −1.1 points, 95 % interval −4.0 to 1.8); "
        "a difference of this size would show with roughly 5100 held-out labels."
    )


@pytest.mark.parametrize("value", [0.0, 0.01])
def test_no_advice_to_label_a_million_images(value: float) -> None:
    given = difference(value, value - 3, value + 3, 1.0)
    _, sentence = judge(12.3 + value, 12.3, given, "error", num_unlabeled=5)
    assert "too small to be shown by more held-out labels" in sentence
    assert ("stayed at 12.3 %" in sentence) == (value == 0)


def test_a_clash_is_unclear_and_says_why() -> None:
    clash = difference(-6.2, -12.4, -0.54, 0.0525, num=161)
    answer, sentence = judge(40.0, 46.2, clash, "error", num_unlabeled=5)
    assert answer == "unclear"
    assert "too few images are disputed for the exact test, p = 0.052" in sentence
    assert "roughly 330 held-out labels" in sentence  # 2.04 · 161 · (5.93 / 6.2)² = 300 < 2 · 161


@pytest.mark.parametrize(("share", "words"), [(1 / 6, "1/6"), (0.166, "1/6"), (0.4, "40 %")])
def test_a_cheap_baseline_is_named(share: float, words: str) -> None:
    _, sentence = judge(8.1, 12.3, CLEAR, "error", num_unlabeled=5, baseline_share=share)
    assert f"The baseline saw {words} of the images that the method saw" in sentence
    assert "baseline=equal" in sentence


def test_no_end_that_is_not_zero_reads_as_zero() -> None:
    close = difference(-0.31, -0.58, -0.04, 0.02, num=10_000)
    _, sentence = judge(5.0, 5.31, close, "error", num_unlabeled=5)
    assert "from 5.31 % to 5.00 %" in sentence
    assert "interval −0.58 to −0.04" in sentence


def test_never_a_negative_zero() -> None:
    _, sentence = judge(5.0, 5.0, difference(-0.0, -2.0, 2.0, 1.0), "error", num_unlabeled=5)
    assert "difference 0.0 points" in sentence


def test_one_held_out_image_is_singular() -> None:
    _, sentence = judge(0, 100, difference(-100, -100, 58.7, 1.0, 1), "error", num_unlabeled=5)
    assert "on 1 held-out image (" in sentence


def test_without_a_comparison_the_answer_is_none_and_says_how_to_get_one() -> None:
    answer, sentence = judge(None, None, None, "error", num_unlabeled=5)
    assert answer == "none"
    assert "no held-out labels" in sentence
    assert "folds=5" in sentence
    answer, sentence = judge(8.1, None, None, "error", num_unlabeled=5)
    assert answer == "none"
    assert "8.1 %" in sentence
    assert "baseline=equal" in sentence


@pytest.mark.parametrize("value", [None, 12.3])
def test_without_unlabeled_images_it_equals_supervised(value: float | None) -> None:
    answer, sentence = judge(value, value, None, "error", num_unlabeled=0)
    assert answer == "none"
    assert "equals supervised training" in sentence
    assert ("12.3 %" in sentence) == (value is not None)


def test_half_a_comparison_is_a_fault() -> None:
    with pytest.raises(ValueError, match="both values"):
        judge(8.1, 12.3, None, "error", num_unlabeled=5)
    with pytest.raises(ValueError, match="both values"):
        judge(None, 12.3, CLEAR, "error", num_unlabeled=5)


@pytest.mark.parametrize(
    ("method", "supervised", "oracle", "given", "metric", "expected"),
    [
        (5.0, 8.0, 4.0, difference(-4, -5, -3), "error", 0.75),
        (3.0, 8.0, 4.0, difference(-4, -5, -3), "error", 1.25),
        (9.0, 8.0, 4.0, difference(-4, -5, -3), "error", -0.25),
        # The paper's VOC with 1464 labels: 72.10, 74.85 and 74.75 %.
        (74.85, 72.10, 74.75, difference(2.65, 2, 3.3, None), "miou", 2.75 / 2.65),
        (5.0, 8.0, 7.5, difference(-0.5, -2, 1, 0.6), "error", None),
        (5.0, 8.0, 9.5, difference(1.5, 1, 2), "error", None),
        (5.0, 8.0, 4.0, None, "error", None),
        (None, 8.0, 4.0, difference(-4, -5, -3), "error", None),
        (5.0, None, 4.0, difference(-4, -5, -3), "error", None),
        (5.0, 8.0, None, difference(-4, -5, -3), "error", None),
    ],
)
def test_gap_closed(method, supervised, oracle, given, metric, expected) -> None:  # type: ignore[no-untyped-def]
    result = gap_closed(method, supervised, oracle, given, metric)
    assert result == (None if expected is None else pytest.approx(expected))


def test_compare_predictions_signs_and_alignment() -> None:
    hidden = HiddenLabels(np.arange(20)[::-1], np.arange(20) % 4)
    truth = np.arange(20) % 4
    wrong = truth.copy()
    wrong[:10] = (wrong[:10] + 1) % 4
    result = compare_predictions(truth, wrong, hidden)
    assert result.value == -50  # a errs on 0 of 20, b on 10
    assert result.low < -50 < result.high < 0
    assert result.p_value == pytest.approx(2 / 2**10)
    assert result.num_images == 20
    turned = compare_predictions(wrong, truth, hidden)
    assert (turned.value, turned.p_value) == (50, result.p_value)
    assert turned.low == pytest.approx(-result.high)
    assert judge(0, 50, result, "error", num_unlabeled=1).answer == "helped"
    assert judge(50, 0, turned, "error", num_unlabeled=1).answer == "hurt"


def test_equal_predictions_are_unclear() -> None:
    hidden = HiddenLabels(np.arange(30), np.zeros(30, dtype=np.int64))
    ones = np.ones(30, dtype=np.int64)  # all wrong, both
    result = compare_predictions(ones, ones, hidden)
    assert (result.value, result.p_value) == (0, 1)
    assert result.low < 0 < result.high
    assert judge(100, 100, result, "error", num_unlabeled=1).answer == "unclear"


def test_nothing_held_out_cannot_be_compared() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    with pytest.raises(ValueError, match="at least one image"):
        compare_predictions(nothing, nothing, HiddenLabels(nothing, nothing))
