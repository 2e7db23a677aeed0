"""Unlabeled images from another place than a data set's own: a folder, a list, tar shards.

Their names and places are held in memory; pools that do not fit there are `data.pools`'.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dmt.data.catalog import UNLABELED, Catalog, Elsewhere, Part
from dmt.data.decode import shown
from dmt.data.pools import local, names_in, open_shards, root_of
from dmt.data.pools.items import BigPool
from dmt.data.pools.listed import Folder
from dmt.data.pools.parquet_shards import ParquetShard
from dmt.data.pools.places import is_remote
from dmt.data.pools.tar_shards import TarShard
from dmt.errors import DataError


class Files:
    """Images that are files, wherever they are."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    def file(self, number: int) -> Path:
        """See `Elsewhere.file`."""
        return self._files[number]

    def num_bytes(self, number: int) -> int:
        """See `Elsewhere.num_bytes`."""
        return os.stat(self._files[number]).st_size

    def content(self, number: int) -> bytes | None:
        """See `Elsewhere.content`: they are whole files."""
        return None


class Members:
    """Images inside tars on this machine: 20 bytes each, read where they lie."""

    def __init__(self, tars: Sequence[Path], places: NDArray[np.int64]) -> None:
        """Take the files, and int64 (N, 3): number of the tar, first byte, bytes."""
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
        path = self.file(number)
        try:
            with path.open("rb", buffering=0) as file:
                content = os.pread(file.fileno(), num_bytes, offset)
        except OSError as error:
            raise DataError(f"{shown(path)} cannot be read: {error.strerror}") from error
        if len(content) != num_bytes:
            raise DataError(f"{shown(path)} is shorter than it was: put it back as it was")
        return content


def with_unlabeled(catalog: Catalog, address: str | None, *, follow_links: bool = False) -> Catalog:
    """A catalog and the unlabeled images of another place behind its own.

    Args:
        catalog: of images with one label each, in files.
        address: a folder, a list, tar shards or a Parquet of paths, as `data.pools` knows them,
            on this machine; None: nothing is added.
        follow_links: whether links and paths may leave that place.

    Raises:
        DataError: there is no such place or no image in it, it is on another machine or in a form
            that is not read image by image, or the catalog cannot be added to.
    """
    if address is None:
        return catalog
    if catalog.root is None or catalog.masks is not None:
        raise DataError(
            f"data.unlabeled={shown(address)} is for images with one label each, in files, and "
            f"{catalog.name} is none such; leave it out"
        )
    if is_remote(address):
        raise DataError(
            f"data.unlabeled={shown(address)} is not on this machine: copy it first (`dmt label` "
            "reads it where it is)"
        )
    names, elsewhere = _gathered(address, follow_links)
    if not names:
        raise DataError(f"there is no image in data.unlabeled={shown(address)}")
    paths = (*catalog.paths, *names)
    if len(set(paths)) != len(paths):
        twin = next(path for path, num in Counter(paths).items() if num > 1)
        raise DataError(f"{shown(twin)} is there twice with data.unlabeled; rename one of the two")
    return replace(
        catalog,
        paths=paths,
        labels=np.concatenate([catalog.labels, np.full(len(names), UNLABELED)]),
        parts=np.concatenate([catalog.parts, np.full(len(names), Part.TRAIN, np.uint8)]),
        problems=tuple(each for each in catalog.problems if each.kind != "no-unlabeled"),
        elsewhere=elsewhere,
    )


def _gathered(address: str, follow_links: bool) -> tuple[list[str], Elsewhere]:
    """Names, which begin with that of the place, and the images."""
    pool = open_shards(address, follow_links=follow_links)
    if pool is None:
        path = local(address)
        folder = Folder(str(root_of(path)), follow_links)
        names = list(names_in(path, follow_links=follow_links))
        files = Files([folder.locate(name) for name in names])
        return [f"{path.name}/{name}" for name in names], files
    return _of_tars(pool) if pool.kind == "tar" else _of_tables(pool)


def _of_tars(pool: BigPool) -> tuple[list[str], Elsewhere]:
    names: list[str] = []
    tars: list[Path] = []
    places: list[tuple[int, int, int]] = []
    for number, shard in enumerate(pool.shards):
        assert isinstance(shard, TarShard), "a pool of tars"
        tars.append(local(shard.place.address))
        for name, offset, num_bytes in shard.places():
            names.append(f"{shard.name}/{name}")
            places.append((number, offset, num_bytes))
    return names, Members(tars, np.array(places, dtype=np.int64).reshape(-1, 3))


def _of_tables(pool: BigPool) -> tuple[list[str], Elsewhere]:
    names: list[str] = []
    files: list[Path] = []
    for shard in pool.shards:
        assert isinstance(shard, ParquetShard), "a pool of tables"
        for item in shard.items():
            if isinstance(item.content, DataError):
                raise item.content
            if not isinstance(item.content, Path):
                raise DataError(
                    f"{shown(shard.place.address)} holds the images themselves, which training "
                    "cannot read one by one there: write them as tar shards, or as files"
                )
            names.append(f"{shard.place.name}/{item.key}")
            files.append(item.content)
    return names, Files(files)
