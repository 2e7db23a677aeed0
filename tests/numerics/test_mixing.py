"""Mixup: who is blended with whom, by how much, and that both depend on the place alone."""

from __future__ import annotations

import pytest
import torch

from dmt.core import Mix, draw_mix, uniform


def test_a_blend_by_hand() -> None:
    mix = Mix(torch.tensor([1, 2, 0]), 0.75)
    values = torch.tensor([[4.0, 0.0], [8.0, 4.0], [0.0, 0.0]])
    assert mix(values).tolist() == [[5.0, 1.0], [6.0, 3.0], [1.0, 0.0]]
    assert mix(torch.tensor([0.0, 1.0, 0.5])).tolist() == [0.25, 0.875, 0.375]


def test_blended_weights_and_targets_stay_in_range() -> None:
    for step in range(50):
        mix = draw_mix(16, 0.75, 0, step, keep_max=False)
        target = mix(torch.eye(16))
        assert bool(((target >= 0) & (target <= 1)).all())
        torch.testing.assert_close(target.sum(dim=1), torch.ones(16))


def test_a_share_of_one_leaves_the_values_alone() -> None:
    values = uniform(0, num=5)
    assert torch.equal(Mix(torch.tensor([1, 2, 3, 4, 0]), 1.0)(values), values)


@pytest.mark.parametrize("num_blocks", [1, 2, 4, 8])
def test_partners_are_a_permutation_inside_each_block(num_blocks: int) -> None:
    mix = draw_mix(64, 0.75, 3, "round1/a", 17, num_blocks=num_blocks)
    size = 64 // num_blocks
    index = torch.arange(64)
    assert torch.equal(mix.partner // size, index // size)
    assert mix.partner.sort().values.tolist() == index.tolist()
    assert not torch.equal(mix.partner, index)


def test_blocks_are_shuffled_differently() -> None:
    partner = draw_mix(32, 0.75, 3, num_blocks=2).partner
    assert partner[:16].tolist() != (partner[16:] - 16).tolist()


def test_the_batch_must_divide_into_blocks() -> None:
    with pytest.raises(AssertionError):
        draw_mix(10, 0.75, 0, num_blocks=4)


def test_a_batch_of_one_is_blended_with_itself() -> None:
    mix = draw_mix(1, 0.75, 0)
    assert mix.partner.tolist() == [0]
    torch.testing.assert_close(mix(torch.tensor([3.0])), torch.tensor([3.0]))


def test_the_share_of_a_batch() -> None:
    shares = [draw_mix(2, 0.75, 0, step, keep_max=False).share for step in range(2000)]
    kept = [draw_mix(2, 0.75, 0, step).share for step in range(2000)]
    assert kept == [max(share, 1 - share) for share in shares]
    plain = torch.tensor(shares)
    assert bool((plain < 0.5).any())
    # Beta(a, a): mean 1/2, variance 1 / (4 (2a + 1)), each within five standard errors
    assert float(plain.mean()) == pytest.approx(0.5, abs=5 * (0.1 / 2000) ** 0.5)
    assert float(plain.var()) == pytest.approx(0.1, abs=0.01)


def test_the_place_decides_and_nothing_else() -> None:
    torch.manual_seed(1)
    one = draw_mix(16, 0.75, 5, "round1/a", 3)
    torch.manual_seed(2)
    same = draw_mix(16, 0.75, 5, "round1/a", 3)
    other = draw_mix(16, 0.75, 5, "round1/b", 3)
    assert torch.equal(one.partner, same.partner)
    assert one.share == same.share
    assert one.share != other.share


@pytest.mark.parametrize("num_ranks", [1, 2, 4, 8])
def test_ranks_pair_as_one_does(num_ranks: int) -> None:
    whole = draw_mix(64, 0.75, 3, "round1/a", 17, num_blocks=8)
    size = 64 // num_ranks
    for rank in range(num_ranks):
        slots = torch.arange(rank * size, (rank + 1) * size)
        own = draw_mix(64, 0.75, 3, "round1/a", 17, num_blocks=8, slots=slots)
        assert own.share == whole.share
        assert torch.equal(own.partner + rank * size, whole.partner[slots])
        assert sorted(own.partner.tolist()) == list(range(size))
