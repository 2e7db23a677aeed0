"""Pools of files: the images below a folder, or those that a list names. An index keeps the names.

A list is text with a path a line, or a CSV whose first column is `path`; paths are relative to
the folder it lies in.
"""

from __future__ import annotations

import csv
import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dmt.data.decode import shown
from dmt.data.finding import refuse_outside, walk_folders
from dmt.data.pools.items import Item
from dmt.data.pools.path_index import PathIndex
from dmt.errors import DataError


class Folder:
    """A folder, and files below it by their paths; others are refused unless links may leave it."""

    def __init__(self, root: str, follow_links: bool) -> None:
        self._root = root
        self._limit = None if follow_links else os.path.realpath(root)
        self._inside = ""  # the folder that was looked at last: neighbours share it

    def locate(self, path: str) -> Path:
        """The file.

        Raises:
            DataError: it lies outside.
        """
        full = os.path.join(self._root, path)
        if self._limit is not None:
            normal = posixpath.normpath(path)
            if "\0" in path or os.path.isabs(path) or normal.split("/", 1)[0] == "..":
                how = "is not relative to" if os.path.isabs(path) else "leaves"
                raise DataError(
                    f"{shown(path)} {how} the folder {shown(self._root)}: write paths relative to "
                    "it, or allow it with data.follow_links=true"
                )
            parent = os.path.dirname(full)
            if parent != self._inside:
                refuse_outside(parent, self._limit)
                self._inside = parent
            if os.path.islink(full):
                refuse_outside(full, self._limit)
        return Path(full)


@dataclass(frozen=True)
class FileShard:
    """Consecutive names of an index."""

    index: PathIndex
    folder: Folder
    start: int
    stop: int

    @property
    def name(self) -> str:
        """See `Shard.name`."""
        return f"images {self.start}…{self.stop - 1}"

    def items(self) -> Iterator[Item]:
        """See `Shard.items`."""
        for name in self.index[self.start : self.stop]:
            try:
                yield Item(name, name, self.folder.locate(name))
            except DataError as error:
                yield Item(name, name, error)


def names_below(folder: Path, *, follow_links: bool) -> Iterator[str]:
    """The images below a folder, folder by folder, sorted in each.

    Raises:
        DataError: as `finding.walk`.
    """
    for listing in walk_folders(folder, follow_links=follow_links):
        yield from listing.images


def names_in_list(path: Path) -> Iterator[str]:
    """The paths that a list names, in its order.

    Raises:
        DataError: it cannot be read, is not UTF-8, or a CSV without a column `path`.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() != ".csv":
                yield from (name for line in file if (name := line.rstrip("\r\n")))
                return
            records = csv.reader(file, strict=True)
            header = [name.strip().lower() for name in next(records, [])]
            if header[:1] != ["path"]:
                raise DataError(
                    f"{shown(path)} starts with {shown(','.join(header)) or 'nothing'}: its first "
                    "line must begin with path"
                )
            yield from (fields[0] for fields in records if fields and fields[0])
    except UnicodeDecodeError as error:
        raise DataError(f"{shown(path)} is not UTF-8 text: save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"{shown(path)} cannot be read: {error.strerror}") from error
    except csv.Error as error:
        raise DataError(f"{shown(path)} is no CSV ({error}): quote fields that hold ,") from error


def file_shards(
    index: PathIndex, root: Path, shard_size: int, *, follow_links: bool
) -> list[FileShard]:
    """An index in parts of `shard_size` names."""
    folder = Folder(str(root), follow_links)
    return [
        FileShard(index, folder, start, min(start + shard_size, len(index)))
        for start in range(0, len(index), shard_size)
    ]
