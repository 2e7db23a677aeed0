"""The built-in `digits`: 1797 real 8×8 images that come with scikit-learn, and a fixed hold-out."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dmt.core.random import hashed
from dmt.data.catalog import Catalog, Part

_NUM_TEST = 357  # leaves 1440: 40 labels and 1400 unlabeled in the demo
_HOLD_OUT_SEED = 0x6469676974  # "digit"; a constant, so that every run has the same test images


def read_digits() -> Catalog:
    """All of `digits`, labeled; 357 images are the test part, the same ones for every seed.

    Returns:
        A catalog with images uint8 (1797, 8, 8, 3): the 17 grey levels spread over 0…255, in
        three equal channels.
    """
    from sklearn.datasets import load_digits  # half a second that only this data set needs

    grey, target = load_digits(return_X_y=True)
    labels = np.asarray(target, dtype=np.int64)
    levels = np.rint(np.asarray(grey) * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    parts = np.full(len(labels), Part.TRAIN, dtype=np.uint8)
    parts[_hold_out(labels)] = Part.TEST
    return Catalog(
        name="digits",
        layout="digits",
        root=None,
        classes=tuple(str(digit) for digit in range(10)),
        paths=tuple(f"digits/{index:04d}" for index in range(len(labels))),
        labels=labels,
        parts=parts,
        images=np.repeat(levels, 3, axis=3),
        problems=(),
    )


def _hold_out(labels: NDArray[np.int64]) -> list[int]:
    """Indices of the test images: of each class its share, the ones that hash lowest.

    The shares follow from rounding the cumulative counts, so they add up and each is within one
    image of exact.
    """
    ends = np.cumsum(np.bincount(labels)) * _NUM_TEST / len(labels)
    bounds = np.rint([0.0, *ends]).astype(int)
    chosen: list[int] = []
    for digit, (start, end) in enumerate(pairwise(bounds)):
        members = np.flatnonzero(labels == digit).tolist()
        members.sort(key=lambda index: hashed(_HOLD_OUT_SEED, "digits", index))
        chosen += members[: end - start]
    return chosen
