"""Images of `data.unlabeled` that the data have too: left out of the pool, or copied beside them.

A person gives some of them a label; those become files of the data's own, and are then there twice.
"""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dmt.data.catalog import Catalog
from dmt.data.decode import is_image, shown
from dmt.data.fingerprint import hashes_of
from dmt.data.splits import Ids, Split
from dmt.errors import DataError, RunError
from dmt.records.writing import make_folder, write_bytes

_LONGEST = 120  # bytes of a name


def own_again(catalog: Catalog) -> Ids:
    """The rows from elsewhere whose content an image of the data's own folder has as well.

    Only files of equal length are read. A large pool is not looked through: of it there are none.

    Raises:
        DataError: a file has vanished or cannot be read.
    """
    if catalog.elsewhere is None or catalog.elsewhere.prints is not None:
        return np.zeros(0, dtype=np.int64)
    sizes = np.array([_num_bytes(catalog, row) for row in range(len(catalog))], dtype=np.int64)
    is_own = np.arange(len(catalog)) < catalog.num_own
    rows = np.flatnonzero(np.isin(sizes, np.intersect1d(sizes[is_own], sizes[~is_own])))
    found = hashes_of(catalog, rows.tolist())
    own = {each for row, each in zip(rows.tolist(), found, strict=True) if is_own[row]}
    return np.array([row for row, each in zip(rows.tolist(), found, strict=True)
                     if not is_own[row] and each in own], dtype=np.int64)  # fmt: skip


def without_copies(split: Split, rows: Ids) -> Split:
    """A split in which `rows`, as `own_again` finds them, are in no part."""
    unlabeled = np.setdiff1d(split.unlabeled, rows)
    num = len(split.unlabeled) - len(unlabeled)
    if not num:
        return split
    note = (
        f"{num:,} image{'s' * (num > 1)} of data.unlabeled {'are' if num > 1 else 'is'} in the "
        "data's own folder too, and not taken from the pool"
    )
    return replace(split, unlabeled=unlabeled, notes=(*split.notes, note))


def copy_out(catalog: Catalog, rows: Sequence[int], folder: Path) -> list[str]:
    """Write images from elsewhere as files below a new folder, each by its name in the catalog.

    A name that would leave the folder, be hidden in it or be there twice is a number instead.

    Args:
        catalog: whose last rows are elsewhere.
        rows: those.
        folder: is made; nothing is in it yet.

    Returns:
        The paths of the copies, relative to `folder`.

    Raises:
        DataError: an image cannot be read.
        RunError: a copy cannot be written.
    """
    names: list[str] = []
    taken: set[str] = set()
    for number, row in enumerate(rows, 1):
        name = _name(posixpath.normpath(catalog.paths[row]), catalog.file(row), number, taken)
        file, content = catalog.source(row)
        try:
            written = file.read_bytes() if content is None else content
        except OSError as error:
            raise DataError(f"{shown(file)} cannot be read: {error.strerror}") from error
        try:
            make_folder((folder / name).parent)
        except OSError as error:
            raise RunError(
                f"cannot make the folder {shown((folder / name).parent)}: {error.strerror}; free "
                "some space or check the permissions of the folder above it"
            ) from error
        write_bytes(folder / name, written)
        names.append(name)
    return names


def _num_bytes(catalog: Catalog, row: int) -> int:
    try:
        if row < catalog.num_own:
            return os.stat(catalog.file(row)).st_size
        assert catalog.elsewhere is not None
        return catalog.elsewhere.num_bytes(row - catalog.num_own)
    except OSError as error:
        raise DataError(f"{shown(catalog.file(row))} cannot be read: {error.strerror}") from error


def _name(path: str, file: Path, number: int, taken: set[str]) -> str:
    name = path if is_image(path) else path + file.suffix
    parts = name.split("/")
    is_plain = all(
        part and not part.startswith(".") and "\0" not in part and len(part.encode()) < _LONGEST
        for part in parts
    )
    if not is_plain or _key(name) in taken or any(_key(each) in taken for each in _above(parts)):
        name = f"{number:06d}{os.path.splitext(name)[1]}"
    taken.add(_key(name))
    return name


def _above(parts: Sequence[str]) -> list[str]:
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def _key(name: str) -> str:
    """Equal for names that are one file on some disks, or one line of a label file."""
    return unicodedata.normalize("NFC", name).casefold()
