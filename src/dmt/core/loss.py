"""Cross-entropy as sums: the weighted total and the number of valid terms, never a mean.

Sums over ranks, tiles or micro-batches add up to exactly the loss of the whole; who owns the
step divides once. How it is computed tile by tile is in `tiles`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from dmt.core.tiles import tiled_cross_entropy, widened

IGNORE_INDEX = 255


class LossSums(NamedTuple):
    """A loss before the division."""

    total: Tensor  # float32 scalar (float64 for logits of float64): Σ w·CE over the valid terms
    num_valid: Tensor  # int64 scalar: how many terms were valid

    def mean(self) -> Tensor:
        """Σ w·CE / number of valid terms (paper, eq. 2: weights not renormalised); 0 if none."""
        return self.total / self.num_valid.clamp(min=1)


def flat(logits: Tensor) -> Tensor:
    """Logits (N, K, *S) as (N, K, S), with S = 1 for images.

    The view comes before any arithmetic, so a 1×1 segmentation is a classification to the bit.

    Raises:
        ValueError: there are fewer than two classes.
    """
    if logits.ndim < 2 or logits.shape[1] < 2:
        raise ValueError(f"logits must be (N, K, *S) with K ≥ 2, not {tuple(logits.shape)}")
    num_spatial = logits[0, 0].numel() if logits.shape[0] else 1
    return logits.reshape(*logits.shape[:2], num_spatial)


def flat_log_softmax(logits: Tensor) -> Tensor:
    """float32 log-probabilities (N, K, S) of logits (N, K, *S), of float64 ones in float64.

    Raises:
        ValueError: there are fewer than two classes.
    """
    return F.log_softmax(widened(flat(logits)), dim=1)


def weighted_cross_entropy(
    logits: Tensor, target: Tensor, weight: Tensor, valid: Tensor
) -> LossSums:
    """Σ weight · CE(logits, target) over the valid terms, and their number.

    Args:
        logits: (N, K, *S) in any floating type; the loss is computed in float32, of float64
            logits in float64.
        target: hard, int64 (N, *S) in [0, K), or soft, floating (N, K, *S) summing to 1 over K.
            A hard target that is not valid may hold any value, `IGNORE_INDEX` for example.
        weight: floating (N, *S) ≥ 0; no gradient flows through it.
        valid: bool (N, *S); what is not valid adds neither to the total nor to the count.

    Returns:
        The sums. With nothing valid the total is 0 and the gradient is 0 everywhere.

    Source: paper, eq. 1–2. Departure: the authors' classification loss without mixup divides by
    N·K; ours always divides by N.
    """
    logits_NKS = flat(logits)
    valid_NS = valid.reshape(len(logits_NKS), -1)
    weight_NS = weight.detach().reshape(valid_NS.shape)
    if not target.is_floating_point():
        total = tiled_cross_entropy(
            logits_NKS, target.reshape(valid_NS.shape), valid_NS, lambda place, _: weight_NS[place]
        )
        return LossSums(total, valid_NS.sum())
    log_probs_NKS = F.log_softmax(widened(logits_NKS), dim=1)
    target_NKS = target.to(log_probs_NKS.dtype).reshape(log_probs_NKS.shape)
    loss_NS = -(target_NKS * log_probs_NKS).sum(dim=1)
    total = torch.where(valid_NS, loss_NS * weight_NS.to(loss_NS.dtype), 0.0).sum()
    return LossSums(total, valid_NS.sum())
