"""From what a person names to a pool of any size; each kind is read in a file of its own."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from dmt.data.decode import shown
from dmt.data.finding import refuse_bad_name
from dmt.data.pools.items import BigPool, Shard
from dmt.data.pools.listed import file_shards, names_below, names_in_list
from dmt.data.pools.parquet_shards import Columns, parquet_shards
from dmt.data.pools.path_index import MANIFEST, PathIndex, write_index
from dmt.data.pools.places import Place, find_places, is_pattern, is_remote
from dmt.data.pools.tar_shards import TarShard
from dmt.errors import DataError

SHARD_SIZE = 10_000
_LISTS = (".csv", ".txt")
TAR, PARQUET = (".tar",), (".parquet", ".pq")


def open_files(
    address: str, index: Path, *, shard_size: int = SHARD_SIZE, follow_links: bool = False
) -> BigPool:
    """A folder of images, or a list of them, as shards; no image is read.

    Args:
        address: a path. A list is `.txt` with a path a line, or `.csv` with a column `path`.
        index: a folder where the names are kept, once they were gathered; several processes may
            gather them at once.
        shard_size: images a shard.
        follow_links: whether links and paths may leave the folder of the pool.

    Raises:
        DataError: there is no image, or the folder or list cannot be read.
    """
    path = local(address)
    if not (index / MANIFEST).is_file():
        write_index(index, names_in(path, follow_links=follow_links))
    known = PathIndex(index)
    shards = file_shards(known, root_of(path), shard_size, follow_links=follow_links)
    return BigPool("files", _some(shards, address), known.sha256)


def open_shards(
    address: str,
    *,
    shard_size: int = SHARD_SIZE,
    columns: Columns | None = None,
    follow_links: bool = False,
) -> BigPool | None:
    """Tar shards or Parquet; no image is read. None: a folder of images, or a list.

    Args:
        address: a file, a pattern (`pool-{000..099}.tar`, `*`), a folder that holds them, or an
            address that fsspec knows.
        shard_size: rows that a shard of Parquet has at least, if its file has.
        columns: of Parquet.
        follow_links: whether links and paths may leave the folder of the pool.

    Raises:
        DataError: there is no such pool, or none that can be read.
        SettingError: a column that is not there.
        EnvironmentFault: a package is missing.
    """
    refuse_bad_name(address)
    columns = columns or Columns()
    path = local(address)
    is_plain = not is_remote(address) and not is_pattern(address)
    if is_plain and path.is_file() and path.suffix.lower() in _LISTS:
        return None
    places = find_places(address, (*TAR, *PARQUET), follow_links=follow_links)
    tars = [each for each in places if each.name.lower().endswith(TAR)]
    tables = [each for each in places if each.name.lower().endswith(PARQUET)]
    if tars and tables:
        raise DataError(
            f"{shown(address)} holds tar shards and Parquet files: name those that are meant, for "
            "example POOL/*.tar"
        )
    if tars:
        shards = [TarShard(each) for each in tars]
        return BigPool("tar", shards, _digest(tars, [0] * len(tars)))
    if tables:
        found, counts = parquet_shards(tables, columns, shard_size, follow_links=follow_links)
        of_shards = [each.place for each in found]
        return BigPool("parquet", _some(found, address), _digest(of_shards, counts))
    if is_plain and path.is_dir():
        return None
    raise DataError(
        f"{shown(address)} is no pool: give a folder of images, a list of them (.txt, .csv), tar "
        "shards (.tar) or Parquet files"
    )


def local(address: str) -> Path:
    """An address on this machine as a whole path."""
    return Path(os.path.abspath(os.path.expanduser(address)))


def names_in(path: Path, *, follow_links: bool) -> Iterator[str]:
    """The images of a folder, or of a list, by their names."""
    return names_below(path, follow_links=follow_links) if path.is_dir() else names_in_list(path)


def root_of(path: Path) -> Path:
    """What those names are relative to."""
    return path if path.is_dir() else path.parent


def _some(shards: Sequence[Shard], address: str) -> Sequence[Shard]:
    if not shards:
        raise DataError(f"there is no image in {shown(address)}")
    return shards


def _digest(places: Sequence[Place], counts: Sequence[int]) -> str:
    digest = hashlib.sha256()
    for place, num in zip(places, counts, strict=True):
        digest.update(f"{len(place.name)}:{place.name}{place.num_bytes},{num};".encode())
    return digest.hexdigest()
