"""Pools to train on, in each form they have: their names, and an image by its number.

What is small is held in memory, what is large lies in an index of `large`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from dmt.data.catalog import Elsewhere, Print
from dmt.data.decode import shown
from dmt.data.pools import local, names_in, open_shards, root_of
from dmt.data.pools.copies import Progress, copied
from dmt.data.pools.large import (
    LargeFiles,
    LargeMembers,
    index_for,
    key_of,
    read_member,
)
from dmt.data.pools.listed import Folder
from dmt.data.pools.parquet_shards import ParquetShard
from dmt.data.pools.path_index import PathIndex
from dmt.data.pools.places import is_remote
from dmt.data.pools.prints import print_of, prints_of_names
from dmt.data.pools.rows import Rows
from dmt.data.pools.tar_shards import TarShard
from dmt.errors import DataError

Image = tuple[str, Any]
"""A name, and what `small` takes: a path, three numbers (tar, first byte, bytes), or nothing."""


class TrainingPlace(Protocol):
    """A place with unlabeled images."""

    prefix: str  # of names
    damage: list[str]  # what had to be left out of what `images` has gone over, in sentences

    def index(self) -> Path | None:
        """Where its index is or is to be; None where only the names can tell."""
        ...

    def images(self) -> Iterator[Image]:
        """All of them, in order.

        Raises:
            DataError: it cannot be read.
        """
        ...

    def small(self, images: Sequence[Image]) -> Elsewhere:
        """The images of a small pool."""
        ...

    def large(self, index: Path, names: PathIndex) -> Elsewhere:
        """The images of a pool whose index is there."""
        ...


def place_of(
    address: str, follow_links: bool, is_skipping: bool, progress: Progress | None = None
) -> TrainingPlace:
    """The place that an address means; of one elsewhere, its copy on this machine.

    Args:
        address: as `open_shards` takes it.
        follow_links: whether links and paths may leave it.
        is_skipping: go on without the rest of a tar that is damaged.
        progress: told of the copying.

    Raises:
        DataError: there is none, or it cannot be read.
        EnvironmentFault: fsspec, or its package for this scheme, is missing.
        RunError: it cannot be copied.
    """
    there = str(copied(address, progress)) if is_remote(address) else address
    pool = open_shards(there, shard_size=1, follow_links=follow_links)
    if pool is None:
        return _Listed(local(there), follow_links)
    if pool.kind == "tar":
        tars = [each for each in pool.shards if isinstance(each, TarShard)]
        return _Tars(tars, is_skipping)
    tables = [each for each in pool.shards if isinstance(each, ParquetShard)]
    if tables[0].holds_bytes():
        return _Tables(tables)
    if is_remote(address):
        raise DataError(
            f"{shown(address)} holds paths, and only images are copied from elsewhere: pack them "
            "into the table or into tars"
        )
    return _PathTables(tables)


class Files:
    """Images that are files, wherever they are."""

    prints: Sequence[Print] | None = None
    damage: Sequence[str] = ()

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    def file(self, number: int) -> Path:
        """See `Elsewhere.file`."""
        return self._files[number]

    def num_bytes(self, number: int) -> int:
        """See `Elsewhere.num_bytes`."""
        return self._files[number].stat().st_size

    def content(self, number: int) -> bytes | None:
        """See `Elsewhere.content`: they are whole files."""
        return None


class Members:
    """Images inside tars on this machine: 24 bytes each, read where they lie."""

    prints: Sequence[Print] | None = None

    def __init__(
        self, tars: Sequence[Path], places: NDArray[np.int64], damage: Sequence[str]
    ) -> None:
        """Take the files, int64 (N, 3): number of the tar, first byte, bytes; and what to say."""
        self.damage = damage
        self._tars = tars
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    def file(self, number: int) -> Path:
        """See `Elsewhere.file`."""
        return self._tars[int(self._places[number, 0])]

    def num_bytes(self, number: int) -> int:
        """See `Elsewhere.num_bytes`."""
        return int(self._places[number, 2])

    def content(self, number: int) -> bytes | None:
        """See `Elsewhere.content`."""
        _, offset, num_bytes = self._places[number].tolist()
        return read_member(self.file(number), offset, num_bytes)


class _Listed:
    """A folder, or a list."""

    def __init__(self, path: Path, follow_links: bool) -> None:
        self.prefix = f"{path.name}/"
        self.damage: list[str] = []
        self._path = path
        self._follow_links = follow_links
        self._folder = Folder(str(root_of(path)), follow_links)

    def index(self) -> Path | None:
        """See `TrainingPlace.index`: what is in a folder is only known when it was gone through."""
        if self._path.is_dir():
            return None
        try:
            with self._path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DataError(f"{shown(self._path)} cannot be read: {error.strerror}") from error
        return index_for(f"list{self._path.suffix.lower()}\n{content}")

    def images(self) -> Iterator[Image]:
        """See `TrainingPlace.images`."""
        return ((name, ()) for name in names_in(self._path, follow_links=self._follow_links))

    def small(self, images: Sequence[Image]) -> Elsewhere:
        """See `TrainingPlace.small`."""
        return Files([self._folder.locate(name) for name, _ in images])

    def large(self, index: Path, names: PathIndex) -> Elsewhere:
        """See `TrainingPlace.large`."""
        prints = list(prints_of_names(names, self._folder.locate))
        return LargeFiles(names, self._folder.locate, prints)


class _Tars:
    """Tar shards."""

    prefix = ""

    def __init__(self, shards: Sequence[TarShard], is_skipping: bool) -> None:
        self.damage: list[str] = []
        self._shards = shards
        self._is_skipping = is_skipping
        self._tars = [local(each.place.address) for each in shards]
        self._prints = [
            print_of(path, each.name) for path, each in zip(self._tars, shards, strict=True)
        ]

    def index(self) -> Path | None:
        """See `TrainingPlace.index`."""
        kind = "tar, without what is damaged" if self._is_skipping else "tar"
        return index_for(key_of(kind, self._prints))

    def images(self) -> Iterator[Image]:
        """See `TrainingPlace.images`."""
        for number, shard in enumerate(self._shards):
            try:
                for name, offset, num_bytes in shard.places():
                    yield f"{shard.name}/{name}", (number, offset, num_bytes)
            except DataError as error:
                if not self._is_skipping:
                    raise
                self.damage.append(f"left out the rest of a shard: {error}")

    def small(self, images: Sequence[Image]) -> Elsewhere:
        """See `TrainingPlace.small`."""
        places = np.array([place for _, place in images], dtype=np.int64)
        return Members(self._tars, places, self.damage)

    def large(self, index: Path, names: PathIndex) -> Elsewhere:
        """See `TrainingPlace.large`."""
        return LargeMembers(index, self._tars, self._prints)


class _Parquet:
    """What both kinds of tables share; one of its heirs says what they hold."""

    kind: ClassVar[str]
    prefix = ""

    def __init__(self, groups: Sequence[ParquetShard]) -> None:
        self.damage: list[str] = []
        self._groups = groups
        self._prints = [  # one of each file
            print_of(local(place.address), place.name)
            for place, _ in groupby(groups, key=lambda each: each.place)
        ]

    def index(self) -> Path | None:
        """See `TrainingPlace.index`."""
        return index_for(key_of(self.kind, self._prints))


class _Tables(_Parquet):
    """Tables that hold the images."""

    kind = "parquet"

    def images(self) -> Iterator[Image]:
        """See `TrainingPlace.images`."""
        for group in self._groups:
            yield from ((f"{group.place.name}/{key}", ()) for key in group.names())

    def small(self, images: Sequence[Image]) -> Elsewhere:
        """See `TrainingPlace.small`."""
        return Rows(self._groups)

    def large(self, index: Path, names: PathIndex) -> Elsewhere:
        """See `TrainingPlace.large`."""
        return Rows(self._groups, self._prints)


class _PathTables(_Parquet):
    """Tables that hold paths."""

    kind = "paths"

    def images(self) -> Iterator[Image]:
        """See `TrainingPlace.images`."""
        for group in self._groups:
            for item in group.items():
                if isinstance(item.content, DataError):
                    raise item.content
                if not isinstance(item.content, Path):
                    raise DataError(f"{shown(item.where)} holds an image, where others hold paths")
                yield f"{group.place.name}/{item.key}", item.content

    def small(self, images: Sequence[Image]) -> Elsewhere:
        """See `TrainingPlace.small`."""
        return Files([path for _, path in images])

    def large(self, index: Path, names: PathIndex) -> Elsewhere:
        """See `TrainingPlace.large`."""
        raise DataError(
            f"{shown(self._groups[0].place.address)} names too many files for a table "
            f"({len(names):,}): write the paths into a list (.txt), or raise data.large_pool"
        )
