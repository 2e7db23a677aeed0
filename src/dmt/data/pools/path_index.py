"""A list of names on disk, of any length, read by position. What the names mean is not known.

Names lie one behind the other in one file and their ends in another. Both are read, not mapped:
the pages are the system's cache either way, one copy for all processes, but what a process has
mapped and touched would count as its own memory (`docs/pools.md` has the figures).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import IO, overload

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dmt.errors import RunError
from dmt.records import Record, read_json, write_json
from dmt.records.writing import make_folder, whole_file

NAMES, ENDS, MANIFEST = "names.bin", "ends.bin", "index.json"
_END = np.dtype("<u8")
_AT_ONCE = 1 << 16  # names that are written, or gone over, together


class _Manifest(Record):
    num: int = Field(ge=0)
    num_bytes: int = Field(ge=0)
    sha256: str


class PathIndex(Sequence[str]):
    """Names that `write_index` wrote; a few hundred bytes of memory, from any number of threads.

    Attributes:
        sha256: of all names in their order.
    """

    def __init__(self, folder: Path) -> None:
        """Open a finished index.

        Raises:
            RunError: it is missing, unfinished or damaged.
        """
        try:
            manifest = _Manifest.model_validate(read_json(folder / MANIFEST))
            self._names = os.open(folder / NAMES, os.O_RDONLY)
            self._ends = os.open(folder / ENDS, os.O_RDONLY)
        except (OSError, ValueError, RunError) as error:
            raise RunError(f"the index {folder} cannot be read; delete it") from error
        self._num, self.sha256 = manifest.num, manifest.sha256
        sizes = os.fstat(self._names).st_size, os.fstat(self._ends).st_size
        if sizes != (manifest.num_bytes, manifest.num * _END.itemsize):
            raise RunError(f"the index {folder} is damaged: its files have other sizes; delete it")

    def __del__(self) -> None:
        for handle in (getattr(self, "_names", -1), getattr(self, "_ends", -1)):
            if handle >= 0:
                os.close(handle)

    def __len__(self) -> int:
        return self._num

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        """A name, or those of a slice."""
        if isinstance(index, slice):
            start, stop, step = index.indices(self._num)
            assert step == 1, "consecutive names"
            return self._read(start, max(start, stop))
        place = range(self._num)[index]
        return self._read(place, place + 1)[0]

    def _read(self, start: int, stop: int) -> list[str]:
        if start == stop:
            return []
        first = max(0, start - 1)
        content = os.pread(self._ends, (stop - first) * _END.itemsize, first * _END.itemsize)
        ends = np.frombuffer(content, _END)
        if start == 0:
            ends = np.concatenate([np.zeros(1, _END), ends])
        offsets = ends.tolist()
        names = os.pread(self._names, offsets[-1] - offsets[0], offsets[0])
        return [
            names[begin - offsets[0] : end - offsets[0]].decode()
            for begin, end in pairwise(offsets)
        ]


def write_index(folder: Path, names: Iterable[str]) -> None:
    """Write an index; memory does not depend on how many names there are.

    Several processes may write the same one: the first to be ready keeps the place.

    Args:
        folder: not there; it appears when all is written.
        names: in the order they are to have.

    Raises:
        RunError: the disk is full or may not be written.
    """
    # Not named by the process alone: those of two machines have one folder, and may be alike.
    unfinished = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        make_folder(unfinished)
        _write(unfinished, names)
        with suppress(OSError):  # another one was first
            unfinished.rename(folder)
    except OSError as error:
        raise RunError(f"cannot write {folder}: {error.strerror}; free some space") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write(folder: Path, names: Iterable[str]) -> None:
    digest, num, num_bytes = hashlib.sha256(), 0, 0
    with whole_file(folder / NAMES) as text, whole_file(folder / ENDS) as ends:
        waiting: list[bytes] = []
        for name in names:
            waiting.append(name.encode())
            if len(waiting) == _AT_ONCE:
                num_bytes += _put(text, ends, waiting, num_bytes, digest)
                num += len(waiting)
                waiting.clear()
        num_bytes += _put(text, ends, waiting, num_bytes, digest)
        num += len(waiting)
    manifest = _Manifest(num=num, num_bytes=num_bytes, sha256=digest.hexdigest())
    write_json(folder / MANIFEST, manifest)


def _put(
    text: IO[bytes], ends: IO[bytes], names: list[bytes], before: int, digest: hashlib._Hash
) -> int:
    """Write names; how many bytes they are."""
    lengths: NDArray[np.uint64] = np.array([len(name) for name in names], dtype=_END)
    places = (lengths.cumsum(dtype=_END) + np.uint64(before)).astype(_END).tobytes()
    content = b"".join(names)
    text.write(content)
    ends.write(places)
    digest.update(places + content)
    return len(content)
