"""A pool elsewhere, brought to this machine to train on: whole shards, copied once and kept.

Training asks for images in any order, again and again, which a remote store answers slowly; what
only goes over a pool once reads it where it is (`places.opened_place`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock

from dmt.data.decode import shown
from dmt.data.pools import PARQUET, TAR
from dmt.data.pools.large import index_for
from dmt.data.pools.places import Place, find_places, opened_place, version_of
from dmt.errors import DataError, RunError
from dmt.records.writing import make_folder, sweep, whole_file, write_text

Progress = Callable[[int, int], None]

_AT_ONCE = 1 << 20  # bytes


def copied(address: str, progress: Progress | None = None) -> Path:
    """The folder on this machine that holds what an address elsewhere stands for.

    A shard is copied if it is not there or has another version elsewhere, and dropped if it is
    gone there. Several processes of a machine wait for each other here.

    Args:
        address: `scheme://…` of tar shards or Parquet, as `find_places` takes it.
        progress: called with how many shards are done, and of how many.

    Raises:
        DataError: there is none, or one cannot be read.
        EnvironmentFault: fsspec, or its package for this scheme, is missing.
        RunError: the cache is full or may not be written.
    """
    places = find_places(address, (*TAR, *PARQUET))
    names = Counter(each.name for each in places)
    twins = [name for name, num in names.items() if num > 1]
    if twins:
        raise DataError(f"{shown(address)} names two files {shown(twins[0])}: rename one of them")
    folder = index_for(f"copies\n{address}")
    try:
        make_folder(folder)
        with FileLock(folder / ".lock"):
            sweep(folder)
            for path in folder.iterdir():
                if not path.name.startswith(".") and path.name not in names:
                    path.unlink()
            for number, place in enumerate(places, 1):
                _copy(place, folder)
                if progress is not None:
                    progress(number, len(places))
    except (OSError, RunError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        why = getattr(cause, "strerror", None) or error
        raise RunError(
            f"cannot copy {shown(address)} to {shown(folder)}: {why}; free some space there, or "
            "set XDG_CACHE_HOME to a disk with room for the pool"
        ) from error
    return folder


def _copy(place: Place, folder: Path) -> None:
    file, beside = folder / place.name, folder / f".{place.name}.version"
    version = version_of(place)
    if file.is_file() and beside.is_file() and beside.read_text() == version:
        return
    beside.unlink(missing_ok=True)  # so that it never speaks of another copy
    with whole_file(file) as copy:
        for content in _chunks(place):
            copy.write(content)
    write_text(beside, version)


def _chunks(place: Place) -> Iterator[bytes]:
    # In a block of its own: a failure to read is the store's, one to write is this machine's.
    with opened_place(place) as source:
        while content := source.read(_AT_ONCE):
            yield content
