"""The loss of logits that are smaller than their labels: enlarged one image at a time.

The batch's logits at the size of the labels never exist, nor does their gradient: each image's are
made, taken back to the small logits and dropped. How they are enlarged is the network's business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dmt.core.loss import LossSums
from dmt.core.mutual_loss import mutual_cross_entropy
from dmt.core.tiles import widened
from dmt.core.weighting import Rule, Weighted


def small_mutual_cross_entropy(
    rule: Rule,
    small: Tensor,
    enlarge: Callable[[Tensor], Tensor],
    label: Tensor,
    confidence: Tensor,
    is_given: Tensor,
    valid: Tensor,
    agreement_gamma: float,
    disagreement_gamma: float,
) -> tuple[LossSums, Weighted]:
    """`mutual_cross_entropy` of `enlarge(small)`, in the memory of one image.

    Half precision is widened before it is enlarged, so that what lies between two pixels is not
    rounded again.

    Args:
        small: logits (N, K, h, w), any floating type, N at least 1.
        enlarge: from (1, K, h, w) to (1, K, H, W), linear; it gives each image what it gives it in
            a batch.
        rule, label, confidence, is_given, valid, agreement_gamma, disagreement_gamma: as of
            `mutual_cross_entropy`, at H × W.

    Returns:
        As `mutual_cross_entropy`.
    """
    found: list[Weighted] = []

    def of_image(row: int, logits: Tensor) -> Tensor:
        one = slice(row, row + 1)
        sums, weighted = mutual_cross_entropy(
            rule, enlarge(logits), label[one], confidence[one], is_given[one], valid[one],
            agreement_gamma, disagreement_gamma,
        )  # fmt: skip
        found.append(weighted)
        return sums.total

    total: Tensor = _OneByOne.apply(small, of_image)
    planes = (torch.cat(each) for each in zip(*found, strict=True))
    return LossSums(total, valid.sum()), Weighted(*planes)


class _OneByOne(torch.autograd.Function):
    """The sum of a function of each image, its gradient taken at once."""

    @staticmethod
    def forward(ctx: Any, small: Tensor, of_image: Callable[[int, Tensor], Tensor]) -> Tensor:
        totals: list[Tensor] = []
        gradients: list[Tensor] = []
        for row in range(len(small)):
            leaf = widened(small[row : row + 1].detach())
            if not ctx.needs_input_grad[0]:
                totals.append(of_image(row, leaf))
                continue
            with torch.enable_grad():
                total = of_image(row, leaf.requires_grad_())
            gradients += torch.autograd.grad(total, leaf)
            totals.append(total.detach())
        ctx.dtype = small.dtype
        if gradients:
            ctx.save_for_backward(torch.cat(gradients))
        return torch.stack(totals).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_total: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return (gradient * grad_total).to(ctx.dtype), None
