"""Mixing two samples of a batch: blended (mixup), or a box of one laid over the other (CutMix)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dmt.core.random import beta_float, shuffled, uniform
from dmt.core.sending import sent

_HOST = torch.device("cpu")


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
    slots: Tensor | None = None,
    device: torch.device | None = None,
) -> Mix:
    """Draw λ ~ Beta(alpha, alpha) and partners, as a function of place (Zhang et al., 2018).

    Args:
        num: size of the whole batch; `num_blocks` divides it.
        alpha: Beta's parameter > 0 (paper: 0.75).
        seed, where: the place.
        keep_max: λ ← max(λ, 1 − λ), so that a sample stays mostly itself (the paper's rounds;
            its initial models mix with plain λ).
        num_blocks: partners are found inside equal consecutive blocks of the batch, so that a
            batch spread over ranks pairs as it would on one.
        slots: int64 (n,) on the CPU, the consecutive places of the batch that are here, whole
            blocks; `partner` is (n,) then and counts from the first of them. None: all.
        device: where `partner` lives (default: CPU).
    """
    assert num % num_blocks == 0, (num, num_blocks)
    share = beta_float(alpha, seed, *where, "share")
    if keep_max:
        share = max(share, 1 - share)
    size = num // num_blocks
    within = shuffled(num_blocks, size, seed, *where, "partner")
    partner = (within + torch.arange(num_blocks).unsqueeze(1) * size).view(-1)
    if slots is not None:
        partner = partner[slots] - slots[0]
    return Mix(sent(partner, device or _HOST), share)


class Paste(NamedTuple):
    """Which pixels of each sample are replaced by those of another one."""

    partner: Tensor  # int64 (N,)
    is_pasted: Tensor  # bool (N, H, W)

    def __call__(self, values: Tensor) -> Tensor:
        """`values` (N, H, W) or (N, C, H, W) with the partner's in the box."""
        box = self.is_pasted if values.ndim == 3 else self.is_pasted.unsqueeze(1)
        return torch.where(box, values[self.partner], values)


def draw_paste(
    slots: Tensor,
    size: tuple[int, int],
    chance: float,
    seed: int,
    *where: int | str,
    device: torch.device | None = None,
) -> Paste:
    """Draw a box of half the area for every sample, as a function of its place.

    Neighbours are partners, two by two; the last of an odd number stays as it is. So ranks that
    hold an even number of samples each paste as one would.

    Args:
        slots: int64 (N,), the samples' places in the step's whole batch.
        size: height and width in pixels.
        chance: share of the samples that get a box, 0 to 1.
        seed, where: the place.
        device: where the result lives (default: CPU).

    Source: CutMix (Yun et al., 2019), for segmentation with boxes of half the area by French et
    al. (2020).
    """
    num = len(slots)
    partner = torch.arange(num) ^ 1
    partner = torch.where(partner < num, partner, torch.arange(num))
    draws = uniform(seed, *where, "paste", slots.cpu(), num=4)
    height = 0.5 ** draws[:, 0]
    inside = []
    for side, share, draw in zip(
        size, (height, 0.5 / height), draws[:, 1:3].unbind(1), strict=True
    ):
        length = (share * side).round().long()
        first = (draw * (side - length + 1)).long()
        from_first = torch.arange(side) - first[:, None]
        inside.append((from_first >= 0) & (from_first < length[:, None]))
    box = inside[0][:, :, None] & inside[1][:, None, :]
    box &= (draws[:, 3] < chance)[:, None, None]
    return Paste(sent(partner, device or _HOST), sent(box, device or _HOST))
