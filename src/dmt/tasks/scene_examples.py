"""Scenes worth showing, with what models say of their pixels, small enough to be looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dmt.data.hidden import HiddenMasks
from dmt.engine.examples import SHOWN_MODELS, Planes, Said, Shown, pick
from dmt.engine.finite import refuse_unless_all
from dmt.metrics.hidden_scores import truth_to_show
from dmt.tasks.scene_counts import Ask, Counts

_NUM = 4  # of each kind
_SIDE = 480  # pixels of the planes' longer side, at most


class _Look(NamedTuple):
    """What models say of one scene: its planes, and means over all its pixels."""

    planes: Planes
    confidence: dict[str, float]  # by model
    disagreement: float | None


def unlabeled_examples(
    ask: Ask, nets: Mapping[str, nn.Module], ids: NDArray[np.int64]
) -> list[Shown]:
    """Scenes of the pool, from one or two networks. Every rank does the same."""
    if not len(ids):
        return []
    looks = _look(ask, nets, ids)
    decides = "ensemble" if len(nets) == 2 else "a"
    sure = np.array([looks[id_].confidence[decides] for id_ in ids.tolist()])
    apart = np.array([looks[id_].disagreement for id_ in ids.tolist()]) if len(nets) == 2 else None
    return [
        _shown(looks[int(ids[row])], int(ids[row]))._replace(kind=kind)
        for kind, rows in pick(sure, apart, None, _NUM).items()
        for row in rows.tolist()
    ]


def worst_scenes(
    ask: Ask,
    models: Mapping[int | None, Mapping[str, nn.Module]],
    tests: Mapping[int | None, HiddenMasks],
    counts: Counts,
) -> list[Shown]:
    """The held-out scenes of which the model that decides has the fewest pixels right.

    Args:
        ask: how networks are asked.
        models: by fold; of the peers among them it is shown what they say.
        tests: the held-out masks by fold.
        counts: the deciding model's confusion of every image, (N, K, K), the folds in order.
    """
    num_pixels = counts.sum(axis=(1, 2))
    right = np.trace(counts, axis1=1, axis2=2)
    share = np.where(num_pixels > 0, right / np.maximum(num_pixels, 1), np.inf)
    worst = [row for row in np.argsort(share, kind="stable")[:_NUM].tolist() if share[row] < 1]
    ids = np.concatenate([test.ids for test in tests.values()])
    found: list[Shown] = []
    for fold, test in tests.items():
        rows = [row for row in worst if ids[row] in test.ids]
        peers = {name: net for name, net in models[fold].items() if name in SHOWN_MODELS}
        looks = _look(ask, peers, ids[rows], test) if rows else {}
        found += [
            _shown(looks[int(ids[row])], int(ids[row]))._replace(accuracy=100 * float(share[row]))
            for row in rows
        ]
    return sorted(found, key=lambda each: each.accuracy or 0.0)


def _shown(look: _Look, id_: int) -> Shown:
    said = {name: Said(None, value) for name, value in look.confidence.items()}
    return Shown(id_, "wrong", said, look.disagreement, planes=look.planes)


def _look(
    ask: Ask,
    nets: Mapping[str, nn.Module],
    ids: NDArray[np.int64],
    hidden: HiddenMasks | None = None,
) -> dict[int, _Look]:
    """By id; each network goes once over every image. `hidden` holds held-out masks alone."""
    looks: dict[int, _Look] = {}
    is_answered = torch.ones(len(ids), dtype=torch.bool)
    wanted = torch.from_numpy(ids.copy())
    for found in zip(*(ask(net, wanted) for net in nets.values()), strict=True):
        (id_,) = {each for each, _ in found}
        probs = {name: logits.softmax(dim=0) for name, (_, logits) in zip(nets, found, strict=True)}
        is_answered[wanted == id_] = all(bool(each.isfinite().all()) for each in probs.values())
        looks[id_] = _look_at(probs, id_, hidden)
    refuse_unless_all(is_answered, wanted)
    return looks


def _look_at(probs: Mapping[str, Tensor], id_: int, hidden: HiddenMasks | None) -> _Look:
    both = list(probs.values())
    mean = torch.stack(both).mean(dim=0)
    sure = {name: each.max(dim=0).values for name, each in probs.items()}
    decided = mean.max(dim=0).values
    if len(both) == 2:
        sure["ensemble"] = decided
    apart = None if len(both) == 1 else (1 - torch.minimum(*both).sum(dim=0)).clamp(0, 1)
    height, width = decided.shape
    step = -(-max(height, width) // _SIDE)

    def small(plane: Tensor) -> NDArray[np.float32]:
        return plane[::step, ::step].cpu().numpy()

    truth = None if hidden is None else truth_to_show(id_, (height, width), hidden)
    planes = Planes(
        labels={n: each.argmax(dim=0)[::step, ::step].to(torch.uint8).cpu().numpy()
                for n, each in probs.items()},
        confidence=small(decided.clamp(max=1)),
        disagreement=None if apart is None else small(apart),
        truth=None if truth is None else truth[::step, ::step].copy(),
    )  # fmt: skip
    return _Look(
        planes,
        {name: min(1.0, float(each.mean())) for name, each in sure.items()},
        None if apart is None else float(apart.mean()),
    )
