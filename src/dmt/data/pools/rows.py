"""Images inside Parquet by number: row groups are read whole, and those used last are kept."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from dmt.data.catalog import Print
from dmt.data.decode import shown
from dmt.data.pools import local
from dmt.data.pools.items import Item
from dmt.data.pools.parquet_shards import ParquetShard
from dmt.errors import DataError

_HELD = 1 << 30  # bytes of row groups that are kept
_MOST = 1 << 28  # bytes of one: a larger one is read too often for too little


class Rows:
    """Images that tables hold as bytes."""

    damage: Sequence[str] = ()

    def __init__(
        self, groups: Sequence[ParquetShard], prints: Sequence[Print] | None = None
    ) -> None:
        """Take shards of one row group each."""
        self.prints = prints
        self._groups = groups
        self._ends = list(accumulate(each.num_rows for each in groups))
        self._held: OrderedDict[int, list[Item]] = OrderedDict()
        self._num_bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def file(self, number: int) -> Path:
        """See `Elsewhere.file`."""
        return local(self._groups[bisect_right(self._ends, number)].place.address)

    def num_bytes(self, number: int) -> int:
        """See `Elsewhere.num_bytes`."""
        return self._item(number).num_bytes

    def content(self, number: int) -> bytes | None:
        """See `Elsewhere.content`."""
        item = self._item(number)
        if isinstance(item.content, DataError):
            raise item.content
        if isinstance(item.content, Path):
            raise DataError(f"{shown(item.where)} names a file, where other rows hold images")
        return item.content

    def _item(self, number: int) -> Item:
        group = bisect_right(self._ends, number)
        before = self._ends[group - 1] if group else 0
        with self._lock:  # one thread reads a group, the others wait for it
            return self._read(group)[number - before]

    def _read(self, group: int) -> list[Item]:
        if group in self._held:
            self._held.move_to_end(group)
            return self._held[group]
        shard = self._groups[group]
        items = list(shard.items())
        if len(items) != shard.num_rows:
            raise DataError(f"{shown(shard.place.address)} changed: put it back as it was")
        num_bytes = _size(items)
        if num_bytes > _MOST:
            raise DataError(
                f"{shown(shard.place.address)} has row groups of {num_bytes >> 20:,} MB, which "
                f"training cannot read image by image: write groups of up to {_MOST >> 20} MB"
            )
        self._held[group] = items
        self._num_bytes += num_bytes
        while self._num_bytes > _HELD:
            self._num_bytes -= _size(self._held.popitem(last=False)[1])
        return items


def _size(items: Sequence[Item]) -> int:
    return sum(item.num_bytes for item in items)
