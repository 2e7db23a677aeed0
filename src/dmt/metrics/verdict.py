"""Did the unlabeled images help? The answer and its sentence; the statistics are in `intervals`.

Nothing here chooses a model or prints: callers hand in figures and get words back.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dmt.metrics.hidden_scores import is_correct
from dmt.metrics.intervals import block_interval, mcnemar, paired_error_interval, widening
from dmt.records import Difference

if TYPE_CHECKING:
    from torch import Tensor

    from dmt.data.hidden import HiddenLabels

Metric = Literal["error", "miou"]
Answer = Literal["helped", "hurt", "unclear", "none"]

_SIGNIFICANCE = 0.05
# ((1.96 + 0.84) / 1.96)²: as many times the images for which the interval just ends at 0 give
# a true difference of the size seen an 80 % chance to show.
_POWER = 2.04
_MOST_LABELS = 100_000  # advice to label more than this helps nobody
METRIC_NAMES: dict[Metric, str] = {"error": "error", "miou": "mean IoU"}
_LABELS: dict[Metric, str] = {"error": "labels", "miou": "masks"}

MIN_BLOCKS = 6
"""Below it no answer is given: that all of n blocks agree is chance in 2 of 2^n cases, more than
5 % up to n = 5, and that the effects of blocks are normal cannot be seen in so few of them."""


class Verdict(NamedTuple):
    """The answer in one word and in one or two sentences with its numbers."""

    answer: Answer
    sentence: str


def compare_predictions(
    prediction_a: NDArray[Any] | Tensor,
    prediction_b: NDArray[Any] | Tensor,
    hidden: HiddenLabels,
) -> Difference:
    """Error of a − error of b on the images of `hidden`, with its interval and p-value.

    Args:
        prediction_a, prediction_b: called classes, integers, shape (N,), aligned with
            `hidden.ids`; a is the method, b what it is compared with.
        hidden: the held-out labels, N ≥ 1.

    Returns:
        Points of error rate: Tango's score interval, the exact McNemar p-value.

    Raises:
        ValueError: there are no held-out labels, or not as many predictions as labels.
    """
    correct_a, correct_b = is_correct(prediction_a, hidden), is_correct(prediction_b, hidden)
    value, low, high = paired_error_interval(correct_a, correct_b)
    return Difference(
        value=value,
        low=low,
        high=high,
        p_value=mcnemar(correct_a, correct_b),
        num_images=correct_a.size,
    )


def compare_counts(
    counts_a: NDArray[np.integer[Any]],
    counts_b: NDArray[np.integer[Any]],
    blocks: NDArray[np.int64],
    seed: int,
) -> Difference:
    """Mean IoU of a − mean IoU of b on the same images, with its interval over blocks.

    Args:
        counts_a, counts_b: (N, K, K) counts of pixels of each held-out image, rows are the
            truth, N ≥ 1; a is the method, b what it is compared with.
        blocks: int64, shape (N,): which block an image belongs to, any numbers; images of one
            block (frames of one scene) count as one observation.
        seed: of the resamples.

    Returns:
        Points of mean IoU: `block_interval` over the blocks that hold a counted pixel, whose
        number is `num_blocks`; no p-value.

    Raises:
        ValueError: shapes differ or not a single pixel was counted.
    """
    if counts_a.shape != counts_b.shape or counts_a.ndim != 3 or blocks.shape != (len(counts_a),):
        raise ValueError(
            f"expected two equal (N, K, K) and blocks (N,), got {counts_a.shape}, "
            f"{counts_b.shape} and {blocks.shape}"
        )
    names, block = np.unique(blocks, return_inverse=True)
    summed = []
    for counts in (counts_a, counts_b):
        sums = np.zeros((len(names), *counts.shape[1:]), dtype=np.int64)
        np.add.at(sums, block, counts)
        summed.append(sums)
    is_seen = (summed[0].sum((1, 2)) > 0) | (summed[1].sum((1, 2)) > 0)
    if not is_seen.any():
        raise ValueError("a comparison needs at least one counted pixel")
    value, low, high = block_interval(summed[0][is_seen], summed[1][is_seen], seed=seed)
    return Difference(
        value=value,
        low=low,
        high=high,
        p_value=None,
        num_images=len(counts_a),
        num_blocks=int(is_seen.sum()),
    )


def direction(difference: Difference, metric: Metric) -> Literal["better", "worse", "unclear"]:
    """On which side of 0 the difference lies, as far as its images can tell.

    Both must hold: the 95 % interval leaves out 0, and the exact McNemar test, where there is
    one, rejects at 5 %. The score interval is approximate and can leave out 0 before the exact
    test agrees, for example at four disputed images that all fall to one model (p = 0.125).
    Such a clash counts as unclear, so where nothing helps, at most one comparison in 40 says
    that it did. Fewer than MIN_BLOCKS blocks are unclear, whatever their interval.

    Args:
        difference: points of the metric.
        metric: says which side is the better one.
    """
    sides = {-1: difference.high < 0, 1: difference.low > 0}
    side = next((sign for sign, is_there in sides.items() if is_there), 0)
    if side == 0 or _is_contradicted(difference) or _has_few_blocks(difference):
        return "unclear"
    return "better" if side == (-1 if metric == "error" else 1) else "worse"


def judge(
    method_value: float | None,
    supervised_value: float | None,
    difference: Difference | None,
    metric: Metric,
    *,
    num_unlabeled: int,
    baseline_share: float = 1.0,
) -> Verdict:
    """Whether the unlabeled images helped, in a word and in words.

    Args:
        method_value: metric of the method in %; None without held-out labels.
        supervised_value: metric in % of the baseline, which saw labels only; None without one.
        difference: method − supervised on the same held-out images, in points; None when
            either value is None.
        metric: `error` (lower is better) or `miou` (higher is better).
        num_unlabeled: how many unlabeled images the run had.
        baseline_share: images the baseline saw over images one peer saw, in (0, 1]; below 1
            for `baseline=round0`, and the sentence then says so.

    Returns:
        `helped`, `hurt` or `unclear` by `direction`; `none` where nothing was compared.

    Raises:
        ValueError: a difference without the two values it is the difference of.
    """
    name, labels = METRIC_NAMES[metric], _LABELS[metric]
    if num_unlabeled == 0:
        figure = "" if method_value is None else f": its {name} is {method_value:.1f} %"
        return Verdict(
            "none",
            "There are no unlabeled images, so this run equals supervised training"
            f"{figure}; add images without {labels} to learn whether they help.",
        )
    if method_value is None and difference is None:
        return Verdict(
            "none",
            "It was not measured whether the unlabeled images helped, because there are no "
            f"held-out {labels}; put some labeled images into test/, or train with folds=5.",
        )
    if supervised_value is None and difference is None:
        return Verdict(
            "none",
            f"The {name} is {method_value:.1f} %, but it was not measured whether the unlabeled "
            "images helped, because no baseline was trained; train with baseline=equal.",
        )
    if method_value is None or supervised_value is None or difference is None:
        raise ValueError("a comparison needs both values and their difference")
    answer = _ANSWERS[direction(difference, metric)]
    facts = _facts(method_value, supervised_value, difference, name)
    if answer == "unclear":
        hint = _hint(difference, metric)
        facts = f"It cannot be told whether the unlabeled images helped: {facts}{hint}"
    else:
        facts = f"The unlabeled images {answer}: {facts}"
    return Verdict(answer, f"{facts}.{_baseline_note(baseline_share)}")


def gap_closed(
    method_value: float | None,
    supervised_value: float | None,
    oracle_value: float | None,
    oracle_difference: Difference | None,
    metric: Metric,
) -> float | None:
    """(method − supervised) / (oracle − supervised): how much of what all labels would bring.

    Args:
        method_value, supervised_value, oracle_value: the metric in %, None where unknown.
        oracle_difference: oracle − supervised on the same held-out images, in points.
        metric: `error` or `miou`.

    Returns:
        A fraction, beyond 1 if the method beats the oracle and negative if it lost; None when
        a value is missing or the oracle is not better than supervised beyond noise, since the
        ratio would then be noise as well.
    """
    if method_value is None or supervised_value is None or oracle_value is None:
        return None
    if oracle_difference is None or direction(oracle_difference, metric) != "better":
        return None
    return (method_value - supervised_value) / (oracle_value - supervised_value)


_ANSWERS: dict[Literal["better", "worse", "unclear"], Answer] = {
    "better": "helped",
    "worse": "hurt",
    "unclear": "unclear",
}


def _is_contradicted(difference: Difference) -> bool:
    """Whether the exact test sees no difference where the interval does."""
    excludes_zero = difference.low > 0 or difference.high < 0
    p_value = difference.p_value
    return excludes_zero and p_value is not None and p_value >= _SIGNIFICANCE


def _has_few_blocks(difference: Difference) -> bool:
    return difference.num_blocks is not None and difference.num_blocks < MIN_BLOCKS


def _is_grouped(difference: Difference) -> bool:
    """Whether some images count together; where each is its own block, no word is lost on it."""
    return difference.num_blocks is not None and difference.num_blocks < difference.num_images


def _facts(method: float, supervised: float, difference: Difference, name: str) -> str:
    digits = _digits(difference)
    if method == supervised:
        change = f"{name} stayed at {method:.{digits}f} %"
    else:
        verb = "fell" if method < supervised else "rose"
        change = f"{name} {verb} from {supervised:.{digits}f} % to {method:.{digits}f} %"
    value, low, high = (
        _signed(number, digits) for number in (difference.value, difference.low, difference.high)
    )
    images = f"{difference.num_images} held-out image{_plural(difference.num_images)}"
    if _is_grouped(difference):
        images += f" in {difference.num_blocks} block{_plural(difference.num_blocks or 0)}"
    return f"{change} on {images} (difference {value} points, 95 % interval {low} to {high})"


def _hint(difference: Difference, metric: Metric) -> str:
    """What would make an unclear answer clear: about how many held-out labels, images, blocks."""
    num = difference.num_blocks or difference.num_images
    unit = "blocks" if _is_grouped(difference) else "labels" if metric == "error" else "images"
    if _has_few_blocks(difference):
        few = f"{num} {unit} are" if num > 1 else f"one {unit.removesuffix('s')} is"
        return (
            f"; {few} too few to tell any difference from chance, so hold out at least {MIN_BLOCKS}"
        )
    reason = ""
    if _is_contradicted(difference):
        reason = (
            f", and too few images are disputed for the exact test, p = {difference.p_value:.3f}"
        )
    half = (difference.high - difference.low) / 2
    if difference.num_blocks is not None:
        half /= widening(difference.num_blocks)  # which more blocks take back
    if difference.value != 0:
        wanted = _POWER * num * (half / difference.value) ** 2
        # Where the interval alone would be clear already, twice the images is a fair guess.
        wanted = max(wanted, 2 * num)
        if wanted <= _MOST_LABELS:
            return (
                f"{reason}; a difference of this size would show with roughly "
                f"{_rounded(wanted)} held-out {unit}"
            )
    return (
        f"{reason}; if there is a difference, it is too small to be shown by more held-out {unit}"
    )


def _baseline_note(share: float) -> str:
    if share >= 1:
        return ""
    return (
        f" The baseline saw {_share_in_words(share)} of the images that the method saw, so part "
        "of the difference may come from training longer; baseline=equal rules that out."
    )


def _share_in_words(share: float) -> str:
    whole = round(1 / share)
    is_unit_fraction = whole > 1 and math.isclose(1 / share, whole, rel_tol=0.02)
    return f"1/{whole}" if is_unit_fraction else f"{100 * share:.0f} %"


def _digits(difference: Difference) -> int:
    """Decimals, one or more, so that no end of the interval that is not 0 reads as 0."""
    for digits in (1, 2):
        if all(
            end == 0 or abs(end) >= 0.5 * 10**-digits for end in (difference.low, difference.high)
        ):
            return digits
    return 3


def _signed(number: float, digits: int) -> str:
    """A true minus sign, and never a negative zero."""
    return f"{round(number, digits) + 0.0:.{digits}f}".replace("-", "−")


def _rounded(count: float) -> int:
    """Up to two leading figures: the estimate is no better than that."""
    unit = int(10 ** max(0, math.floor(math.log10(count)) - 1))
    return math.ceil(count / unit) * unit


def _plural(count: int) -> str:
    return "" if count == 1 else "s"
