"""What two models' probabilities say about labels: which to ask for next, which look wrong.

Arrays in, numbers and orders out; where the probabilities come from is `reviewing`'s.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ids = NDArray[np.int64]

IMPROBABLE = 0.1
"""A pixel's given class is contradicted where both models give it less than this."""
_PER_CHOICE = 5  # candidates that are looked at for one that is chosen


def disagreement(first: Floats, second: Floats) -> NDArray[np.float32]:
    """The probability that two models, each answering by its own probabilities, answer differently.

    1 − Σ_k p_a(k)·p_b(k): 1 where both are sure of different classes, 0 where both are sure of the
    same, and between where either is unsure. Of one model (given twice) it is the Gini impurity.

    Args:
        first, second: (N, K) probabilities, or (K, H, W) with the classes first.

    Returns:
        float32 (N,), or (H, W), 0–1.
    """
    axis = 1 if first.ndim == 2 else 0
    differs: NDArray[np.float32] = 1 - (first * second).sum(axis=axis).astype(np.float32)
    return differs.clip(0, 1)


def improbability(given: Ids, *probs: Floats) -> NDArray[np.float32]:
    """How improbable given labels are to models that never saw them: 1 − their mean p(given).

    Args:
        given: int64 (N,), classes.
        probs: (N, K) of every model.

    Returns:
        float32 (N,), 0–1.
    """
    mean = np.mean(probs, axis=0)
    found: NDArray[np.float32] = 1 - mean[np.arange(len(given)), given].astype(np.float32)
    return found.clip(0, 1)


def contradicted(given: NDArray[np.uint8], num_classes: int, *probs: Floats) -> NDArray[np.bool_]:
    """Which pixels' given class every model calls improbable (below `IMPROBABLE`).

    Args:
        given: uint8 (H, W), classes; values from `num_classes` on are left out.
        num_classes: K.
        probs: (K, H, W) of every model.

    Returns:
        bool (H, W); False where the pixel is left out.
    """
    is_counted = given < num_classes
    index = np.where(is_counted, given, 0).astype(np.int64)[None]
    highest = np.max([np.take_along_axis(each, index, axis=0)[0] for each in probs], axis=0)
    found: NDArray[np.bool_] = is_counted & (highest < IMPROBABLE)
    return found


def diverse_order(scores: Floats, features: Floats, num: int) -> Ids:
    """Rows by score, but far apart: greedy farthest-first, weighted by the score.

    Each next one has the largest score times distance to the nearest row chosen before (Gonzalez,
    1985, weighted), so of two near-duplicates the second comes late, whatever its score.

    Args:
        scores: (N,), non-negative.
        features: (N, D), brought to length 1 for the distances.
        num: how many to choose so; the rest follow by score.

    Returns:
        int64 (N,): every row once, the best first.
    """
    by_score = np.argsort(-scores, kind="stable").astype(np.int64)
    num = min(num, len(scores))
    if num < 2:
        return by_score
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    unit = (features / np.maximum(lengths, 1e-12)).astype(np.float32)
    weight = np.asarray(scores, dtype=np.float32)
    chosen = [int(by_score[0])]
    nearest = np.full(len(scores), np.inf, dtype=np.float32)
    is_left = np.ones(len(scores), dtype=np.bool_)
    while len(chosen) < num:
        is_left[chosen[-1]] = False
        gap = np.maximum(0, 2 - 2 * unit @ unit[chosen[-1]])
        nearest = np.minimum(nearest, np.sqrt(gap))
        chosen.append(int(np.argmax(np.where(is_left, weight * nearest, -1))))
    is_left[chosen[-1]] = False
    return np.concatenate([np.array(chosen, np.int64), by_score[is_left[by_score]]])


def candidates(scores: Floats, num: int) -> Ids:
    """int64 (M,): the rows of the highest scores, enough to choose `num` diverse ones among."""
    return np.argsort(-scores, kind="stable")[: _PER_CHOICE * num].astype(np.int64)


def balanced_order(order: Ids, classes: Ids) -> Ids:
    """The same rows with every class in turn: the first of each, the second of each, …

    Args:
        order: int64 (N,), rows, the best first.
        classes: int64, the class of every row, by row.
    """
    seen: dict[int, int] = {}
    turn = np.empty(len(order), dtype=np.int64)
    for place, label in enumerate(classes[order].tolist()):
        turn[place] = seen.get(label, 0)
        seen[label] = turn[place] + 1
    return order[np.argsort(turn, kind="stable")]
