"""In what order a stage takes its samples: endless shuffled passes, a function of the step."""

from __future__ import annotations

import torch
from torch import Tensor

from dmt.core import permuted


def draw(num_samples: int, num: int, steps: range, seed: int, *where: int | str) -> Tensor:
    """Which samples some steps take, `num` a step.

    Every pass over the samples is a new permutation and the passes follow each other without a
    gap: no batch is short, none is dropped, and after any number of steps each sample was taken
    equally often, give or take one.

    Args:
        num_samples: how many there are, ≥ 1 (or 0 with `num` 0).
        num: how many a step takes.
        steps: consecutive steps.
        seed, where: name the order.

    Returns:
        int64 (len(steps), num), values in [0, num_samples).
    """
    if num == 0:
        return torch.empty(len(steps), 0, dtype=torch.int64)
    index = torch.arange(steps.start * num, steps.stop * num)
    drawn = permuted(index % num_samples, num_samples, seed, *where, index // num_samples)
    return drawn.view(len(steps), num)


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
