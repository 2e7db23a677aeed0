"""A network over many images without a gradient: what labeling and evaluation share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from dmt.data.pool import Pool
from dmt.engine.finite import refuse_unless_all
from dmt.engine.runtime import Runtime

BATCH_SIZE = 512


@torch.no_grad()
def forward(net: nn.Module, pool: Pool, ids: Tensor, runtime: Runtime) -> Iterator[Tensor]:
    """float32 logits (B, K) of `ids`, a batch at a time, in eval mode; the mode is put back."""
    was_training = net.training
    net.eval()
    try:
        for _, images in pool.stream(ids.split(BATCH_SIZE)):
            with runtime.autocast():
                logits: Tensor = net(images)
            yield logits.float()
    finally:
        net.train(was_training)


def probabilities(
    net: nn.Module, pool: Pool, ids: Tensor, num_classes: int, runtime: Runtime
) -> Tensor:
    """Softmax of all `ids`, float32 (N, K) on the CPU; the ranks share the work.

    Raises:
        NotFiniteError: the network has no finite answer to an image.
    """
    mine = shard(ids, runtime)
    parts = [logits.softmax(dim=1).cpu() for logits in forward(net, pool, mine, runtime)]
    probs = unshard(torch.cat(parts) if parts else torch.empty(0, num_classes), len(ids), runtime)
    refuse_unless_all(probs.isfinite().all(dim=1), ids)  # argmax would call it the first class
    return probs


def pooled_features(net: nn.Module, pool: Pool, runtime: Runtime) -> Tensor:
    """What a classifier's last linear layer is given for a pool's images: float32 (N, D), CPU.

    Features of places (tokens) are averaged. D is 0 where the network has no linear layer.
    """
    linear = [module for module in net.modules() if isinstance(module, nn.Linear)]
    ids = torch.arange(pool.num)
    if not linear:
        return torch.empty(len(ids), 0)
    seen: list[Tensor] = []

    def keep(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        seen.append(given[0].flatten(1, -2).mean(1) if given[0].ndim > 2 else given[0])

    parts = []
    with linear[-1].register_forward_pre_hook(keep):
        for _ in forward(net, pool, ids, runtime):
            parts.append(seen[-1].float().cpu())
            seen.clear()
    return torch.cat(parts)


def shard(ids: Tensor, runtime: Runtime) -> Tensor:
    """This rank's part: every `world_size`-th, padded with the first so that all are as long."""
    if runtime.world_size == 1:
        return ids
    each = -(-len(ids) // runtime.world_size)
    padded = torch.cat([ids, ids[:1].expand(each * runtime.world_size - len(ids))])
    return padded[runtime.rank :: runtime.world_size]


def unshard(values: Tensor, num: int, runtime: Runtime) -> Tensor:
    """All ranks' results in the order `shard` was given, the padding cut off."""
    if runtime.world_size == 1:
        return values
    joined = runtime.gather(values.to(runtime.device)).cpu()
    each = len(values)
    return (
        joined.view(runtime.world_size, each, *values.shape[1:]).transpose(0, 1).flatten(0, 1)[:num]
    )


def ensembles(probs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Two models' mean softmax, by name, where there are two."""
    pairs = {"ensemble": ("a", "b"), "supervised_ensemble": ("supervised", "supervised_b")}
    return {
        name: (probs[first] + probs[second]) / 2
        for name, (first, second) in pairs.items()
        if first in probs and second in probs
    }
