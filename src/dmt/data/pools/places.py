"""Where a pool's files are: paths, patterns, addresses that fsspec knows; not what they hold."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import IO, Any, NamedTuple

from dmt.data.decode import shown
from dmt.data.finding import refuse_bad_name, refuse_outside
from dmt.errors import DataError, DmtError, EnvironmentFault

_REMOTE = re.compile(r"[a-z][a-z0-9+.-]+(://|::)", re.IGNORECASE)
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MOST_NAMED = 10_000_000  # by a pattern; more is a slip of the keyboard


class Place(NamedTuple):
    """One file of a pool."""

    address: str  # a path, or scheme://…
    name: str  # its last part
    num_bytes: int


def is_remote(address: str) -> bool:
    """Whether an address is for fsspec rather than a path."""
    return _REMOTE.match(address) is not None


def is_pattern(address: str) -> bool:
    """Whether an address stands for several files."""
    if not is_remote(address) and os.path.exists(address):
        return False
    return _RANGE.search(address) is not None or glob.has_magic(address)


def find_places(
    address: str, suffixes: tuple[str, ...], *, follow_links: bool = False
) -> list[Place]:
    """The files that an address stands for, sorted: one, a pattern's, or those in a folder.

    Args:
        address: a path or `scheme://…`, with `*`, `?`, `[…]` and `{000..099}` as wanted.
        suffixes: how the names of the files end, in lower case; a folder's others are passed over.
        follow_links: whether links in a folder may lead out of it.

    Returns:
        Empty for a folder on this machine that holds none.

    Raises:
        DataError: there is none, or one cannot be looked at.
        EnvironmentFault: fsspec, or its package for this scheme, is not there.
    """
    refuse_bad_name(address)
    if is_remote(address):
        found = [place for each in _expanded(address) for place in _remote(each, suffixes)]
    else:
        found = [
            place for each in _expanded(address) for place in _local(each, suffixes, follow_links)
        ]
    if not found and is_remote(address):
        raise DataError(
            f"there is no {' or '.join(suffixes)} at {shown(address)}: correct the address, or "
            "pack loose images into tars"
        )
    if not found and not os.path.isdir(os.path.expanduser(address)):
        raise DataError(f"there is no {shown(address)}: correct the address of the pool")
    return sorted(found)


@contextmanager
def opened_place(place: Place) -> Iterator[IO[bytes]]:
    """The file, to read; seekable.

    Raises:
        DataError: it is missing or cannot be read, here or inside the block.
        EnvironmentFault: as `find_places`.
    """
    remote = is_remote(place.address)
    try:
        if not remote:
            with open(place.address, "rb") as file:
                yield file
        else:
            with _filesystem(place.address).open(_bare(place.address), "rb") as file:
                yield file
    except FileNotFoundError as error:
        raise DataError(f"there is no {shown(place.address)} any more") from error
    except DmtError:
        raise
    except Exception as error:  # each remote file system has errors of its own
        if not (remote or isinstance(error, OSError)):
            raise
        raise DataError(f"{shown(place.address)} cannot be read: {_told(error)}") from error


def version_of(place: Place) -> str:
    """What tells a remote file from what it was, as far as its file system knows.

    Raises:
        DataError: it cannot be asked.
        EnvironmentFault: as `find_places`.
    """
    system = _filesystem(place.address)
    try:
        return f"{place.num_bytes} {system.ukey(_bare(place.address))}"
    except Exception as error:  # as in `opened_place`
        raise DataError(f"{shown(place.address)} cannot be read: {_told(error)}") from error


def _expanded(address: str) -> Iterator[str]:
    """`a-{00..02}.tar` as three names; `*` is left as it is."""
    pieces = _RANGE.split(address)
    ranges = [
        [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]
        for first, last in zip(pieces[1::3], pieces[2::3], strict=True)
    ]
    num = 1
    for each in ranges:
        num *= len(each)
    if not 0 < num <= _MOST_NAMED:
        raise DataError(f"{shown(address)} names {num:,} files: write {{first..last}}")
    for numbers in product(*ranges):
        texts = [*numbers, ""]
        yield "".join(text + number for text, number in zip(pieces[::3], texts, strict=True))


def _local(address: str, suffixes: tuple[str, ...], follow_links: bool) -> Iterator[Place]:
    path = os.path.expanduser(address)
    if os.path.isdir(path):
        limit = None if follow_links else os.path.realpath(path)
        with os.scandir(path) as entries:
            for entry in entries:
                if _is_meant(entry.name, suffixes) and entry.is_file():
                    if entry.is_symlink():
                        refuse_outside(entry.path, limit)
                    refuse_bad_name(entry.path)
                    yield Place(entry.path, entry.name, entry.stat().st_size)
        return
    paths = [path] if os.path.exists(path) or not glob.has_magic(path) else glob.glob(path)
    for each in paths:
        if not os.path.isfile(each):
            raise DataError(f"there is no file {shown(each)}: correct the address of the pool")
        refuse_bad_name(each)
        yield Place(each, os.path.basename(each), os.path.getsize(each))


def _remote(address: str, suffixes: tuple[str, ...]) -> Iterator[Place]:
    system, path = _filesystem(address), _bare(address)
    try:
        if glob.has_magic(path):
            found = list(system.glob(path, detail=True).values())
        elif system.isdir(path):
            found = system.ls(path, detail=True)
        else:
            found = [system.info(path)]
    except FileNotFoundError as error:
        raise DataError(f"there is no {shown(address)}: correct the address of the pool") from error
    except Exception as error:  # as in `opened_place`
        raise DataError(f"{shown(address)} cannot be listed: {_told(error)}") from error
    for entry in found:
        name = str(entry["name"])
        if entry.get("type") == "file" and _is_meant(os.path.basename(name), suffixes):
            whole = str(system.unstrip_protocol(name))
            yield Place(whole, os.path.basename(name), int(entry.get("size") or 0))


def _told(error: Exception) -> str:
    """What went wrong, on one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return shown(" ".join(str(text).split())[:200])


def _is_meant(name: str, suffixes: tuple[str, ...]) -> bool:
    return name.lower().endswith(suffixes) and not name.startswith(".")


def _filesystem(address: str) -> Any:
    try:
        import fsspec
    except ImportError as error:
        raise EnvironmentFault(
            f"{shown(address)} needs the package fsspec, which is not installed; "
            "pip install 'dmt[pools]'"
        ) from error
    try:
        return fsspec.core.url_to_fs(address)[0]
    except ImportError as error:  # says which package
        raise EnvironmentFault(
            f"{shown(address)} needs a package that is not installed: {shown(str(error))}"
        ) from error
    except ValueError as error:
        raise DataError(f"{shown(address)} is no address: {shown(str(error))}") from error


def _bare(address: str) -> str:
    """The address as its own file system takes it."""
    import fsspec

    return str(fsspec.core.url_to_fs(address)[1])
