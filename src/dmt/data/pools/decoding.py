"""A shard's images decoded ahead of their use by threads, in order. Their labels are not here."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from functools import partial

import numpy as np
from numpy.typing import NDArray

from dmt.data.pools.items import Item, Shard
from dmt.data.read_ahead import read_ahead
from dmt.errors import DataError

_CHUNK = 16  # images a thread decodes in one go
_HELD = 64 << 20  # bytes of undecoded images in one round of all threads, about

Decoded = NDArray[np.uint8] | DataError


def decoded(
    shard: Shard, size: int | None, workers: int
) -> Generator[tuple[Item, Decoded], None, None]:
    """Every image of a shard, or why it cannot be read; where the shard is damaged that comes last.

    Memory is bound by bytes, whatever the images' size; the order is the shard's for any number of
    threads, which end with the iterator.

    Args:
        shard: read in the caller's thread.
        size: side that images are brought to; None: their own.
        workers: threads that decode; 0 decodes in the caller's.
    """
    waiting: list[list[Item]] = []

    def calls() -> Iterator[list[Callable[[], list[Decoded]]]]:
        for items in _rounds(_to_the_damage(shard), _CHUNK * max(1, workers)):
            waiting.append(items)
            yield [
                partial(_decode, items[start : start + _CHUNK], size)
                for start in range(0, len(items), _CHUNK)
            ]

    with closing(read_ahead(calls(), workers, lookahead=2)) as rounds:
        for parts in rounds:
            images = [image for part in parts for image in part]
            yield from zip(waiting.pop(0), images, strict=True)


def _decode(items: Sequence[Item], size: int | None) -> list[Decoded]:
    return [item.decoded(size) for item in items]


def _to_the_damage(shard: Shard) -> Iterator[Item]:
    """Its images, and where it is damaged an item in their place that says so, in its turn."""
    try:
        yield from shard.items()
    except DataError as error:
        yield Item("", shard.name, error)


def _rounds(items: Iterator[Item], num: int) -> Iterator[list[Item]]:
    """Items in lists of `num`, or of fewer where they are large."""
    held: list[Item] = []
    num_bytes = 0
    for item in items:
        held.append(item)
        num_bytes += item.num_bytes
        if len(held) == num or num_bytes >= _HELD:
            yield held
            held, num_bytes = [], 0
    if held:
        yield held
