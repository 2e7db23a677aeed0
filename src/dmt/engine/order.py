"""In what order a stage takes its samples: endless shuffled passes, a function of the step."""

from __future__ import annotations

import torch
from torch import Tensor

from dmt.core import permuted


def draw(num_samples: int, num: int, step: int, seed: int, *where: int | str) -> Tensor:
    """Which samples step `step` takes, `num` a step.

    Every pass over the samples is a new permutation and the passes follow each other without a
    gap: no batch is short, none is dropped, and after any number of steps each sample was taken
    equally often, give or take one.

    Args:
        num_samples: how many there are, ≥ 1.
        num: how many a step takes.
        step: from 0.
        seed, where: name the order.

    Returns:
        int64 (num,), values in [0, num_samples).
    """
    index = torch.arange(step * num, (step + 1) * num)
    passes, place = index // num_samples, index % num_samples
    drawn = torch.empty_like(index)
    for number in range(int(passes[0]), int(passes[-1]) + 1):
        is_here = passes == number
        drawn[is_here] = permuted(place[is_here], num_samples, seed, *where, number)
    return drawn


def interleave(labeled: Tensor, pseudo: Tensor, num_blocks: int) -> Tensor:
    """One batch of `num_blocks` equal blocks, each with its share of both kinds.

    Args:
        labeled: (L, …) with `num_blocks` dividing L.
        pseudo: (P, …) with `num_blocks` dividing P; may be empty.

    Returns:
        (L + P, …).
    """
    blocks = zip(labeled.chunk(num_blocks), pseudo.chunk(num_blocks), strict=True)
    return torch.cat([part for block in blocks for part in block])
