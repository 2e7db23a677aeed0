"""Which pseudo labels are kept: exact numbers, ties cut by hash, classes' shares, merged parts."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import reference
import torch
from torch import Tensor

from dmt.core import (
    NUM_CODES,
    break_ties,
    cut_histogram,
    histogram,
    is_selected,
    tie_bits,
    uniform,
)


def keep(
    label: Tensor, code: Tensor, num_classes: int, fraction: float, *, balanced: bool = False
) -> Tensor:
    """The selection of a pool of images: the ids are the indices, ties are broken exactly."""
    ties = tie_bits(0, torch.arange(label.numel())).view(label.shape)
    counts = histogram(label, code, num_classes)
    cut = cut_histogram(counts, fraction, is_class_balanced=balanced)
    tied = code == cut.code[label]
    return is_selected(label, code, ties, break_ties(cut, label[tied], ties[tied]))


def random_pool(num: int, num_classes: int, num_codes: int, seed: int) -> tuple[Tensor, Tensor]:
    label = (uniform(seed, "label", num=num) ** 2 * num_classes).long()
    code = (uniform(seed, "code", num=num) * num_codes).long() + NUM_CODES - num_codes
    return label, code


def test_a_histogram_counts_classes_and_codes() -> None:
    label, code = torch.tensor([[0, 2], [2, 2]]), torch.tensor([[5, 0], [0, NUM_CODES - 1]])
    counts = histogram(label, code.int(), 3)
    assert counts.shape == (3, NUM_CODES)
    assert counts.nonzero().tolist() == [[0, 5], [2, 0], [2, NUM_CODES - 1]]
    assert counts[2, 0] == 2


def test_histograms_of_parts_add_up() -> None:
    label, code = random_pool(1000, 4, 300, seed=1)
    parts = [slice(0, 1), slice(1, 400), slice(400, 1000)]
    summed = sum(histogram(label[part], code[part], 4) for part in parts)
    assert isinstance(summed, Tensor)
    assert torch.equal(summed, histogram(label, code, 4))


@pytest.mark.parametrize(
    ("num", "fraction", "num_kept"),
    [
        (10, 0.1, 1),  # the authors' cut keeps none here, and 9 at fraction 1
        (10, 1.0, 10),
        (10, 0.0, 0),
        (10, 0.25, 3),  # halves go up
        (1, 1.0, 1),
        (1, 0.5, 1),
        (1, 0.49, 0),
        (1, 0.0, 0),
        (1400, 0.2, 280),
        (1003, 0.6, 602),
    ],
)
@pytest.mark.parametrize("num_codes", [1, 7, NUM_CODES])
def test_exactly_the_share_is_kept(
    num: int, fraction: float, num_kept: int, num_codes: int
) -> None:
    label, code = random_pool(num, 3, num_codes, seed=num)
    assert int(keep(label, code, 3, fraction).sum()) == num_kept


@pytest.mark.parametrize("seed", range(20))
def test_every_share_of_every_pool(seed: int) -> None:
    num = 1 + int(uniform(seed, "num", num=1) * 200)
    fraction = float(uniform(seed, "fraction", num=1))
    label, code = random_pool(num, 5, 1 + seed * 3, seed)
    assert int(keep(label, code, 5, fraction).sum()) == reference.num_kept(num, fraction)
    kept = keep(label, code, 5, fraction, balanced=True)
    for each in range(5):
        of_class = label == each
        assert int(kept[of_class].sum()) == reference.num_kept(int(of_class.sum()), fraction)


def test_the_most_confident_are_kept() -> None:
    num = 101
    order = tie_bits(9, torch.arange(num)).argsort()
    code = 600 * order
    label = torch.arange(num) % 3
    kept = set(keep(label, code, 3, 0.4).nonzero().flatten().tolist())
    assert kept == reference.most_confident(code.tolist(), 0.4)


def test_balanced_keeps_the_most_confident_of_every_class() -> None:
    label = torch.tensor([0] * 10 + [1] * 20)
    code = torch.cat([torch.arange(50_000, 50_010), torch.arange(20)])
    kept = keep(label, code, 3, 0.2, balanced=True)
    assert kept.nonzero().flatten().tolist() == [8, 9, 26, 27, 28, 29]
    assert kept.tolist() != keep(label, code, 3, 0.2).tolist()


@pytest.mark.parametrize("balanced", [False, True])
def test_ties_do_not_favour_the_first_class_folder(balanced: bool) -> None:
    """All alike: cut by index, the first half of the pool would be taken."""
    label = torch.arange(4).repeat_interleave(500)
    code = torch.full((2000,), NUM_CODES - 1)
    kept = keep(label, code, 4, 0.5, balanced=balanced)
    assert int(kept.sum()) == 1000
    for each in range(4):
        # a share of 250 out of 500, within five standard deviations
        assert abs(int(kept[label == each].sum()) - 250) < 56
    early = sum(int(kept[label == each][:250].sum()) for each in range(4))
    assert abs(early - 500) < 5 * math.sqrt(2000) / 4


def test_ties_do_not_favour_the_top_rows_of_an_image() -> None:
    ids, rows, columns = torch.arange(8), torch.arange(64), torch.arange(64)
    pixel = rows.unsqueeze(1) * 64 + columns
    ties = tie_bits(0, ids.view(-1, 1, 1), pixel)
    label = torch.zeros(8, 64, 64, dtype=torch.int64)
    code = torch.full((8, 64, 64), 40_000)
    cut = cut_histogram(histogram(label, code, 2), 0.25, is_class_balanced=True)
    kept = is_selected(label, code, ties, cut)
    for part in (kept[:, :32], kept[:, 32:], kept[:4], kept[..., :32]):
        assert float(part.float().mean()) == pytest.approx(0.25, abs=0.02)


def test_other_seeds_keep_other_ties() -> None:
    label, code = torch.zeros(200, dtype=torch.int64), torch.full((200,), 7)
    cut = cut_histogram(histogram(label, code, 1), 0.5, is_class_balanced=False)
    one, other = (
        is_selected(label, code, tie_bits(seed, torch.arange(200)), cut) for seed in (1, 2)
    )
    assert not torch.equal(one, other)


@pytest.mark.parametrize("num_codes", [1, 30, 5000])
@pytest.mark.parametrize("balanced", [False, True])
def test_pixels_are_within_a_thousandth_without_breaking_ties(
    num_codes: int, balanced: bool
) -> None:
    num = 1 << 20
    label, code = random_pool(num, 3, num_codes, seed=5)
    cut = cut_histogram(histogram(label, code, 3), 0.4, is_class_balanced=balanced)
    kept = is_selected(label, code, tie_bits(3, torch.arange(num)), cut)
    assert float(kept.float().mean()) == pytest.approx(0.4, abs=0.001)


def test_a_cut_made_from_merged_parts_selects_part_by_part() -> None:
    """Ranks that share nothing but the histogram and the broken ties select what one would."""
    label, code = random_pool(600, 4, 40, seed=8)
    whole = keep(label, code, 4, 0.3)
    ties = tie_bits(0, torch.arange(600))
    parts = [slice(0, 250), slice(250, 600)]
    merged = sum(histogram(label[part], code[part], 4) for part in parts)
    assert isinstance(merged, Tensor)
    cut = cut_histogram(merged, 0.3, is_class_balanced=False)
    tied = code == cut.code[label]
    cut = break_ties(cut, label[tied], ties[tied])
    pieces = [is_selected(label[part], code[part], ties[part], cut) for part in parts]
    assert torch.equal(torch.cat(pieces), whole)


def test_a_smaller_share_is_part_of_a_larger_one() -> None:
    label, code = random_pool(500, 3, 25, seed=4)
    kept = [keep(label, code, 3, fraction) for fraction in (0.2, 0.4, 0.6, 0.8, 1.0)]
    for smaller, larger in pairwise(kept):
        assert bool((larger | ~smaller).all())


def test_a_class_that_is_never_predicted_keeps_nothing_and_harms_nothing() -> None:
    label, code = torch.tensor([0, 0, 2, 2]), torch.tensor([1, 2, 3, 4])
    cut = cut_histogram(histogram(label, code, 4), 0.5, is_class_balanced=True)
    assert cut.code.tolist() == [2, NUM_CODES, 4, NUM_CODES]


@pytest.mark.parametrize("fraction", [-0.1, 1.1, math.nan])
def test_a_fraction_outside_its_range_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="label fraction"):
        cut_histogram(torch.ones(2, NUM_CODES).long(), fraction, is_class_balanced=False)
