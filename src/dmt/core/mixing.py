"""Mixup: every sample of a batch is blended with another one (Zhang et al., 2018)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dmt.core.random import beta_float, shuffled


class Mix(NamedTuple):
    """Whom each sample is blended with, and how much of itself it keeps."""

    partner: Tensor  # int64 (N,): a permutation inside each block
    share: float  # λ in [0, 1], one for the batch, as in the paper

    def __call__(self, values: Tensor) -> Tensor:
        """λ · values + (1 − λ) · values[partner], over the first dimension, in floating point."""
        if self.share == 1.0:
            return values
        return torch.lerp(values[self.partner], values, self.share)


def draw_mix(
    num: int,
    alpha: float,
    seed: int,
    *where: int | str,
    keep_max: bool = True,
    num_blocks: int = 1,
    device: torch.device | None = None,
) -> Mix:
    """Draw λ ~ Beta(alpha, alpha) and partners, as a function of place.

    Args:
        num: batch size; `num_blocks` divides it.
        alpha: Beta's parameter > 0 (paper: 0.75).
        seed, where: the place.
        keep_max: λ ← max(λ, 1 − λ), so that a sample stays mostly itself (the paper's rounds;
            its initial models mix with plain λ).
        num_blocks: partners are found inside equal consecutive blocks of the batch, so that a
            batch spread over ranks pairs as it would on one.
        device: where `partner` lives (default: CPU).
    """
    assert num % num_blocks == 0, (num, num_blocks)
    share = beta_float(alpha, seed, *where, "share")
    if keep_max:
        share = max(share, 1 - share)
    size = num // num_blocks
    within = shuffled(num_blocks, size, seed, *where, "partner")
    partner = (within + torch.arange(num_blocks).unsqueeze(1) * size).view(-1)
    return Mix(partner.to(device or "cpu"), share)
