"""A network over many images without a gradient: what labeling and evaluation share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from dmt.data.pool import Pool
from dmt.engine.finite import refuse_unless_all
from dmt.engine.runtime import Runtime

BATCH_SIZE = 512
_FEWEST = 64  # batches of a list of images, so that ranks can share a short one
_SMALLEST = 32  # images of a batch


class Share:
    """Which images of a list are this rank's: a run of whole batches.

    What forms a batch depends on the list alone. An image's answer may depend on its batch in the
    last bit, so any number of ranks has the same answers.

    Args:
        ids: int64 (N,), of all ranks.
        runtime: whose ranks share them.
    """

    def __init__(self, ids: Tensor, runtime: Runtime) -> None:
        size = min(BATCH_SIZE, max(_SMALLEST, -(-len(ids) // _FEWEST)))
        batches = ids.split(size) if len(ids) else ()
        ends = [len(batches) * rank // runtime.world_size for rank in range(runtime.world_size + 1)]
        of_ranks = [batches[a:b] for a, b in pairwise(ends)]
        self._runtime = runtime
        self._lengths = [sum(len(batch) for batch in each) for each in of_ranks]
        self.batches: Sequence[Tensor] = of_ranks[runtime.rank]
        start = sum(self._lengths[: runtime.rank])
        self.rows = slice(start, start + self._lengths[runtime.rank])
        """Where in the list they stand."""

    def join(self, parts: Sequence[Tensor], like: Tensor) -> Tensor:
        """All ranks' answers in the order of the list, on the CPU of every rank.

        Args:
            parts: of this rank's images, batch by batch.
            like: of no image, which says the shape and type of an answer where a rank has none.
        """
        own = torch.cat(list(parts)).cpu() if parts else like
        return self._runtime.join(own, self._lengths)


@torch.no_grad()
def forward(
    net: nn.Module, pool: Pool, batches: Iterable[Tensor], runtime: Runtime
) -> Iterator[Tensor]:
    """float32 logits (B, K) of every batch of ids, in eval mode; the mode is put back."""
    was_training = net.training
    net.eval()
    try:
        for _, images in pool.stream(batches):
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
    mine = Share(ids, runtime)
    parts = [logits.softmax(dim=1).cpu() for logits in forward(net, pool, mine.batches, runtime)]
    probs = mine.join(parts, torch.empty(0, num_classes))
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
        for _ in forward(net, pool, ids.split(BATCH_SIZE), runtime):
            parts.append(seen[-1].float().cpu())
            seen.clear()
    return torch.cat(parts)


def ensembles(probs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Two models' mean softmax, by name, where there are two."""
    pairs = {"ensemble": ("a", "b"), "supervised_ensemble": ("supervised", "supervised_b")}
    return {
        name: (probs[first] + probs[second]) / 2
        for name, (first, second) in pairs.items()
        if first in probs and second in probs
    }
