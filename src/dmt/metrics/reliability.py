"""How well a model's confidence fits its accuracy, from counts that add up over parts and ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmt.records.examples import Reliability

_NUM_BINS = 10
_FINE = 1000  # bins that are counted: whole numbers that add up to the same bits in any order


def sureness(
    confidence: NDArray[np.floating[Any]], is_right: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """How many answers, and how many right ones, fell into each of many bins of confidence.

    Args:
        confidence: 0-1, any shape.
        is_right: the same shape.

    Returns:
        int64 (2, bins): all, and the right ones.
    """
    place = (confidence.reshape(-1) * _FINE).astype(np.int64).clip(0, _FINE - 1)
    right = place[is_right.reshape(-1)]
    return np.stack([np.bincount(each, minlength=_FINE) for each in (place, right)])


def reliability(model: str, counts: NDArray[np.int64]) -> Reliability:
    """The reliability diagram of a model and its expected calibration error (arXiv 1706.04599).

    Args:
        model: its name.
        counts: sums of what `sureness` gives.
    """
    middle = (np.arange(_FINE) + 0.5) / _FINE
    num, right = counts.reshape(2, _NUM_BINS, -1).sum(axis=2)
    total = (counts[0] * middle).reshape(_NUM_BINS, -1).sum(axis=1)
    some = np.maximum(num, 1)
    error = np.abs(right / some - total / some) * num / max(1, num.sum())
    return Reliability(
        model=model,
        num=num.tolist(),
        right=right.tolist(),
        confidence=[float(t / n) if n else None for t, n in zip(total, num, strict=True)],
        error=100 * float(error.sum()),
    )


def no_counts() -> NDArray[np.int64]:
    """What `sureness` gives for no answer at all."""
    return np.zeros((2, _FINE), dtype=np.int64)
