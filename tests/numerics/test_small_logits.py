"""The loss of small logits: that of the enlarged ones, in the memory of one image."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from dmt.core import RULES, mutual_cross_entropy, small_mutual_cross_entropy, uniform
from dmt.core.weighting import Rule

NUM, NUM_CLASSES, SMALL, LARGE = 4, 5, (6, 7), (41, 49)


def made() -> tuple[Tensor, ...]:
    size = NUM * math.prod(LARGE)
    shape = (NUM, *LARGE)
    small = 8 * uniform(0, num=NUM * NUM_CLASSES * math.prod(SMALL)) - 4
    label = (uniform(1, num=size) * NUM_CLASSES).long().view(shape)
    valid = uniform(2, num=size).view(shape) < 0.8
    given = (torch.arange(NUM) == 0).view(-1, 1, 1)
    confidence = uniform(3, num=size).view(shape)
    return small.view(NUM, NUM_CLASSES, *SMALL), label, confidence, given, valid


def enlarge(small: Tensor, *, align_corners: bool = True) -> Tensor:
    """To more than is wanted, and cut off, as where images are padded."""
    large = F.interpolate(small, (LARGE[0] + 3, LARGE[1]), mode="bilinear",
                          align_corners=align_corners)  # fmt: skip
    return large[..., : LARGE[0], :]


@pytest.mark.parametrize("rule", RULES)
def test_it_is_the_loss_of_the_enlarged_logits(rule: Rule) -> None:
    small, *rest = made()
    one, other = (small.clone().requires_grad_() for _ in range(2))
    whole, weighted = mutual_cross_entropy(rule, enlarge(one), *rest, 4.0, 2.0)
    sums, found = small_mutual_cross_entropy(rule, other, enlarge, *rest, 4.0, 2.0)
    assert int(sums.num_valid) == int(whole.num_valid)
    torch.testing.assert_close(sums.total, whole.total)
    for mine, theirs in zip(found, weighted, strict=True):
        torch.testing.assert_close(mine, theirs)
    (3 * whole.mean()).backward()
    (3 * sums.mean()).backward()
    torch.testing.assert_close(other.grad, one.grad)


def test_half_precision_is_enlarged_in_float32() -> None:
    small, *rest = made()
    half = small.bfloat16().requires_grad_()
    exact = half.detach().float().requires_grad_()
    for leaf in (half, exact):
        small_mutual_cross_entropy("dmt", leaf, enlarge, *rest, 4.0, 2.0)[0].mean().backward()
    assert half.grad is not None
    assert exact.grad is not None
    assert torch.equal(half.grad, exact.grad.bfloat16())


def test_without_a_gradient_it_is_the_same_loss() -> None:
    small, *rest = made()
    with torch.no_grad():
        plain, _ = small_mutual_cross_entropy("dmt", small, enlarge, *rest, 4.0, 2.0)
    learned, _ = small_mutual_cross_entropy("dmt", small.requires_grad_(), enlarge, *rest, 4.0, 2.0)
    assert torch.equal(plain.total, learned.total)


class _Largest(TorchDispatchMode):
    """The most elements of any tensor that an operation gives."""

    num = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.is_floating_point():
            self.num = max(self.num, result.untyped_storage().nbytes() // result.element_size())
        return result


def test_the_batch_is_never_enlarged_at_once() -> None:
    small, *rest = made()
    with _Largest() as seen:
        sums, _ = small_mutual_cross_entropy(
            "dmt", small.requires_grad_(), enlarge, *rest, 4.0, 2.0
        )
        sums.mean().backward()
    assert seen.num <= NUM_CLASSES * (LARGE[0] + 3) * LARGE[1]
