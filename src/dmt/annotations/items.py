"""What is handed to a labeling tool: images and what is said of them. In which form: elsewhere."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Said(NamedTuple):
    """One answer: the given label's or a model's.

    `mask` is uint8 (H, W), classes and 255, of a segmentation; then `label` is empty.
    """

    name: str  # "given", "peer a", …
    label: str
    confidence: float | None  # 0–1; None for the given one
    mask: NDArray[np.uint8] | None = None


class Item(NamedTuple):
    """One image; `said` has the given label first, where there is one."""

    path: str
    section: str
    rank: int
    score: float
    height: int
    width: int
    said: list[Said]


GIVEN = "given"
