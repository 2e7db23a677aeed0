"""Cross-entropy with hard labels a tile at a time, which fits a cache; not what labels weigh.

Exponentials are taken once, in the place where the gradient will stand, which is made of them
while the tile is in the cache: nothing else of the logits' size is ever there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Place = tuple[slice, slice]
"""Which rows and which pixels of (N, S) a tile is."""

# Logits a tile. On a CPU it stays in the cache; an accelerator has no use
# for small ones, but should not hold a copy of everything either.
_CPU_TILE, _OTHER_TILE = 1 << 20, 1 << 24


class Answer(NamedTuple):
    """What logits say of labels; all (n, s), float32 or float64."""

    log_prob: Tensor  # of the label
    confidence: Tensor  # the largest probability
    is_decision: Tensor  # bool: the label is the likeliest class, the first of equal ones


Weigh = Callable[[Place, Answer], Tensor]
"""From a tile's place and its answer to the weights of its labels, (n, s)."""


def widened(values: Tensor) -> Tensor:
    """Floating values in the type that losses are computed in: float32, or float64 as it is."""
    return values if values.dtype == torch.float64 else values.float()


def answer(logits_nKs: Tensor, label_ns: Tensor, powers_nKs: Tensor | None = None) -> Answer:
    """What logits say of labels in [0, K).

    `powers_nKs` is filled with exp(z − z_top), but with 0 at the label.
    """
    logits_nKs = widened(logits_nKs)
    largest = logits_nKs.amax(dim=1, keepdim=True)
    powers_nKs = torch.sub(logits_nKs, largest, out=powers_nKs)
    index = label_ns.unsqueeze(1)
    own = powers_nKs.gather(1, index).squeeze(1)
    norm = powers_nKs.exp_().sum(dim=1)
    powers_nKs.scatter_(1, index, 0.0)
    is_decision = _is_first(logits_nKs, label_ns, own == 0, powers_nKs)
    return Answer(own - norm.log(), norm.reciprocal_(), is_decision)


def _is_first(logits_nKs: Tensor, label_ns: Tensor, is_top_ns: Tensor, others: Tensor) -> Tensor:
    """Whether labels are the first of the likeliest classes, given that they are one of them.

    On a CPU the index of a maximum costs ten times the maximum, so it is asked only where `others`,
    exp(z − z_top) of all but the label, says that there is a second. Elsewhere, to look for those
    would wait for the device.
    """
    if logits_nKs.device.type != "cpu":
        return logits_nKs.argmax(dim=1) == label_ns
    is_tied = is_top_ns & (others.amax(dim=1) == 1)
    if bool(is_tied.any()):
        first = logits_nKs.movedim(1, -1)[is_tied].argmax(dim=-1)
        is_top_ns[is_tied] = first == label_ns[is_tied]
    return is_top_ns


def tiled_cross_entropy(
    logits_NKS: Tensor, label_NS: Tensor, valid_NS: Tensor, weigh: Weigh
) -> Tensor:
    """Σ weight · CE(logits, label) over what is valid, with a gradient for the logits alone.

    Args:
        logits_NKS: (N, K, S), any floating type.
        label_NS: int64 (N, S), in [0, K) where valid.
        valid_NS: bool (N, S).
        weigh: asked once for every tile.

    Returns:
        A scalar, float32, of float64 logits float64.
    """
    total: Tensor = _TiledCrossEntropy.apply(logits_NKS, label_NS, valid_NS, weigh)
    return total


def places(shape: Sequence[int], device: torch.device) -> Iterator[Place]:
    """Tiles of logits (N, K, S) that cover (N, S): whole rows, or parts of one if it is large."""
    num, num_classes, num_spatial = shape
    size = max(1, (_CPU_TILE if device.type == "cpu" else _OTHER_TILE) // num_classes)
    rows, pixels = max(1, size // max(1, num_spatial)), min(size, max(1, num_spatial))
    for row in range(0, num, rows):
        for pixel in range(0, num_spatial, pixels):
            yield slice(row, row + rows), slice(pixel, pixel + pixels)


def _go_over(
    logits_NKS: Tensor,
    label_NS: Tensor,
    valid_NS: Tensor,
    weigh: Weigh,
    gradient_NKS: Tensor | None,
    scale: Tensor | float,
) -> tuple[Tensor, Tensor]:
    """All tiles once: the total and the weights; `gradient_NKS` is filled with scale · gradient.

    With c = 1 / Σ exp(z − z_top) the gradient weight · (softmax − onehot) is
    exp(z − z_top) · (weight · c), and at the label weight · (p − 1).
    """
    dtype, device = widened(logits_NKS[:0]).dtype, logits_NKS.device
    totals = [torch.zeros((), dtype=dtype, device=device)]
    weights_NS = torch.empty(valid_NS.shape, dtype=dtype, device=device)
    for place in places(logits_NKS.shape, device):
        there, powers = None, None
        if gradient_NKS is not None:
            there = gradient_NKS[place[0], :, place[1]]
            # In place, but for half precision, where exponentials and sums are float32.
            powers = there if there.dtype == dtype else torch.empty_like(there, dtype=dtype)
        valid = valid_NS[place]
        label = torch.where(valid, label_NS[place], 0)
        found = answer(logits_NKS[place[0], :, place[1]], label, powers)
        weight = torch.where(valid, weigh(place, found).to(dtype), 0.0)
        totals.append(torch.where(valid, -found.log_prob * weight, 0.0).sum())
        weights_NS[place] = weight
        if there is not None and powers is not None:
            weight = weight * scale
            powers.mul_((found.confidence * weight).unsqueeze(1))
            at_label = weight.mul_(found.log_prob.expm1())
            powers.scatter_(1, label.unsqueeze(1), at_label.unsqueeze(1))
            if powers is not there:
                there.copy_(powers)
    return torch.stack(totals).sum(), weights_NS


class _TiledCrossEntropy(torch.autograd.Function):
    """See `tiled_cross_entropy`.

    In full precision the gradient is made beside the loss, from the same exponentials, and only
    scaled afterwards. In half precision it is made when its scale is known: rounded before, small
    values of fp16 would be lost.
    """

    @staticmethod
    def forward(
        ctx: Any, logits_NKS: Tensor, label_NS: Tensor, valid_NS: Tensor, weigh: Weigh
    ) -> Tensor:
        is_full = logits_NKS.dtype == widened(logits_NKS[:0]).dtype
        is_wanted = ctx.needs_input_grad[0] and is_full
        ctx.gradient = torch.empty_like(logits_NKS) if is_wanted else None
        total, weights_NS = _go_over(logits_NKS, label_NS, valid_NS, weigh, ctx.gradient, 1.0)
        ctx.save_for_backward(logits_NKS, label_NS, valid_NS, weights_NS)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_total: Tensor) -> tuple[Tensor, None, None, None]:
        gradient, ctx.gradient = ctx.gradient, None
        if gradient is not None:
            return gradient.mul_(grad_total), None, None, None
        logits_NKS, label_NS, valid_NS, weights_NS = ctx.saved_tensors
        gradient = torch.empty_like(logits_NKS)
        _go_over(
            logits_NKS, label_NS, valid_NS, lambda place, _: weights_NS[place], gradient, grad_total
        )
        return gradient, None, None, None
