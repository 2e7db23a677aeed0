"""Tests and intervals against published figures, closed forms, other code and their coverage."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from dmt.metrics.confusion import mean_iou
from dmt.metrics.intervals import (
    bootstrap_interval,
    mcnemar,
    paired_error_interval,
    paired_t_interval,
)

Z = 1.959963984540054


def answers(only_a: int, only_b: int, num: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """`num` images, of which a alone has `only_a` right and b alone `only_b`."""
    a, b = np.zeros(num, dtype=np.bool_), np.zeros(num, dtype=np.bool_)
    a[:only_a] = True
    b[only_a : only_a + only_b] = True
    rest = only_a + only_b + (num - only_a - only_b) // 2
    a[rest:] = b[rest:] = True
    return a, b


@pytest.mark.parametrize("total", [1, 2, 5, 12, 37, 400])
def test_mcnemar_equals_the_binomial_test(total: int) -> None:
    for only_a in range(0, total + 1, max(1, total // 12)):
        expected = stats.binomtest(only_a, total, 0.5).pvalue
        assert mcnemar(*answers(only_a, total - only_a, total + 9)) == pytest.approx(
            expected, rel=1e-10
        )


def test_mcnemar_by_hand() -> None:
    assert mcnemar(*answers(0, 0, 8)) == 1
    assert mcnemar(*answers(1, 0, 1)) == 1
    assert mcnemar(*answers(3, 3, 10)) == 1
    assert mcnemar(*answers(0, 4, 54)) == 2 / 16
    assert mcnemar(*answers(1, 7, 21)) == pytest.approx(2 * (1 + 8) / 256)
    # Cavo et al. 2012 as worked in Fagerland, Lydersen, Laake: Statistical Analysis of
    # Contingency Tables, chapter 8.
    assert mcnemar(*answers(6, 16, 161)) == pytest.approx(0.052479, abs=5e-7)


@pytest.mark.parametrize(
    ("only_a", "only_b", "num", "low", "high"),
    [
        # Airway reactivity (Bentur et al. 2009) in Fagerland, Lydersen, Laake, Statistics in
        # Medicine 33, 2014: −0.517 to −0.026; and Cavo et al. 2012, the same authors' book.
        (1, 7, 21, -51.7, -2.6),
        (6, 16, 161, -12.40, -0.54),
        (60, 20, 1000, 2.31, 5.84),  # R, PropCIs::scoreci.mp(20, 60, 1000)
    ],
)
def test_published_score_intervals(
    only_a: int, only_b: int, num: int, low: float, high: float
) -> None:
    # The published difference is of success rates; with b first it is of error rates.
    a, b = answers(only_a, only_b, num)
    result = paired_error_interval(b, a)
    assert result.value == pytest.approx(100 * (only_a - only_b) / num)
    digits = 0.05 if num == 21 else 0.005
    assert result.low == pytest.approx(low, abs=digits * 1.01)
    assert result.high == pytest.approx(high, abs=digits * 1.01)


@pytest.mark.parametrize("num", [1, 7, 100, 5000])
def test_without_disputed_images_the_interval_has_its_closed_form(num: int) -> None:
    value, low, high = paired_error_interval(*answers(0, 0, num))
    assert value == 0
    assert high == pytest.approx(100 * Z**2 / (num + Z**2))
    assert low == pytest.approx(-high)


def test_ends_solve_the_score_equation() -> None:
    first, second, num = 9, 21, 140
    for end in paired_error_interval(*answers(second, first, num))[1:]:
        d = end / 100
        # The likeliest cells under a difference of d, found on a grid and not by formula.
        q = np.linspace(max(0, -d), (1 - d) / 2, 2_000_001)[1:-1]
        log_likelihood = (
            first * np.log(q + d) + second * np.log(q) + (num - 30) * np.log(1 - 2 * q - d)
        )
        best = q[log_likelihood.argmax()]
        z = (first - second - num * d) / math.sqrt(num * (2 * best + d - d * d))
        assert abs(z) == pytest.approx(Z, abs=1e-4)


def test_swapping_the_models_mirrors_the_interval() -> None:
    for only_a, only_b, num in [(3, 11, 60), (0, 5, 12), (1, 0, 1), (8, 0, 8)]:
        a, b = answers(only_a, only_b, num)
        forth, back = paired_error_interval(a, b), paired_error_interval(b, a)
        assert forth.value == -back.value
        assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low))
        assert -100 <= forth.low <= forth.value <= forth.high <= 100


def test_one_image_and_all_wrong_on_one_side() -> None:
    one = paired_error_interval(*answers(0, 1, 1))
    assert (one.value, one.high) == (100, 100)
    assert one.low < 0  # a single image settles nothing
    many = paired_error_interval(*answers(0, 50, 50))
    assert (many.value, many.high) == (100, 100)
    assert 80 < many.low < 100


def coverage(num: int, first: float, second: float) -> float:
    """Probability that the interval holds the truth: all tables weighed, no sampling."""
    tables = [(b, c) for b in range(num + 1) for c in range(num + 1 - b)]
    cells = np.array([(b, c, num - b - c) for b, c in tables])
    ends = np.array([paired_error_interval(*answers(c, b, num))[1:] for b, c in tables])
    truth = 100 * (first - second)
    holds = (ends[:, 0] <= truth + 1e-9) & (ends[:, 1] >= truth - 1e-9)
    weight = stats.multinomial.pmf(cells, num, [first, second, 1 - first - second])
    return float(weight[holds].sum())


@pytest.mark.parametrize("disputed", [0.02, 0.1, 0.4])
@pytest.mark.parametrize("share", [0.5, 0.1])
def test_coverage_at_twenty_images(disputed: float, share: float) -> None:
    assert coverage(20, disputed * share, disputed * (1 - share)) >= 0.94


@pytest.mark.slow
@pytest.mark.parametrize("num", [100, 357, 2000])
def test_coverage_by_simulation(num: int) -> None:
    generator = np.random.default_rng(num)
    rates = []
    for disputed in (0.01, 0.03, 0.1, 0.3):
        for share in (0.5, 0.3, 0.1):
            first, second = disputed * share, disputed * (1 - share)
            draws = generator.multinomial(num, [first, second, 1 - first - second], 4000)
            tables, times = np.unique(draws, axis=0, return_counts=True)
            ends = [paired_error_interval(*answers(c, b, num))[1:] for b, c, _ in tables.tolist()]
            truth = 100 * (first - second)
            holds = [low <= truth <= high for low, high in ends]
            rates.append(times[holds].sum() / 4000)
    assert min(rates) > 0.93
    assert 0.945 < np.mean(rates) < 0.985


def test_t_interval_equals_scipy() -> None:
    values = np.array([-2.1, -3.4, -0.7, -2.9, -1.8])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    mean, low, high = paired_t_interval(values)
    assert mean == pytest.approx(values.mean())
    assert (low, high) == pytest.approx((expected.low, expected.high))


def test_t_interval_by_hand() -> None:
    # Two values 0 and 2: mean 1, standard error 1, t(0.975; 1) = 12.706.
    assert paired_t_interval([0, 2]) == pytest.approx((1, 1 - 12.7062, 1 + 12.7062), abs=1e-4)
    assert paired_t_interval([3, 3, 3]) == (3, 3, 3)


@pytest.mark.parametrize("values", [[], [1.0], [[1.0, 2.0]], [1.0, math.nan]])
def test_t_interval_refuses(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"seeds|finite"):
        paired_t_interval(values)


def images(num: int, hit_rate: float, seed: int, classes: int = 3) -> NDArray[np.int64]:
    """(N, K, K) counts of images with 50 pixels a class, each called right at `hit_rate`."""
    chances = np.full((classes, classes), (1 - hit_rate) / (classes - 1))
    np.fill_diagonal(chances, hit_rate)
    generator = np.random.default_rng(seed)
    return np.stack([generator.multinomial(50, row, size=num) for row in chances], axis=1)


def test_bootstrap_centres_on_the_difference_and_repeats() -> None:
    a, b = images(40, 0.8, 0), images(40, 0.7, 1)
    result = bootstrap_interval(a, b, seed=3, num_resamples=300)
    assert result.value == pytest.approx(mean_iou(a.sum(0)).value - mean_iou(b.sum(0)).value)
    assert 0 < result.low < result.value < result.high
    assert result == bootstrap_interval(a, b, seed=3, num_resamples=300)
    assert result != bootstrap_interval(a, b, seed=4, num_resamples=300)
    back = bootstrap_interval(b, a, seed=3, num_resamples=300)
    assert (back.low, back.high) == pytest.approx((-result.high, -result.low))


def test_bootstrap_equals_a_plain_one() -> None:
    a, b = images(15, 0.75, 5), images(15, 0.7, 6)
    generator = np.random.Generator(np.random.PCG64(9))
    plain = []
    for times in generator.multinomial(15, np.full(15, 1 / 15), size=130):
        drawn = np.repeat(np.arange(15), times)
        plain.append(mean_iou(a[drawn].sum(0)).value - mean_iou(b[drawn].sum(0)).value)
    result = bootstrap_interval(a, b, seed=9, num_resamples=130)  # 64 + 64 + 2 at once
    assert (result.low, result.high) == pytest.approx(tuple(np.quantile(plain, [0.025, 0.975])))


def test_bootstrap_of_equal_or_single_images_has_no_length() -> None:
    a = images(10, 0.7, 2)
    assert bootstrap_interval(a, a, seed=0, num_resamples=50) == (0, 0, 0)
    one = bootstrap_interval(a[:1], images(1, 0.8, 3), seed=0, num_resamples=50)
    assert one.low == one.high == pytest.approx(one.value)


def test_bootstrap_passes_over_resamples_without_a_pixel() -> None:
    a = np.zeros((2, 2, 2), dtype=np.int64)
    a[0] = [[4, 0], [0, 4]]
    b = a.copy()
    b[0] = [[4, 0], [4, 0]]
    result = bootstrap_interval(a, b, seed=0, num_resamples=50)
    assert result == pytest.approx((75, 75, 75))
    with pytest.raises(ValueError, match="at least one counted pixel"):
        bootstrap_interval(a[1:], b[1:], seed=0)


def test_bootstrap_covers_a_known_difference() -> None:
    # Two models that are equally good: the interval should hold 0 in about 95 of 100 sets.
    held = 0
    for trial in range(100):
        a, b = images(30, 0.7, 1000 + trial), images(30, 0.7, 5000 + trial)
        _, low, high = bootstrap_interval(a, b, seed=trial, num_resamples=200)
        held += low <= 0 <= high
    assert held >= 87


def test_wrong_use_is_refused() -> None:
    right = np.ones(3, dtype=np.bool_)
    with pytest.raises(ValueError, match="two equal"):
        mcnemar(right, right[:2])
    with pytest.raises(ValueError, match="as bool"):
        mcnemar(right, np.ones(3, dtype=np.int64))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one image"):
        paired_error_interval(right[:0], right[:0])
    with pytest.raises(ValueError, match="N, K, K"):
        bootstrap_interval(np.ones((2, 3, 3), int), np.ones((3, 3, 3), int), seed=0)
