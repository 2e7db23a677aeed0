"""The interval over blocks: its width by hand and its coverage; the sums are in `test_verdict`."""

from __future__ import annotations

import numpy as np
import pytest
from block_coverage import WORLDS, coverages
from numpy.typing import NDArray

from dmt.metrics.intervals import block_interval, bootstrap_interval, widening


def blocks(num: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(1, 50, (num, 3, 3)).astype(np.int64)


@pytest.mark.parametrize(
    ("num", "expected"),
    [
        (2, 1.41421 * 12.70620 / 1.95996),
        (6, 1.09545 * 2.57058 / 1.95996),
        (8, 1.06904 * 2.36462 / 1.95996),
        (10_000, 1.00017),
    ],
)
def test_widening_by_hand(num: int, expected: float) -> None:
    assert widening(num) == pytest.approx(expected, rel=1e-4)


def test_both_ends_move_away_from_the_estimate() -> None:
    a, b = blocks(6, 0), blocks(6, 1)
    plain, wide = bootstrap_interval(a, b, seed=2), block_interval(a, b, seed=2)
    assert wide.value == plain.value
    assert wide.high - wide.value == pytest.approx(widening(6) * (plain.high - plain.value))
    assert wide.value - wide.low == pytest.approx(widening(6) * (plain.value - plain.low))
    back = block_interval(b, a, seed=2)
    assert (back.low, back.high) == pytest.approx((-wide.high, -wide.low))


def test_two_blocks_that_disagree_cannot_leave_the_scale_and_one_says_nothing() -> None:
    a = np.array([[[9, 1], [1, 9]], [[1, 9], [9, 1]]])
    wide = block_interval(a, a[::-1], seed=0)
    assert wide == (0, -100, 100)
    assert block_interval(a[:1], a[1:], seed=0)[1:] == (-100, 100)


def test_equal_models_have_an_interval_without_length() -> None:
    a = blocks(8, 3)
    assert block_interval(a, a, seed=0) == (0, 0, 0)


def test_eight_blocks_hold_the_truth_where_the_plain_bootstrap_does_not() -> None:
    found = coverages(WORLDS["even"], 8, 150, truth=5.3)
    assert found["widened"] >= 91
    assert found["percentile"] < found["widened"] - 3


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("num", [3, 6, 12])
def test_coverage_of_few_blocks(world: str, num: int) -> None:
    assert coverages(WORLDS[world], num, 600)["widened"] >= 91
