"""Randomness as a function of place: the same bits everywhere, uniform, independent, bijective."""

from __future__ import annotations

import math

import pytest
import torch

from dmt.core import (
    beta_float,
    bits,
    hashed,
    permuted,
    permuted_by_blocks,
    shuffled,
    uniform,
    uniform_float,
)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (17973226679570373229, (1, "a")),
        (9490310240728333124, (-3, "round1/a", 1 << 40)),
    ],
)
def test_the_bits_never_change(value: int, place: tuple[int | str, ...]) -> None:
    """A run repeated by a later version draws the same things; that is what these numbers hold."""
    seed, *where = place
    assert isinstance(seed, int)
    assert hashed(seed, *where) == value


def test_derived_draws_never_change() -> None:
    assert uniform(7, "x", num=3).tolist() == [
        0.6152685880661011,
        0.34673839807510376,
        0.27273571491241455,
    ]
    assert permuted(torch.arange(10), 10, 1, "o").tolist() == [8, 3, 2, 9, 4, 1, 7, 5, 0, 6]
    assert beta_float(0.75, 1, "s") == 0.5514909320200193


@pytest.mark.parametrize("seed", [0, 1, -1, (1 << 63) + 5, 1 << 70])
def test_tensors_and_integers_give_the_same_bits(seed: int) -> None:
    items = [0, 1, -1, -(1 << 63), (1 << 63) - 1, 12345678901]
    found = bits(seed, "crop", torch.tensor(items), 3, "left")
    expected = [hashed(seed, "crop", item, 3, "left") >> 1 for item in items]
    assert found.tolist() == expected
    assert int(bits(seed, "crop", 5)) == hashed(seed, "crop", 5) >> 1
    assert bool((found >= 0).all())


def test_tensors_broadcast() -> None:
    rows, columns = torch.arange(3).unsqueeze(1), torch.arange(4)
    found = bits(1, rows, "x", columns)
    assert found.shape == (3, 4)
    assert int(found[2, 3]) == hashed(1, 2, "x", 3) >> 1


def test_a_place_is_its_items_in_order() -> None:
    places = [(1, "a", 2), (1, 2, "a"), (2, "a", 1), (1, "a2"), (1, "a"), (1, "a", 2, 0), (1,)]
    assert len({hashed(*place) for place in places}) == len(places)
    assert hashed(0, "a", 1) != hashed(0, "b", 0)
    assert hashed(0, "é") != hashed(0, "e")


def test_what_a_sample_draws_does_not_depend_on_its_batch() -> None:
    ids = torch.tensor([11, 5, 900, 42])
    together = uniform(3, "crop", ids, num=2)
    for place, each in enumerate(ids):
        assert torch.equal(uniform(3, "crop", each.unsqueeze(0), num=2)[0], together[place])
    assert torch.equal(uniform(3, "crop", ids.flip(0), num=2), together.flip(0))
    assert torch.equal(uniform(3, "crop", ids, num=5)[:, :2], together)


def test_torchs_generator_is_neither_read_nor_moved() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = uniform(3, "x", num=10)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(uniform(3, "x", num=10), one)


def chi_squared(values: torch.Tensor, num_bins: int) -> float:
    """Standardised: about N(0, 1) for uniform values in [0, 1)."""
    counts = torch.bincount((values.flatten().double() * num_bins).long(), minlength=num_bins)
    expected = values.numel() / num_bins
    statistic = float(((counts - expected) ** 2 / expected).sum())
    return (statistic - (num_bins - 1)) / math.sqrt(2 * (num_bins - 1))


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_numbers_are_uniform(seed: int) -> None:
    by_column = uniform(seed, "u", num=100_000)
    by_sample = uniform(seed, "u", torch.arange(100_000), num=1)
    for values in (by_column, by_sample):
        assert values.dtype == torch.float32
        assert float(values.min()) >= 0
        assert float(values.max()) < 1
        assert abs(chi_squared(values, 100)) < 5
        assert float(values.mean()) == pytest.approx(0.5, abs=5 / math.sqrt(12 * 100_000))


def test_neighbours_are_independent() -> None:
    """Adjacent places, columns, seeds and steps: no correlation beyond five standard errors."""
    num = 50_000
    index = torch.arange(num)
    first = uniform(0, "x", index, num=2)
    others = {
        "column": first[:, 1],
        "next sample": uniform(0, "x", index + 1, num=1)[:, 0],
        "next seed": uniform(1, "x", index, num=1)[:, 0],
        "next stage": uniform(0, "y", index, num=1)[:, 0],
    }
    for name, other in others.items():
        correlation = float(torch.corrcoef(torch.stack([first[:, 0], other]))[0, 1])
        assert abs(correlation) < 5 / math.sqrt(num), name


def test_uniform_floats() -> None:
    values = torch.tensor([uniform_float(4, "f", i) for i in range(5000)], dtype=torch.float64)
    assert abs(chi_squared(values, 50)) < 5
    assert 0 <= float(values.min()) <= float(values.max()) < 1


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 16, 17, 64, 100, 1000, 4097])
def test_a_permutation_is_a_bijection(size: int) -> None:
    order = permuted(torch.arange(size), size, 3, "epoch", 0)
    assert order.sort().values.tolist() == list(range(size))


def test_a_permutation_needs_no_neighbours_and_no_memory() -> None:
    size = 10**12
    index = torch.tensor([0, 1, size - 1, 123_456_789_012])
    order = permuted(index, size, 3, "pixels")
    assert bool(((order >= 0) & (order < size)).all())
    assert order.unique().numel() == 4
    assert torch.equal(permuted(index[2:3], size, 3, "pixels"), order[2:3])


def test_each_element_may_have_a_permutation_of_its_own() -> None:
    size, passes = 37, 5
    index = torch.arange(size).repeat(passes)
    number = torch.arange(passes).repeat_interleave(size)
    together = permuted(index, size, 3, "epoch", number).view(passes, size)
    for each in range(passes):
        alone = permuted(torch.arange(size), size, 3, "epoch", each)
        assert torch.equal(together[each], alone)
    assert together.unique(dim=0).shape[0] == passes


@pytest.mark.parametrize("size", [2, 3, 10, 50])
def test_every_place_is_equally_likely(size: int) -> None:
    num = 20_000
    orders = permuted(
        torch.arange(size).repeat(num), size, 9, torch.arange(num).repeat_interleave(size)
    ).view(num, size)
    for column in (0, size - 1):
        # the 0.5 puts a whole number into the middle of its bin
        assert abs(chi_squared((orders[:, column] + 0.5) / size, size)) < 5


def test_shuffled_orders_are_permutations_and_differ() -> None:
    orders = shuffled(6, 50, 3, "partner")
    assert orders.shape == (6, 50)
    assert torch.equal(orders.sort(dim=1).values, torch.arange(50).expand(6, 50))
    assert orders.unique(dim=0).shape[0] == 6


@pytest.mark.parametrize("alpha", [0.2, 0.75, 1.0, 2.0])
def test_the_moments_of_beta(alpha: float) -> None:
    num = 4000
    draws = torch.tensor([beta_float(alpha, 6, "beta", i) for i in range(num)])
    variance = 1 / (4 * (2 * alpha + 1))
    assert float(draws.min()) >= 0
    assert float(draws.max()) <= 1
    assert float(draws.mean()) == pytest.approx(0.5, abs=5 * math.sqrt(variance / num))
    assert float(draws.var()) == pytest.approx(variance, rel=0.1)


@pytest.mark.parametrize("alpha", [0.0, -1.0])
def test_beta_needs_a_positive_parameter(alpha: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        beta_float(alpha, 0)


@pytest.mark.parametrize(("size", "block", "window"), [
    (1, 1, 1), (7, 10, 8), (100, 10, 3), (103, 10, 4), (64, 64, 1), (1001, 7, 8),
])  # fmt: skip
def test_an_order_by_blocks_is_a_permutation_that_keeps_neighbours_near(
    size: int, block: int, window: int
) -> None:
    order = permuted_by_blocks(torch.arange(size), size, block, window, 3, "x")
    assert torch.equal(order.sort().values, torch.arange(size))
    whole = size // block * block
    for start in range(0, whole, block * window):
        near = order[start : min(start + block * window, whole)]
        assert (near // block).unique().numel() == len(near) // block
    assert (order[whole:] >= whole).all()
    some = torch.tensor([size - 1, 0])
    assert torch.equal(permuted_by_blocks(some, size, block, window, 3, "x"), order[some])
