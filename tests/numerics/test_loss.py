"""`weighted_cross_entropy`: sums by hand, what is left out, types, and parts that add up."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dmt.core import (
    IGNORE_INDEX,
    LossSums,
    flat_log_softmax,
    uniform,
    weighted_cross_entropy,
)

LN2, LN4 = math.log(2), math.log(4)


def logits_of(*probs: tuple[float, ...]) -> Tensor:
    return torch.tensor(probs).log()


HALVES = ((0.5, 0.25, 0.25), (0.25, 0.5, 0.25), (0.25, 0.25, 0.5))


def every(num: int) -> Tensor:
    return torch.ones(num, dtype=torch.bool)


def test_hard_targets_by_hand() -> None:
    sums = weighted_cross_entropy(
        logits_of(*HALVES), torch.tensor([0, 0, 2]), torch.tensor([1.0, 0.5, 0.25]), every(3)
    )
    assert sums.total.item() == pytest.approx(LN2 + 0.5 * LN4 + 0.25 * LN2)
    assert sums.num_valid.item() == 3
    assert sums.total.dtype == torch.float32
    assert sums.num_valid.dtype == torch.int64


def test_soft_targets_by_hand() -> None:
    target = torch.tensor([[0.75, 0.25, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, 0.5]])
    sums = weighted_cross_entropy(
        logits_of(*HALVES), target, torch.tensor([1.0, 2.0, 1.0]), every(3)
    )
    assert sums.total.item() == pytest.approx(
        (0.75 * LN2 + 0.25 * LN4) + 2 * LN2 + (0.5 * LN4 + 0.5 * LN2)
    )


def test_the_mean_counts_terms_and_not_their_weights() -> None:
    weight = torch.tensor([0.0, 0.5, 0.0])
    sums = weighted_cross_entropy(logits_of(*HALVES), torch.tensor([0, 1, 2]), weight, every(3))
    assert sums.mean().item() == pytest.approx(0.5 * LN2 / 3)


def test_one_sample() -> None:
    sums = weighted_cross_entropy(
        logits_of(HALVES[0]), torch.tensor([1]), torch.tensor([1.0]), every(1)
    )
    assert sums.mean().item() == pytest.approx(LN4)


@pytest.mark.parametrize("shape", [(3, 4), (1, 4), (2, 4, 3, 2)])
@pytest.mark.parametrize("is_soft", [False, True])
def test_everything_ignored_is_a_loss_of_zero(shape: tuple[int, ...], is_soft: bool) -> None:
    logits = uniform(0, num=math.prod(shape)).view(shape).requires_grad_()
    outputs = (shape[0], *shape[2:])
    label = torch.full(outputs, IGNORE_INDEX)
    target = torch.full(shape, 0.25) if is_soft else label
    sums = weighted_cross_entropy(logits, target, torch.ones(outputs), label != IGNORE_INDEX)
    assert sums.total.item() == 0
    assert sums.num_valid.item() == 0
    assert sums.mean().item() == 0
    sums.mean().backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros(shape))


def test_an_ignored_pixel_changes_neither_total_nor_count_nor_gradient() -> None:
    logits = uniform(0, num=2 * 3 * 4).view(2, 3, 2, 2).requires_grad_()
    label = torch.tensor([[[0, 1], [2, IGNORE_INDEX]], [[1, 1], [IGNORE_INDEX, 0]]])
    valid = label != IGNORE_INDEX
    sums = weighted_cross_entropy(logits, label, torch.ones(2, 2, 2), valid)
    kept = logits.detach().movedim(1, -1)[valid].requires_grad_()
    alone = weighted_cross_entropy(kept, label[valid], torch.ones(6), every(6))
    assert sums.num_valid.item() == 6
    torch.testing.assert_close(sums.total, alone.total)
    sums.total.backward()
    alone.total.backward()
    assert logits.grad is not None
    assert kept.grad is not None
    by_pixel = logits.grad.movedim(1, -1)
    torch.testing.assert_close(by_pixel[valid], kept.grad)
    assert torch.equal(by_pixel[~valid], torch.zeros(2, 3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_loss_is_taken_in_float32(dtype: torch.dtype) -> None:
    logits = (20 * uniform(1, num=80).view(8, 10) - 10).to(dtype)
    label = torch.arange(8)
    sums = weighted_cross_entropy(logits.requires_grad_(), label, torch.ones(8), every(8))
    exact = weighted_cross_entropy(logits.detach().float(), label, torch.ones(8), every(8))
    assert sums.total.dtype == torch.float32
    assert torch.equal(sums.total, exact.total)
    sums.total.backward()
    assert logits.grad is not None
    assert logits.grad.dtype == dtype
    assert bool(logits.grad.isfinite().all())


def test_a_surely_wrong_prediction_has_a_finite_loss() -> None:
    logits = torch.tensor([[-3e4, 3e4]], dtype=torch.float16).requires_grad_()
    sums = weighted_cross_entropy(logits, torch.tensor([0]), torch.ones(1), every(1))
    sums.total.backward()
    assert sums.total.item() == pytest.approx(6e4, rel=1e-3)
    assert logits.grad is not None
    assert logits.grad.tolist() == [[-1.0, 1.0]]


def test_a_one_hot_target_is_a_hard_target() -> None:
    logits = uniform(2, num=60).view(3, 5, 4)
    label = torch.arange(12).view(3, 4) % 5
    soft = torch.nn.functional.one_hot(label, 5).movedim(-1, 1).float()
    weight, valid = uniform(3, num=12).view(3, 4), torch.ones(3, 4, dtype=torch.bool)
    hard = weighted_cross_entropy(logits, label, weight, valid)
    assert torch.equal(weighted_cross_entropy(logits, soft, weight, valid).total, hard.total)


def test_sums_of_parts_are_the_sum_of_the_whole() -> None:
    logits = uniform(4, num=8 * 3 * 4).view(8, 3, 2, 2)
    label = torch.arange(32).view(8, 2, 2) % 3
    weight = uniform(5, num=32).view(8, 2, 2)
    valid = (torch.arange(32).view(8, 2, 2) % 5) > 0

    def sums(rows: slice) -> LossSums:
        return weighted_cross_entropy(logits[rows], label[rows], weight[rows], valid[rows])

    parts = [sums(slice(0, 1)), sums(slice(1, 6)), sums(slice(6, 8))]
    whole = sums(slice(0, 8))
    assert sum(int(part.num_valid) for part in parts) == whole.num_valid
    torch.testing.assert_close(sum(part.total for part in parts), whole.total)


def test_no_gradient_flows_through_the_weight() -> None:
    weight = torch.tensor([0.5], requires_grad=True)
    logits = logits_of(HALVES[0]).requires_grad_()
    weighted_cross_entropy(logits, torch.tensor([0]), weight, every(1)).total.backward()
    assert weight.grad is None


@pytest.mark.parametrize("shape", [(4,), (4, 1), (2, 1, 3, 3)])
def test_fewer_than_two_classes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="K ≥ 2"):
        flat_log_softmax(torch.zeros(shape))
