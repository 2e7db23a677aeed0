"""How alike two labelings of one pool are, added up piece by piece."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dmt.engine.task import Likeness


def spread(total: int, num: int) -> NDArray[np.int64]:
    """At most `num` of the rows 0 … total − 1, evenly over all of them, ascending."""
    num = min(total, num)
    return np.arange(num, dtype=np.int64) * total // max(1, num)


class Comparison:
    """Sums over pairs of labels, and of how sure each labeler is."""

    def __init__(self) -> None:
        self._num = self._equal = 0
        self._sums = np.zeros(5)  # of x, y, x², y², x·y

    def add(
        self,
        label: NDArray[np.integer],
        twin: NDArray[np.integer],
        sureness: NDArray[np.generic],
        twin_sureness: NDArray[np.generic],
    ) -> None:
        """Add the labels of the same images or pixels, with confidences on any scale.

        All four have one shape.
        """
        x, y = (each.astype(np.float64).ravel() for each in (sureness, twin_sureness))
        self._num += label.size
        self._equal += int((label == twin).sum())
        self._sums += [x.sum(), y.sum(), x @ x, y @ y, x @ y]

    def result(self) -> Likeness | None:
        """What it comes to; None where nothing was added."""
        if not self._num:
            return None
        x, y, xx, yy, xy = self._sums / self._num
        spread = (xx - x * x) * (yy - y * y)
        # Below this it is rounding: confidences that are all the same say nothing.
        is_varied = xx - x * x > 1e-9 * xx and yy - y * y > 1e-9 * yy
        return Likeness(
            self._equal / self._num,
            float((xy - x * y) / math.sqrt(spread)) if is_varied else None,
        )
