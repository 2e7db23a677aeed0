"""The verdict: its word, its sentence and the cases without a comparison; not the statistics."""

import numpy as np
import pytest

from dmt.data.hidden import HiddenLabels
from dmt.metrics.confusion import mean_iou
from dmt.metrics.intervals import block_interval
from dmt.metrics.verdict import (
    MIN_BLOCKS,
    compare_counts,
    compare_predictions,
    direction,
    gap_closed,
    judge,
)
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


def of_blocks(
    num_blocks: int, value: float = 4.0, low: float = 1.0, high: float = 7.0
) -> Difference:
    return Difference(
        value=value, low=low, high=high, p_value=None, num_images=62, num_blocks=num_blocks
    )


def test_blocks_are_named() -> None:
    assert judge(55.0, 51.0, of_blocks(8), "miou", num_unlabeled=9) == (
        "helped",
        "The unlabeled images helped: mean IoU rose from 51.0 % to 55.0 % on 62 held-out images "
        "in 8 blocks (difference 4.0 points, 95 % interval 1.0 to 7.0).",
    )
    answer, sentence = judge(51.0, 55.0, of_blocks(8, -4, -7, -1), "miou", num_unlabeled=9)
    assert answer == "hurt"
    assert "mean IoU fell from 55.0 % to 51.0 %" in sentence


def test_no_word_is_lost_on_blocks_of_one_image() -> None:
    _, sentence = judge(55.0, 51.0, of_blocks(62), "miou", num_unlabeled=9)
    assert "on 62 held-out images (difference" in sentence


@pytest.mark.parametrize("value", [4.0, -4.0])
@pytest.mark.parametrize("num", [1, 3, 5])
def test_few_blocks_never_answer(num: int, value: float) -> None:
    given = of_blocks(num, value, value - 1, value + 1)
    assert direction(given, "miou") == "unclear"
    answer, sentence = judge(51.0 + value, 51.0, given, "miou", num_unlabeled=9)
    assert answer == "unclear"
    few = "one block is" if num == 1 else f"{num} blocks are"
    assert sentence.endswith(
        f"; {few} too few to tell any difference from chance, so hold out at least 6."
    )
    assert direction(of_blocks(MIN_BLOCKS), "miou") == "better"


def test_few_images_never_answer_either() -> None:
    given = of_blocks(4).model_copy(update={"num_images": 4})
    _, sentence = judge(55.0, 51.0, given, "miou", num_unlabeled=9)
    assert "4 images are too few" in sentence


@pytest.mark.parametrize(
    ("num_blocks", "words"), [(8, "32 held-out blocks"), (62, "390 held-out images")]
)
def test_unclear_says_how_many_blocks_would_do(num_blocks: int, words: str) -> None:
    # Without the widening, half the interval is 5 / 1.290 = 3.877 of 8 blocks and 4.861 of 62:
    # 2.04 · 8 · (3.877 / 2.8)² = 31.3 and 2.04 · 62 · (4.861 / 2.8)² = 381, up to two figures.
    given = of_blocks(num_blocks, 2.8, -2.2, 7.8)
    _, sentence = judge(53.8, 51.0, given, "miou", num_unlabeled=9)
    assert f"would show with roughly {words}" in sentence


def test_without_masks_the_words_are_masks() -> None:
    assert "no held-out masks" in judge(None, None, None, "miou", num_unlabeled=5).sentence
    assert "images without masks" in judge(60.0, None, None, "miou", num_unlabeled=0).sentence
    assert "The mean IoU is 60.0 %" in judge(60.0, None, None, "miou", num_unlabeled=5).sentence


def counts(num: int, hits: int, seed: int) -> np.ndarray:  # type: ignore[type-arg]
    """(num, 2, 2) counts of images of 100 pixels a class."""
    right = np.random.default_rng(seed).binomial(100, hits / 100, (num, 2))
    rows = np.stack([right, 100 - right], axis=-1)
    rows[:, 1] = rows[:, 1, ::-1]
    return rows.astype(np.int64)


def test_compare_counts_adds_up_blocks() -> None:
    a, b, blocks = counts(24, 90, 0), counts(24, 80, 1), np.repeat([5, -1, 9, 2, 3, 7, 1, 0], 3)
    found = compare_counts(a, b, blocks, 4)
    assert found.value == pytest.approx(mean_iou(a.sum(0)).value - mean_iou(b.sum(0)).value)
    assert (found.num_images, found.num_blocks, found.p_value) == (24, 8, None)
    order = np.argsort(np.array([5, -1, 9, 2, 3, 7, 1, 0]))
    summed = [each.reshape(8, 3, 2, 2).sum(1)[order] for each in (a, b)]
    assert (found.value, found.low, found.high) == block_interval(*summed, seed=4)
    shuffled = np.random.default_rng(2).permutation(24)
    assert compare_counts(a[shuffled], b[shuffled], blocks[shuffled], 4) == found
    assert found.low > 0
    assert direction(found, "miou") == "better"


def test_compare_counts_by_hand() -> None:
    # One class of two: a has 8 of 10 right, b 5 of 10; nothing of the other is called or true.
    a, b = np.zeros((7, 2, 2), dtype=np.int64), np.zeros((7, 2, 2), dtype=np.int64)
    a[:, 0], b[:, 0] = [8, 2], [5, 5]
    found = compare_counts(a, b, np.arange(7), 0)
    # Class 1 was called, so its IoU of 0 counts: (80 + 0) / 2 − (50 + 0) / 2, the same everywhere.
    assert (found.value, found.low, found.high) == (15, 15, 15)


def test_blocks_without_a_counted_pixel_are_no_observations() -> None:
    a, b = counts(9, 90, 0), counts(9, 80, 1)
    a[6:], b[6:] = 0, 0
    found = compare_counts(a, b, np.arange(9), 1)
    assert (found.num_images, found.num_blocks) == (9, 6)
    cut = compare_counts(a[:6], b[:6], np.arange(6), 1)
    assert (found.low, found.high) == (cut.low, cut.high)
    with pytest.raises(ValueError, match="at least one counted pixel"):
        compare_counts(a[6:], b[6:], np.arange(3), 1)


def test_counts_that_do_not_align_are_refused() -> None:
    with pytest.raises(ValueError, match="two equal"):
        compare_counts(counts(3, 9, 0), counts(4, 9, 0), np.arange(3), 0)
    with pytest.raises(ValueError, match="two equal"):
        compare_counts(counts(3, 9, 0), counts(3, 9, 0), np.arange(4), 0)
