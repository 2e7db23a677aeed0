"""In what order a stage takes its samples: endless shuffled passes, a function of the step."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from dmt.core import permuted, permuted_by_blocks
from dmt.engine.runtime import Runtime
from dmt.engine.stage import TrainStage

_STEPS_DRAWN_AT_ONCE = 64
_WINDOW = 8  # blocks that are shuffled into one another, where there are blocks


def rows(
    stage: TrainStage, num_given: int, num_kept: int, seed: int, runtime: Runtime, first_step: int
) -> Iterator[Tensor]:
    """This rank's share of the samples of steps `first_step` … of a stage.

    Args:
        stage: its name, steps and batch.
        num_given: samples with a given label.
        num_kept: samples with a pseudo label.
        seed: of the run.
        runtime: how many ranks there are; each takes whole blocks of the batch.
        first_step: where to begin.

    Yields:
        int64 (batch,): values below `num_given` are samples with a given label, those from it on
        the ones with a pseudo label.
    """
    spec = stage.fit
    assert spec.num_blocks % runtime.world_size == 0, "whole blocks for every rank"
    mine = own_slots(spec.batch_size, runtime)
    for start in range(first_step, spec.num_steps, _STEPS_DRAWN_AT_ONCE):
        steps = range(start, min(start + _STEPS_DRAWN_AT_ONCE, spec.num_steps))
        of_given, of_kept = (
            draw(total, num, steps, seed, stage.name, kind, block=block)
            for total, num, kind, block in (
                (num_given, spec.num_labeled, "labeled", None),
                (num_kept, spec.batch_size - spec.num_labeled, "pseudo", spec.shuffle_block),
            )
        )
        for a, b in zip(of_given, of_kept + num_given, strict=True):
            yield interleave(a, b, spec.num_blocks)[mine]


def own_slots(batch_size: int, runtime: Runtime) -> slice:
    """Which places of a step's whole batch are this rank's."""
    per_rank = batch_size // runtime.world_size
    return slice(runtime.rank * per_rank, (runtime.rank + 1) * per_rank)


def draw(
    num_samples: int,
    num: int,
    steps: range,
    seed: int,
    *where: int | str,
    block: int | None = None,
) -> Tensor:
    """Which samples some steps take, `num` a step.

    Every pass over the samples is a new permutation and the passes follow each other without a
    gap: no batch is short, none is dropped, and after any number of steps each sample was taken
    equally often, give or take one.

    Args:
        num_samples: how many there are, ≥ 1 (or 0 with `num` 0).
        num: how many a step takes.
        steps: consecutive steps.
        seed, where: name the order.
        block: neighbours that a pass takes near each other (`core.permuted_by_blocks`).

    Returns:
        int64 (len(steps), num), values in [0, num_samples).
    """
    if num == 0:
        return torch.empty(len(steps), 0, dtype=torch.int64)
    index = torch.arange(steps.start * num, steps.stop * num)
    place, turn = index % num_samples, index // num_samples
    if block is None:
        drawn = permuted(place, num_samples, seed, *where, turn)
    else:
        drawn = permuted_by_blocks(place, num_samples, block, _WINDOW, seed, *where, turn)
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
