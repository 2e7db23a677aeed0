"""Labeling a pool so large that it is done and kept shard by shard. The rules are in `core`."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from dmt.core import predict
from dmt.data.label_shards import LabelShards
from dmt.data.pool import Pool
from dmt.engine.finite import refuse_unless_all
from dmt.engine.forward import BATCH_SIZE, forward
from dmt.engine.runtime import Runtime
from dmt.engine.stage import LabelStage

IMAGES_A_SHARD = 1 << 16
"""Whole batches: what a process that dies may lose of a labeling."""


def is_large(num: int) -> bool:
    """Whether so many images are labeled shard by shard."""
    return num > IMAGES_A_SHARD


def label_in_shards(
    stage: LabelStage,
    net: nn.Module,
    pool: Pool,
    ids: Tensor,
    folder: Path,
    num_classes: int,
    seed: int,
    runtime: Runtime,
) -> None:
    """Write the store of a labeling; shards that are there are kept.

    Batches are those that `forward.Share` makes, so labels are the same to the bit. Shard i is
    rank i mod N's. Images that cannot be read are left out, where the pool allows it.

    Args:
        stage: of labeling.
        net: the teacher.
        pool: of images.
        ids: int64 (N,), those to label.
        folder: of the store.
        num_classes: K.
        seed: of the run.
        runtime: where it computes.

    Raises:
        NotFiniteError: the network has no finite answer to an image; its shard is not written.
        RunError: the disk is full or may not be written.
    """
    parts = ids.split(IMAGES_A_SHARD)
    shards = LabelShards(folder, len(parts))
    if runtime.is_writer:
        shards.begin(net, ids)
    runtime.barrier()
    bad = [torch.empty(0, dtype=torch.int64)]
    for shard in range(runtime.rank, len(parts), runtime.world_size):
        if shards.is_there(shard):
            continue
        label, code, is_finite = _answers(net, pool, parts[shard], runtime)
        is_read = torch.tensor([id_ not in pool.unreadable for id_ in parts[shard].tolist()])
        bad.append(parts[shard][is_read & ~is_finite])
        if not len(bad[-1]):
            shards.write(shard, parts[shard][is_read], label[is_read], code[is_read], num_classes)
    # After the last image, so that all ranks stop together.
    found = torch.cat(bad)
    lengths = runtime.gather(torch.tensor([len(found)])).tolist()
    refuse_unless_all(~torch.isin(ids, runtime.join(found, lengths)), ids)
    runtime.barrier()
    if runtime.is_writer:
        shards.finish(num_classes, stage.fraction, stage.is_class_balanced, seed, stage.name)
    runtime.barrier()


def _answers(
    net: nn.Module, pool: Pool, ids: Tensor, runtime: Runtime
) -> tuple[Tensor, Tensor, Tensor]:
    """Labels, codes, and whether an answer is finite, all (N,) on the CPU."""
    label, code, is_finite = [], [], []
    for logits in forward(net, pool, ids.split(BATCH_SIZE), runtime):
        said = predict(logits)
        label.append(said.label.cpu().int())
        code.append(said.code.cpu())
        is_finite.append(logits.isfinite().all(dim=1).cpu())
    return torch.cat(label), torch.cat(code), torch.cat(is_finite)
