"""What tells a shard of a pool from any other without reading all of it. No image is decoded."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from dmt.core.random import permuted
from dmt.data.catalog import Print
from dmt.data.decode import shown
from dmt.data.pools.path_index import PathIndex
from dmt.errors import DataError

NAMES_A_BLOCK = 10_000
_ENDS = 1 << 16  # bytes of a file's beginning and of its end that are read
_PIECE, _PIECES = 1 << 12, 16  # bytes, and places between them
_LOOKED_AT = 4  # images of a block of names


def print_of(path: Path, name: str) -> Print:
    """A file, by its size, its two ends and sixteen places between.

    What is changed elsewhere without changing the size is not seen; the time of change does not
    count, so a copy is the same.

    Raises:
        DataError: it cannot be read.
    """
    num_bytes, digest = _sampled(path)
    return Print(name, num_bytes, digest)


def prints_of_names(names: PathIndex, locate: Callable[[str], Path]) -> Iterator[Print]:
    """Blocks of consecutive names, by the names themselves and by four of their files each.

    Raises:
        DataError: one of those cannot be read.
    """
    for start in range(0, len(names), NAMES_A_BLOCK):
        block = names[start : start + NAMES_A_BLOCK]
        digest = hashlib.sha256("\0".join(block).encode())
        for row in some_of(len(block), _LOOKED_AT):
            num_bytes, sampled = _sampled(locate(block[row]))
            digest.update(f"\0{num_bytes} {sampled}".encode())
        title = f"images {start}…{start + len(block) - 1}"
        yield Print(title, 0, digest.hexdigest()[:32])


def some_of(num: int, wanted: int) -> Sequence[int]:
    """Up to `wanted` numbers below `num`, ascending, spread by a permutation."""
    if num <= wanted:
        return range(num)
    return sorted(permuted(torch.arange(wanted), num, 0, "looked at").tolist())


def _sampled(path: Path) -> tuple[int, str]:
    """Bytes of a file, and a hash of some of them."""
    digest = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as file:
            num_bytes = os.fstat(file.fileno()).st_size
            digest.update(os.pread(file.fileno(), _ENDS, 0))
            if num_bytes > _ENDS:
                step = num_bytes // (_PIECES + 1)
                for number in range(1, _PIECES + 1):
                    digest.update(os.pread(file.fileno(), _PIECE, number * step))
                digest.update(os.pread(file.fileno(), _ENDS, max(_ENDS, num_bytes - _ENDS)))
    except OSError as error:
        raise DataError(
            f"{shown(path)} cannot be read ({error.strerror}): was it removed while the data were "
            "read? run the command again"
        ) from error
    return num_bytes, digest.hexdigest()[:32]
