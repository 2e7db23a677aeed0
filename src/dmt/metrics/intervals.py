"""How sure a difference is: tests and 95 % intervals; what they mean for a run is in `verdict`.

The paired intervals over images, or blocks of them, answer "would other held-out images say the
same of these two models?"; the interval over seeds answers "would another run say the same?".
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from dmt.metrics.confusion import hits_and_unions

_Z = float(special.ndtri(0.975))
_BISECTIONS = 60  # halvings of [-1, 1]: past the last bit of a float64
_RESAMPLES_AT_ONCE = 64


class Interval(NamedTuple):
    """An estimate and the two ends of its 95 % interval, in the estimate's unit."""

    value: float
    low: float
    high: float


def mcnemar(correct_a: NDArray[np.bool_], correct_b: NDArray[np.bool_]) -> float:
    """Exact two-sided p-value that two models err equally often on the same images.

    Under that hypothesis the images on which one model alone is right fall to either model
    like a fair coin (McNemar, Psychometrika 12, 1947; the binomial form, not the χ²
    approximation).

    Args:
        correct_a, correct_b: bool, shape (N,), image by image.

    Returns:
        The probability of a split at least as uneven, in (0, 1]; 1 when no image is disputed.

    Raises:
        ValueError: the two differ in shape or are not bool.
    """
    only_a, only_b, _ = _discordant(correct_a, correct_b)
    # The fair coin is symmetric, so both tails are equal; they overlap only at an even split.
    tail = float(special.bdtr(min(only_a, only_b), only_a + only_b, 0.5))
    return min(1.0, 2.0 * tail)


def paired_error_interval(correct_a: NDArray[np.bool_], correct_b: NDArray[np.bool_]) -> Interval:
    """95 % interval of `error rate of a − error rate of b` on the same images, in points.

    Tango's score interval (Statistics in Medicine 17, 891-908, 1998): all differences that a
    score test would not reject, the disputed share being re-estimated under each. It keeps
    its coverage with few or no disputed images, where the usual ± 1.96 standard errors has
    length zero.

    Args:
        correct_a, correct_b: bool, shape (N,), image by image, N ≥ 1.

    Returns:
        Points (100 × the difference), within [−100, 100].

    Raises:
        ValueError: no images, or the two differ in shape or are not bool.
    """
    only_a, only_b, num = _discordant(correct_a, correct_b)
    if num == 0:
        raise ValueError("an interval needs at least one image")
    low, high = _tango(only_b, only_a, num)  # b alone right = a alone wrong
    return Interval(100 * (only_b - only_a) / num, 100 * low, 100 * high)


def paired_t_interval(differences: ArrayLike) -> Interval:
    """Mean over seeds of a paired difference, with its 95 % interval by Student's t.

    Args:
        differences: shape (S,), one difference a seed, S ≥ 2, any unit.

    Raises:
        ValueError: fewer than two seeds, or a value that is not finite.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or values.size < 2:
        raise ValueError("an interval over seeds needs the differences of at least two seeds")
    if not np.isfinite(values).all():
        raise ValueError("a difference is not finite")
    mean = float(values.mean())
    quantile = float(special.stdtrit(values.size - 1, 0.975))
    half = quantile * float(values.std(ddof=1)) / math.sqrt(values.size)
    return Interval(mean, mean - half, mean + half)


def bootstrap_interval(
    counts_a: NDArray[np.integer[Any]],
    counts_b: NDArray[np.integer[Any]],
    *,
    seed: int,
    num_resamples: int = 2000,
) -> Interval:
    """95 % interval of `mean IoU of a − mean IoU of b`, by resampling images with both results.

    Paired percentile bootstrap (Efron, Tibshirani, 1993): mean IoU is a ratio of sums, for which
    no closed interval exists. Blocks of images that belong together, say of one city, are
    resampled as one if their matrices are added up first.

    Args:
        counts_a, counts_b: (N, K, K) confusion counts of each image or block, rows are the
            truth, the same images in the same order.
        seed: names the resamples; the same seed gives the same interval.
        num_resamples: of them the ends are taken; 2000 put the ends right to about 3 % of
            the interval's length.

    Returns:
        Points of mean IoU. A resample without any count is left out.

    Raises:
        ValueError: shapes differ or nothing was counted.
    """
    if counts_a.shape != counts_b.shape or counts_a.ndim != 3:
        raise ValueError(f"expected two equal (N, K, K), got {counts_a.shape}, {counts_b.shape}")
    num, classes, _ = counts_a.shape
    # All that an IoU is made of; with many classes far less than the matrices.
    parts = [*hits_and_unions(counts_a), *hits_and_unions(counts_b)]
    both = np.stack(parts, axis=1).reshape(num, -1).astype(np.float64)
    shape = (-1, 2, 2, classes)
    value = float(_difference_of_means(both.sum(0).reshape(shape))[0])
    if math.isnan(value):
        raise ValueError("an interval needs at least one counted pixel")
    generator = np.random.Generator(np.random.PCG64(seed))
    share = np.full(num, 1 / num)
    draws = []
    for start in range(0, num_resamples, _RESAMPLES_AT_ONCE):
        size = min(_RESAMPLES_AT_ONCE, num_resamples - start)
        times = generator.multinomial(num, share, size=size).astype(np.float64)
        draws.append(_difference_of_means((times @ both).reshape(shape)))
    low, high = np.nanquantile(np.concatenate(draws), [0.025, 0.975])
    return Interval(value, float(low), float(high))


def block_interval(
    counts_a: NDArray[np.integer[Any]],
    counts_b: NDArray[np.integer[Any]],
    *,
    seed: int,
    num_resamples: int = 2000,
) -> Interval:
    """`bootstrap_interval`, widened so that it keeps its coverage over few blocks.

    The percentile interval of n blocks is too short: a resample varies by (n − 1)/n of what it
    should, and its ends are those of a normal distribution where n differences call for
    Student's t. Both ends are therefore moved away from the estimate by `widening(n)`, which is
    1 for many blocks. Simulated coverages: docs/decisions/013-bootstrap-over-blocks.md.

    Args:
        counts_a, counts_b: (N, K, K) confusion counts of each block, rows are the truth, the
            same blocks in the same order. Images that do not belong together are blocks each.
        seed: names the resamples.
        num_resamples: of them the ends are taken.

    Returns:
        Points of mean IoU within [−100, 100]; those two themselves for a single block.

    Raises:
        ValueError: shapes differ or nothing was counted.
    """
    value, low, high = bootstrap_interval(
        counts_a, counts_b, seed=seed, num_resamples=num_resamples
    )
    if len(counts_a) == 1:
        return Interval(value, -100.0, 100.0)
    factor = widening(len(counts_a))
    low, high = value + factor * (low - value), value + factor * (high - value)
    return Interval(value, max(low, -100.0), min(high, 100.0))


def widening(num: int) -> float:
    """√(n / (n − 1)) · t(0.975; n − 1) / z(0.975) for n ≥ 2 blocks: 1.44 for 6, 1.03 for 60."""
    return math.sqrt(num / (num - 1)) * float(special.stdtrit(num - 1, 0.975)) / _Z


def _difference_of_means(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean IoU of model 0 − model 1 in points, from sums (R, 2, 2, K) of hits and unions.

    Returns:
        (R,), nan where nothing was counted.
    """
    hits, unions = sums[:, :, 0], sums[:, :, 1]
    iou = np.zeros(hits.shape)
    np.divide(100.0 * hits, unions, out=iou, where=unions > 0)
    number = (unions > 0).sum(-1)
    means = np.full(number.shape, np.nan)
    np.divide(iou.sum(-1), number, out=means, where=number > 0)
    difference: NDArray[np.float64] = means[:, 0] - means[:, 1]
    return difference


def _discordant(correct_a: NDArray[np.bool_], correct_b: NDArray[np.bool_]) -> tuple[int, int, int]:
    """How many images a alone has right, how many b alone, and how many there are."""
    if correct_a.shape != correct_b.shape or correct_a.ndim != 1:
        raise ValueError(f"expected two equal (N,), got {correct_a.shape} and {correct_b.shape}")
    if correct_a.dtype != np.bool_ or correct_b.dtype != np.bool_:
        raise ValueError("right or wrong must be given as bool")
    only_a = int((correct_a & ~correct_b).sum())
    only_b = int((correct_b & ~correct_a).sum())
    return only_a, only_b, correct_a.size


def _tango(first: int, second: int, num: int) -> tuple[float, float]:
    """Ends of the interval of P(first) − P(second) for two disjoint events among `num` pairs."""
    estimate = (first - second) / num
    ends = []
    for outermost in (-1.0, 1.0):
        inside, outside = estimate, outermost
        if _is_accepted(outermost, first, second, num):
            inside = outermost
        for _ in range(_BISECTIONS):
            middle = (inside + outside) / 2
            if _is_accepted(middle, first, second, num):
                inside = middle
            else:
                outside = middle
        ends.append(inside)
    return ends[0], ends[1]


def _is_accepted(difference: float, first: int, second: int, num: int) -> bool:
    """Whether the score test keeps `difference`; multiplied out, so that no variance divides."""
    linear = -first - second + (2 * num - first + second) * difference
    constant = -second * difference * (1 - difference)
    root = math.sqrt(max(linear * linear - 8 * num * constant, 0.0))
    share = (root - linear) / (4 * num)  # likeliest P(second) if the difference were true
    variance = num * (2 * share + difference * (1 - difference))
    return (first - second - num * difference) ** 2 <= _Z * _Z * variance
