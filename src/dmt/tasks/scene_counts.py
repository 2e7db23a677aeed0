"""Held-out scenes counted: confusion by image, and how sure every model was of its pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dmt.data.hidden import HiddenMasks
from dmt.engine.finite import refuse_unless_all
from dmt.engine.forward import ensembles
from dmt.engine.runtime import Runtime
from dmt.metrics.hidden_scores import score_mask, sureness_of_mask
from dmt.metrics.reliability import no_counts

Counts = NDArray[np.int64]
Ask = Callable[[nn.Module, Tensor], Iterator[tuple[int, Tensor]]]
"""From a network and the ids of all ranks to the ids of this one and their logits (K, H, W), in one
order for the same ids."""


def count_scenes(
    ask: Ask,
    nets: Mapping[str, nn.Module],
    hidden: HiddenMasks,
    num_classes: int,
    runtime: Runtime,
    reliable: tuple[str, ...] = (),
) -> tuple[dict[str, Counts], dict[str, Counts]]:
    """Every image looked at by every model and ensemble; the ranks share the work.

    Args:
        ask: how networks are asked.
        nets: by name.
        hidden: the masks to compare with.
        num_classes: K.
        runtime: where it computes.
        reliable: names of those whose confidence is counted.

    Returns:
        By name the confusion of every image, int64 (N, K, K) as `hidden.ids`, and what
        `metrics.reliability.sureness` gives, over all of them.

    Raises:
        NotFiniteError: a network has no finite answer to an image.
    """
    place_of = {id_: row for row, id_ in enumerate(hidden.ids.tolist())}
    names = [*nets, *ensembles({name: torch.zeros(()) for name in nets})]
    counts = {name: np.zeros((len(hidden), num_classes, num_classes), np.int64) for name in names}
    sure = {name: no_counts() for name in names if name in reliable}
    num_missed = np.zeros(len(hidden), dtype=np.int64)
    ids = torch.from_numpy(hidden.ids.copy())
    for found in zip(*(ask(net, ids) for net in nets.values()), strict=True):
        (id_,) = {each for each, _ in found}
        num_missed[place_of[id_]] = sum(not bool(each.isfinite().all()) for _, each in found)
        if num_missed[place_of[id_]]:
            continue  # it is refused after the last image, so that all ranks stop together
        probs = {name: logits.softmax(dim=0) for name, (_, logits) in zip(nets, found, strict=True)}
        for name, prob in (probs | ensembles(probs)).items():
            confidence, label = prob.max(dim=0)
            counts[name][place_of[id_]] = score_mask(id_, label, hidden, num_classes)
            if name in sure:
                sure[name] += sureness_of_mask(id_, label, confidence.cpu().numpy(), hidden)
    is_answered = torch.from_numpy(over_ranks(num_missed, runtime) == 0)
    refuse_unless_all(is_answered, ids)
    return (
        {name: over_ranks(count, runtime) for name, count in counts.items()},
        {name: over_ranks(count, runtime) for name, count in sure.items()},
    )


def over_ranks(counts: Counts, runtime: Runtime) -> Counts:
    """The sum of all ranks' counts."""
    if runtime.world_size == 1:
        return counts
    summed: Counts = runtime.sum(torch.from_numpy(counts).to(runtime.device)).cpu().numpy()
    return summed
