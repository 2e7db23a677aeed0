"""Images worth showing, as numbers: which they are and what the models say. Nothing is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dmt.metrics.review_scores import balanced_order
from dmt.records.examples import Kind

Floats = NDArray[np.floating[Any]]

SHOWN_MODELS = ("a", "b", "ensemble")
RELIABLE_MODELS = ("supervised", "a", "b", "ensemble")


class Planes(NamedTuple):
    """What is known of a scene's pixels, at a size to look at."""

    labels: Mapping[str, NDArray[np.uint8]]  # by peer, (H, W)
    confidence: NDArray[np.float32]  # (H, W), of those that decide, 0-1
    disagreement: NDArray[np.float32] | None  # (H, W), 1 − Σ min(p_a, p_b); None for one model
    truth: NDArray[np.uint8] | None = None  # (H, W), 255 where it is left out


class Said(NamedTuple):
    """A model's answer; of a scene no label, and the mean over its pixels."""

    label: int | None
    confidence: float


class Shown(NamedTuple):
    """One image and what is said of it; the truth is that of a held-out image, never another's."""

    id: int
    kind: Kind
    said: Mapping[str, Said]  # by model
    disagreement: float | None = None  # 0-1
    truth: int | None = None
    accuracy: float | None = None  # % of a scene's pixels
    planes: Planes | None = None


class Examples(NamedTuple):
    """Unlabeled images worth showing; how many were looked at and how often by a network."""

    shown: Sequence[Shown]
    num_images: int
    num_forward: int


def pick(
    confidence: Floats,
    disagreement: Floats | None,
    called: NDArray[np.int64] | None,
    num: int,
) -> dict[Kind, NDArray[np.int64]]:
    """Rows to show of each kind, each row once: where the peers disagree most, those whose answer
    is least sure, and those whose answer is surest.

    Args:
        confidence: (N,), of what decides.
        disagreement: (N,); None for one model.
        called: int64 (N,), classes, so that the surest are not all of one; None: no such thing.
        num: of each kind, at most; fewer where there are few images.
    """
    kinds: dict[Kind, NDArray[np.int64]] = {}
    if disagreement is not None:
        # Two models that say the same disagree by nothing but rounding.
        order = np.argsort(-disagreement, kind="stable")
        kinds["disagreed"] = order[disagreement[order] > 1e-4]
    kinds["least-sure"] = np.argsort(confidence, kind="stable")
    surest = kinds["least-sure"][::-1]
    kinds["surest"] = surest if called is None else balanced_order(surest, called)
    num = max(1, min(num, len(confidence) // len(kinds)))
    taken = np.zeros(0, dtype=np.int64)
    found = {}
    for kind, order in kinds.items():
        found[kind] = order[~np.isin(order, taken)][:num].astype(np.int64)
        taken = np.concatenate([taken, found[kind]])
    return found
