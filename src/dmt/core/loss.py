"""Cross-entropy as sums: the weighted total and the number of valid terms, never a mean.

Sums over ranks, tiles or micro-batches add up to exactly the loss of the whole; who owns the
step divides once.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORE_INDEX = 255


class LossSums(NamedTuple):
    """A loss before the division."""

    total: Tensor  # float32 scalar: Σ w·CE over the valid terms
    num_valid: Tensor  # int64 scalar: how many terms were valid

    def mean(self) -> Tensor:
        """Σ w·CE / number of valid terms (paper, eq. 2: weights not renormalised); 0 if none."""
        return self.total / self.num_valid.clamp(min=1)


def flat_log_softmax(logits: Tensor) -> Tensor:
    """float32 log-probabilities (N, K, S) of logits (N, K, *S), with S = 1 for images.

    The view comes before any arithmetic, so a 1×1 segmentation is a classification to the bit.

    Raises:
        ValueError: there are fewer than two classes.
    """
    if logits.ndim < 2 or logits.shape[1] < 2:
        raise ValueError(f"logits must be (N, K, *S) with K ≥ 2, not {tuple(logits.shape)}")
    num_spatial = logits[0, 0].numel() if logits.shape[0] else 1
    return F.log_softmax(logits.float().reshape(*logits.shape[:2], num_spatial), dim=1)


def weighted_cross_entropy(
    logits: Tensor, target: Tensor, weight: Tensor, valid: Tensor
) -> LossSums:
    """Σ weight · CE(logits, target) over the valid terms, and their number.

    Args:
        logits: (N, K, *S) in any floating type; the loss is computed in float32.
        target: hard, int64 (N, *S) in [0, K), or soft, floating (N, K, *S) summing to 1 over K.
            A hard target that is not valid may hold any value, `IGNORE_INDEX` for example.
        weight: floating (N, *S) ≥ 0; no gradient flows through it.
        valid: bool (N, *S); what is not valid adds neither to the total nor to the count.

    Returns:
        The sums. With nothing valid the total is 0 and the gradient is 0 everywhere.

    Source: paper, eq. 1–2. Departure: the authors' classification loss without mixup divides by
    N·K; ours always divides by N.
    """
    log_probs_NKS = flat_log_softmax(logits)
    valid_NS = valid.reshape(log_probs_NKS[:, 0].shape)
    weight_NS = weight.detach().float().reshape(valid_NS.shape)
    if target.is_floating_point():
        loss_NS = -(target.float().reshape(log_probs_NKS.shape) * log_probs_NKS).sum(dim=1)
    else:
        label_NS = torch.where(valid_NS, target.reshape(valid_NS.shape), 0)
        loss_NS = -log_probs_NKS.gather(1, label_NS.unsqueeze(1)).squeeze(1)
    total = torch.where(valid_NS, loss_NS * weight_NS, 0.0).sum()
    return LossSums(total, valid_NS.sum())
