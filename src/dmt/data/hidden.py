"""Labels that exist but must not be learned from, as a type. How they are chosen: `splits`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

ReadMask = Callable[[int], NDArray[np.uint8]]
"""From an id to its mask: uint8 (H, W), a class or 255 for pixels left out."""


class HiddenLabels:
    """Known labels that nothing but `dmt.metrics` may read, so that a run cannot learn from them.

    The ids are public. The labels come out through `reveal` alone, whose importers are counted by
    a test: there is no indexing, no iteration, no conversion to an array and no pickling. Two
    objects are equal only when they are the same object.
    """

    __slots__ = ("__weakref__", "_ids", "_labels")

    def __init__(self, ids: NDArray[np.int64], labels: NDArray[np.int64]) -> None:
        """Copy `ids` (int64, (N,), no two equal, any order) and their `labels` (int64, (N,))."""
        self._ids = np.array(ids, dtype=np.int64)
        self._labels = np.array(labels, dtype=np.int64)
        assert self._ids.ndim == 1, "ids are one-dimensional"
        assert self._ids.shape == self._labels.shape, "one label for each id"
        assert len(np.unique(self._ids)) == len(self._ids), "no id twice"
        self._ids.flags.writeable = False
        self._labels.flags.writeable = False

    @property
    def ids(self) -> NDArray[np.int64]:
        """Whose labels these are: int64, (N,), read-only, in the order given."""
        return self._ids

    def restrict(self, ids: NDArray[np.int64]) -> HiddenLabels:
        """Those of these labels whose id is among `ids` (int64, any shape), in their own order."""
        kept = np.isin(self._ids, ids)
        return HiddenLabels(self._ids[kept], self._labels[kept])

    def __len__(self) -> int:
        return len(self._ids)

    def __repr__(self) -> str:
        return f"HiddenLabels({len(self)} ids)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("hidden labels are not pickled: they would be readable in the copy")


def reveal(hidden: HiddenLabels) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The ids and the labels of `hidden`: int64, (N,) each, aligned, read-only.

    Only `dmt.metrics` and the oracle stage may import this function.
    """
    return hidden._ids, hidden._labels


class HiddenMasks:
    """Known masks that nothing but `dmt.metrics` may read: `HiddenLabels` for pixels."""

    __slots__ = ("__weakref__", "_ids", "_read")

    def __init__(self, ids: NDArray[np.int64], read: ReadMask) -> None:
        """Keep `ids` (int64, (N,), no two equal, any order) and how to read their masks."""
        self._ids = np.array(ids, dtype=np.int64)
        assert self._ids.ndim == 1, "ids are one-dimensional"
        assert len(np.unique(self._ids)) == len(self._ids), "no id twice"
        self._ids.flags.writeable = False
        self._read = read

    @property
    def ids(self) -> NDArray[np.int64]:
        """Whose masks these are: int64, (N,), read-only, in the order given."""
        return self._ids

    def restrict(self, ids: NDArray[np.int64]) -> HiddenMasks:
        """Those of these masks whose id is among `ids` (int64, any shape), in their own order."""
        return HiddenMasks(self._ids[np.isin(self._ids, ids)], self._read)

    def __len__(self) -> int:
        return len(self._ids)

    def __repr__(self) -> str:
        return f"HiddenMasks({len(self)} ids)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("hidden masks are not pickled: they would be readable in the copy")


def reveal_masks(hidden: HiddenMasks) -> tuple[NDArray[np.int64], ReadMask]:
    """The ids of `hidden` (int64, (N,), read-only) and what reads their masks.

    Only `dmt.metrics` and the oracle stage may import this function.
    """
    return hidden._ids, hidden._read
