"""Whole images worth showing, from what models answered. Who asks the models: `classification`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dmt.data.hidden import HiddenLabels
from dmt.engine.examples import RELIABLE_MODELS, SHOWN_MODELS, Said, Shown, pick
from dmt.metrics.hidden_scores import is_correct, sure_mistakes
from dmt.metrics.reliability import reliability, sureness
from dmt.records.examples import Reliability

_NUM = 12  # of each kind


def unlabeled_examples(probs: Mapping[str, Tensor], ids: NDArray[np.int64]) -> list[Shown]:
    """Images of the pool, from the softmax (N, K) of each model and the ensemble by name."""
    if not len(ids):
        return []
    sure = {name: each.max(dim=1) for name, each in probs.items() if name in SHOWN_MODELS}
    decides = sure["ensemble" if "ensemble" in sure else "a"]
    apart = None
    if "b" in probs:
        both = np.minimum(probs["a"].numpy(), probs["b"].numpy()).sum(axis=1)
        apart = (1 - both).clip(0, 1)
    picked = pick(decides.values.numpy(), apart, decides.indices.numpy(), _NUM)
    return [
        Shown(
            id=int(ids[row]),
            kind=kind,
            said={n: Said(int(s.indices[row]), float(s.values[row])) for n, s in sure.items()},
            disagreement=None if apart is None else float(apart[row]),
        )
        for kind, rows in picked.items()
        for row in rows.tolist()
    ]


def mistakes(
    called: Mapping[str, Tensor], sure: Mapping[str, Tensor], test: HiddenLabels
) -> list[Shown]:
    """The held-out images of which the model that decides was surest and wrong.

    Args:
        called, sure: class and confidence (N,) of each model, aligned with `test`.
        test: the held-out labels.
    """
    decides = "ensemble" if "ensemble" in called else "a"
    found = sure_mistakes(called[decides], sure[decides].numpy(), test, _NUM)
    return [
        Shown(
            id=int(test.ids[row]),
            kind="wrong",
            said={name: Said(int(called[name][row]), float(sure[name][row]))
                  for name in SHOWN_MODELS if name in called},
            truth=truth,
        )
        for row, truth in found
    ]  # fmt: skip


def reliabilities(
    called: Mapping[str, Tensor], sure: Mapping[str, Tensor], test: HiddenLabels
) -> list[Reliability]:
    """Of every model that is compared; arguments as in `mistakes`."""
    return [
        reliability(name, sureness(sure[name].numpy(), is_correct(called[name], test)))
        for name in RELIABLE_MODELS
        if name in called
    ]
