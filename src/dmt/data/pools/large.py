"""Pools for training whose names do not fit in memory: names and places lie in files.

They are gathered once into the cache, by a name that is a hash of what the pool is; several
processes share them there. Which pool is large is decided in `data.unlabeled`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import overload

import numpy as np

from dmt.data.catalog import Print
from dmt.data.decode import shown
from dmt.data.pools.path_index import PathIndex, write_index
from dmt.errors import DataError, RunError
from dmt.records import read_json, write_json
from dmt.records.writing import make_folder, whole_file

PLACE = np.dtype("<i8")  # three of an image: number of the tar, first byte, bytes
_NAMES, _PLACES, _DAMAGE = "names", "places.bin", "damage.json"
_AT_ONCE = 1 << 16


class Names(Sequence[str]):
    """A catalog's own paths, and those of a large pool behind them."""

    def __init__(self, own: Sequence[str], names: PathIndex, prefix: str) -> None:
        """Take both; `prefix` goes before each name of the pool."""
        self._own = own
        self._names = names
        self._prefix = prefix

    def __len__(self) -> int:
        return len(self._own) + len(self._names)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        """A path, or those of a slice."""
        num = len(self._own)
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            assert step == 1, "consecutive paths"
            rest = self._names[max(0, start - num) : max(0, stop - num)]
            return [*self._own[start:stop], *(self._prefix + name for name in rest)]
        row = range(len(self))[index]
        return self._own[row] if row < num else self._prefix + self._names[row - num]

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _AT_ONCE):
            yield from self[start : start + _AT_ONCE]


class LargeFiles:
    """Files by their names."""

    damage: Sequence[str] = ()

    def __init__(
        self, names: PathIndex, locate: Callable[[str], Path], prints: Sequence[Print]
    ) -> None:
        """Take the names, and what makes a file of one."""
        self.prints: Sequence[Print] | None = prints
        self._names = names
        self._locate = locate

    def __len__(self) -> int:
        return len(self._names)

    def file(self, number: int) -> Path:
        """See `Elsewhere.file`."""
        return self._locate(self._names[number])

    def content(self, number: int) -> bytes | None:
        """See `Elsewhere.content`: they are whole files."""
        return None


class LargeMembers:
    """Images inside tars on this machine, whose places lie in a file."""

    def __init__(self, index: Path, tars: Sequence[Path], prints: Sequence[Print]) -> None:
        """Open the places that `gather` wrote.

        Raises:
            RunError: they are damaged.
        """
        self.prints: Sequence[Print] | None = prints
        self._tars = tars
        try:
            self.damage: Sequence[str] = read_json(index / _DAMAGE)
            self._places = os.open(index / _PLACES, os.O_RDONLY)
        except (OSError, RunError) as error:
            raise RunError(f"the index {index} cannot be read; delete it") from error
        self._num = os.fstat(self._places).st_size // (3 * PLACE.itemsize)

    def __del__(self) -> None:
        if getattr(self, "_places", -1) >= 0:
            os.close(self._places)

    def __len__(self) -> int:
        return self._num

    def _place(self, number: int) -> tuple[Path, int, int]:
        size = 3 * PLACE.itemsize
        content = os.pread(self._places, size, number * size)
        tar, offset, num_bytes = np.frombuffer(content, PLACE).tolist()
        return self._tars[tar], offset, num_bytes

    def file(self, number: int) -> Path:
        """See `Elsewhere.file`."""
        return self._place(number)[0]

    def content(self, number: int) -> bytes | None:
        """See `Elsewhere.content`."""
        return read_member(*self._place(number))


def read_member(path: Path, offset: int, num_bytes: int) -> bytes:
    """What lies at a place of a file.

    Raises:
        DataError: it is not there any more.
    """
    try:
        with path.open("rb", buffering=0) as file:
            content = os.pread(file.fileno(), num_bytes, offset)
    except OSError as error:
        raise DataError(f"{shown(path)} cannot be read: {error.strerror}") from error
    if len(content) != num_bytes:
        raise DataError(f"{shown(path)} is shorter than it was: put it back as it was")
    return content


def index_for(key: str) -> Path:
    """Where the names of a pool are kept; what is there is whole."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return cache / "dmt" / "pools" / hashlib.sha256(key.encode()).hexdigest()[:32]


def key_of(kind: str, prints: Iterable[Print]) -> str:
    """What the index of shards is named by."""
    return "\n".join([kind, *map(repr, prints)])


def gather(
    folder: Path | None, images: Iterable[tuple[str, Sequence[int]]], damage: Sequence[str]
) -> Path:
    """Write the index of a pool: names, and numbers that say where each image is.

    Args:
        folder: it appears when all is written, whoever else writes it; None: named by the names.
        images: names, and three numbers or none.
        damage: what `images` had to leave out, once it was gone over.

    Returns:
        The folder.

    Raises:
        RunError: the disk is full or may not be written.
    """
    unfinished = (folder or index_for("")).with_name(f".{uuid.uuid4().hex}")
    try:
        make_folder(unfinished)
        with whole_file(unfinished / _PLACES) as file:

            def names() -> Iterator[str]:
                for name, place in images:
                    file.write(np.array(place, PLACE).tobytes())
                    yield name

            write_index(unfinished / _NAMES, names())
        write_json(unfinished / _DAMAGE, damage)
        folder = folder or index_for("files\n" + names_in_index(unfinished).sha256)
        with suppress(OSError):  # another one was first
            unfinished.rename(folder)
    except OSError as error:
        raise RunError(
            f"cannot write {unfinished}: {error.strerror}; free some space, or name another place "
            "by XDG_CACHE_HOME"
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def names_in_index(folder: Path) -> PathIndex:
    """The names that `gather` wrote."""
    return PathIndex(folder / _NAMES)
