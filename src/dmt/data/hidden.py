"""Labels that exist but must not be learned from, as a type. How they are chosen: `splits`."""

from __future__ import annotations

from typing import NoReturn

import numpy as np
from numpy.typing import NDArray


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
