"""What the values of a set's masks mean, found by looking at `classes.txt` and at the masks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from dmt.core import IGNORE_INDEX
from dmt.data.catalog import Problem
from dmt.data.decode import shown
from dmt.data.layouts.class_names import FILE, ClassList, read_class_list
from dmt.data.mask_files import MAX_CLASSES, WRONG, Coding, read_raw
from dmt.errors import DataError

_CHUNK = 16  # masks a task
_ONLY_BLACK_AND_WHITE = frozenset({0, 255})
# Black is class 0 and white class 1; between them there is nothing.
_BLACK_AND_WHITE = (0, *[WRONG] * 254, 1)


def find_coding(
    root: Path, masks: Sequence[str], *, follow_links: bool = False
) -> tuple[tuple[str, ...], Coding, list[Problem]]:
    """The classes of a set and how its masks are to be read.

    Masks are opened only where that is needed: all of them where no `classes.txt` names the
    classes, and where it names two, until one holds more than 0 and 255.

    Args:
        root: the data folder.
        masks: paths of all masks, relative to it.
        follow_links: whether `classes.txt` may be a link that leaves it.

    Raises:
        DataError: `classes.txt` cannot be used, a mask that was opened cannot be read, or there
            is no `classes.txt` and the masks hold one value, or one above 254.
    """
    listed = read_class_list(root, follow_links=follow_links)
    if listed is None:
        return _unnamed(root, masks)
    coding = Coding(
        len(listed.names), _values(root, masks, listed), listed.colors, listed.void_colors, FILE
    )
    return listed.names, coding, []


def _values(root: Path, masks: Sequence[str], listed: ClassList) -> tuple[int, ...] | None:
    if len(listed.names) == 2:
        seen: set[int] = set()
        for values in _values_of(root, masks, listed.colors is not None):
            seen |= values
            if not seen <= _ONLY_BLACK_AND_WHITE:
                break
        if seen <= _ONLY_BLACK_AND_WHITE and 255 in seen:
            return _BLACK_AND_WHITE
    is_plain = listed.values == tuple(range(len(listed.names)))
    return None if is_plain else listed.values


def _unnamed(root: Path, masks: Sequence[str]) -> tuple[tuple[str, ...], Coding, list[Problem]]:
    seen = set[int]().union(*_values_of(root, masks, has_colors=False))
    if seen == _ONLY_BLACK_AND_WHITE:
        names: tuple[str, ...] = ("background", "foreground")
        meaning = "masks hold 0 and 255 alone, taken for background and foreground"
        return names, Coding(2, _BLACK_AND_WHITE), [_no_names(meaning)]
    values = sorted(seen - {IGNORE_INDEX})
    if len(values) < 2:
        held = f"nothing but the value {values[0]}" if values else "nothing but pixels left out"
        raise DataError(
            f"the masks in {shown(root)} hold {held}: draw at least two classes, or name the "
            f"classes in {FILE}"
        )
    if values[0] < 0 or values[-1] >= MAX_CLASSES:
        wrong = values[0] if values[0] < 0 else values[-1]
        raise DataError(
            f"the masks in {shown(root)} hold the value {wrong}, but classes are 0 to "
            f"{MAX_CLASSES - 1}: save masks as index PNG"
        )
    names = tuple(str(value) for value in range(values[-1] + 1))
    if len(values) < len(names):
        listed = ", ".join(str(value) for value in values[:10]) + ", …" * (len(values) > 10)
        raise DataError(
            f"the masks in {shown(root)} hold the values {listed} and none between: name the "
            f"classes in {FILE}, a line for every value from 0 on, or save masks with the values "
            f"0 to {len(values) - 1}"
        )
    meaning = f"the masks' values 0 to {names[-1]} are taken for the classes"
    return names, Coding(len(names)), [_no_names(meaning)]


def _no_names(meaning: str) -> Problem:
    return Problem("no-class-names", "", f"there is no {FILE}: {meaning}")


def _values_of(root: Path, masks: Sequence[str], has_colors: bool) -> Iterator[set[int]]:
    """The values of the index masks, some masks at a time; colour pictures are passed over."""

    def look(start: int) -> set[int]:
        found: set[int] = set()
        for path in masks[start : start + _CHUNK]:
            values = read_raw(root / path, has_colors).values
            if values.ndim == 3:
                continue
            if values.dtype == np.uint8:
                found.update(np.flatnonzero(np.bincount(values.ravel())).tolist())
            else:
                found.update(np.unique(values).tolist())
        return found

    executor = ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="dmt-decode")
    try:
        yield from executor.map(look, range(0, len(masks), _CHUNK))
    finally:  # also when the caller has seen enough
        executor.shutdown(wait=True, cancel_futures=True)
