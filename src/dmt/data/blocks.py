"""Images that belong together: their blocks, the order of a draw, and which image a name means.

All of it is read from paths. Who is held out or keeps a mask is decided in `mask_splits`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dmt.core.random import hashed
from dmt.data.catalog import Catalog, natural_key
from dmt.data.decode import shown
from dmt.errors import DataError, SettingError

Ids = NDArray[np.int64]

_NUM_LISTED = 10  # groups that a message names


class Blocks(NamedTuple):
    """Images that belong together."""

    of: Ids  # (N,), the block of each image
    names: tuple[str, ...]  # of the blocks; no two are the same
    place: Ids  # (N,), where an image stands in the natural order of all paths


class Rest(NamedTuple):
    """Training images with masks that are not held out, in blocks in the order of their hash."""

    bound: list[Ids]  # blocks that hold images of `labeled_list`
    loose: list[Ids]  # all others


def find_blocks(catalog: Catalog, group: str | None, block: int | None) -> Blocks:
    """The blocks of all images, see `mask_splits.block_ids`.

    Raises:
        SettingError: `group` is no regular expression, or `block` is below 1.
        DataError: `group` is not found in a path.
    """
    if block is not None and block < 1:
        raise SettingError(f"data.block={block} must be at least 1 image")
    order = sorted(range(len(catalog)), key=lambda row: natural_key(catalog.paths[row]))
    groups = _groups(catalog, group)
    passed: dict[str, int] = {}  # images of a group so far
    numbers: dict[str, int] = {}  # of the blocks, by their names
    of = np.empty(len(catalog), dtype=np.int64)
    place = np.empty(len(catalog), dtype=np.int64)
    for turn, row in enumerate(order):
        if groups is None and block is None:
            name = catalog.paths[row]
        else:
            name = "" if groups is None else groups[row]
            passed[name] = passed.get(name, -1) + 1
            if block is not None:
                name = f"{name}/{passed[name] // block}"
        of[row] = numbers.setdefault(name, len(numbers))
        place[row] = turn
    return Blocks(of, tuple(numbers), place)


def in_groups(catalog: Catalog, test_group: Sequence[str], group: str | None) -> NDArray[np.bool_]:
    """Which images belong to the groups that are the test part: bool (N,).

    Raises:
        SettingError: a group that is none, or `group` is no regular expression.
        DataError: `group` is not found in a path.
    """
    wanted = frozenset(test_group)
    groups = _groups(catalog, group) if wanted else None
    if groups is None:
        return np.zeros(len(catalog), dtype=np.bool_)
    there = sorted(set(groups), key=natural_key)
    for name in test_group:
        if name not in there:
            listed = ", ".join(shown(each) for each in there[:_NUM_LISTED])
            more = ", …" * (len(there) > _NUM_LISTED)
            raise SettingError(
                f"test_group names {shown(name)!r}, which is no group; there are {listed}{more}"
            )
    return np.array([name in wanted for name in groups], dtype=np.bool_)


def rows_named(catalog: Catalog, rows: Ids, names: Collection[str]) -> Ids:
    """Those of `rows` that `names` means, ascending.

    Args:
        catalog: the data set.
        rows: int64 (N,), among which names are looked for.
        names: relative paths, paths without suffix, or stems.

    Raises:
        SettingError: a name that fits no image or several.
    """
    exact = {catalog.paths[row]: int(row) for row in rows}
    short: dict[str, list[int]] = {}
    for path, row in exact.items():
        for name in {_without_suffix(path), PurePosixPath(path).stem}:
            short.setdefault(name, []).append(row)
    found = set()
    for name in names:
        fits = [exact[name]] if name in exact else short.get(name, [])
        if not fits:
            raise SettingError(
                f"data.labeled_list names {shown(name)}, but no image to train on that has a mask "
                "is called so; give its path in the data folder, or its name without suffix"
            )
        if len(fits) > 1:
            raise SettingError(
                f"data.labeled_list names {shown(name)}, which fits {len(fits)} images, such as "
                f"{shown(catalog.paths[fits[0]])} and {shown(catalog.paths[fits[1]])}; give the "
                "whole path"
            )
        found.add(fits[0])
    return np.array(sorted(found), dtype=np.int64)


def in_hash_order(blocks: Blocks, rows: Ids, listed: Ids, seed: int) -> Rest:
    """The blocks of `rows`; inside a block the natural order of paths."""
    rows = rows[np.argsort(blocks.place[rows])]
    of = blocks.of[rows]
    present = np.unique(of).tolist()
    present.sort(key=lambda each: hashed(seed, "split", blocks.names[each]))
    bound = set(blocks.of[listed].tolist())
    return Rest(
        [rows[of == each] for each in present if each in bound],
        [rows[of == each] for each in present if each not in bound],
    )


def num_from_end(units: list[Ids], wanted: float) -> int:
    """How many whole blocks come nearest to `wanted` images; at least one, if any is wanted."""
    num = total = 0
    for unit in reversed(units):
        is_nearer = abs(total + len(unit) - wanted) < abs(total - wanted)
        if not wanted or (num and not is_nearer):
            break
        num, total = num + 1, total + len(unit)
    return num


def _groups(catalog: Catalog, group: str | None) -> list[str] | None:
    """The group of each image, if there are groups."""
    if group is None:
        return None
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise SettingError(f"data.group={group} is no regular expression: {error}") from error
    groups = []
    for path in catalog.paths:
        found = pattern.search(_without_suffix(path))
        name = None if found is None else found[1 if pattern.groups else 0]
        if name is None:
            raise DataError(
                f"data.group={group} is not found in {shown(path)}: give a regular expression that "
                "fits every image's path without its suffix"
            )
        groups.append(name)
    return groups


def _without_suffix(path: str) -> str:
    return str(PurePosixPath(path).with_suffix(""))
