"""In what order samples are taken: endless passes, a function of the step alone."""

from __future__ import annotations

import pytest
import torch

from dmt.engine.order import draw, interleave


@pytest.mark.parametrize(("num_samples", "num"), [(1, 4), (3, 8), (10, 4), (100, 7), (64, 64)])
def test_after_any_number_of_steps_each_was_taken_equally_often(num_samples: int, num: int) -> None:
    drawn = draw(num_samples, num, range(30), 0, "round1/a", "labeled")
    assert drawn.shape == (30, num)
    for steps in (1, 7, 30):
        counts = torch.bincount(drawn[:steps].flatten(), minlength=num_samples)
        assert int(counts.max() - counts.min()) <= 1


def test_a_pass_is_a_permutation_and_every_pass_another_one() -> None:
    passes = draw(20, 10, range(8), 0, "x").view(4, 20)
    assert torch.equal(passes.sort(dim=1).values, torch.arange(20).expand(4, 20))
    assert passes.unique(dim=0).shape[0] == 4


def test_any_piece_of_the_steps_is_drawn_alike() -> None:
    """What a resumed run needs."""
    whole = draw(37, 5, range(50), 3, "round2/b", "pseudo")
    pieces = [draw(37, 5, steps, 3, "round2/b", "pseudo") for steps in (range(13), range(13, 50))]
    assert torch.equal(torch.cat(pieces), whole)
    assert draw(37, 5, range(9, 9), 3).shape == (0, 5)


def test_seed_and_place_name_the_order() -> None:
    one = draw(100, 10, range(5), 0, "a")
    assert not torch.equal(one, draw(100, 10, range(5), 1, "a"))
    assert not torch.equal(one, draw(100, 10, range(5), 0, "b"))


@pytest.mark.parametrize("block", [1, 3, 10, 100])
def test_blocks_change_the_order_alone(block: int) -> None:
    drawn = draw(100, 7, range(100), 0, "x", block=block)
    passes = drawn.view(-1)[:700].view(7, 100)
    assert torch.equal(passes.sort(dim=1).values, torch.arange(100).expand(7, 100))
    assert passes.unique(dim=0).shape[0] == 7
    pieces = [draw(100, 7, steps, 0, "x", block=block) for steps in (range(13), range(13, 100))]
    assert torch.equal(torch.cat(pieces), drawn)


def test_a_pass_goes_from_block_to_block() -> None:
    drawn = draw(1000, 10, range(100), 0, "x", block=20).view(-1)
    for start in range(0, 1000, 160):  # eight blocks together, then the next eight
        near = drawn[start : start + 160]
        assert (near // 20).unique().numel() == len(near) // 20
        assert not torch.equal(near, near.sort().values)
    assert not torch.equal(drawn[:160].sort().values, torch.arange(160))


def test_nothing_is_taken_from_nothing() -> None:
    assert draw(0, 0, range(4), 0).shape == (4, 0)


def test_blocks_hold_equal_shares_of_both_kinds() -> None:
    labeled, pseudo = torch.arange(4), torch.arange(100, 112)
    batch = interleave(labeled, pseudo, 4)
    assert batch.tolist() == [
        *[0, 100, 101, 102],
        *[1, 103, 104, 105],
        *[2, 106, 107, 108],
        *[3, 109, 110, 111],
    ]


@pytest.mark.parametrize("num_blocks", [1, 2, 8])
def test_without_pseudo_labels_the_order_stays(num_blocks: int) -> None:
    labeled = torch.arange(16)
    assert torch.equal(interleave(labeled, labeled[:0], num_blocks), labeled)
