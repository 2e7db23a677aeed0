"""`classes.txt`: the names of a segmentation's classes, and their colours where masks are pictures.

Whether the masks keep to it is found out elsewhere.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from dmt.data.decode import shown
from dmt.data.layouts.list_files import read_text
from dmt.data.mask_files import MAX_CLASSES, Color
from dmt.errors import DataError

FILE = "classes.txt"
_VOID = frozenset({"void", "ignore", "ignored", "unlabeled", "unlabelled"})
_HEX = re.compile(r"(.*?)[\s,;:]+#([0-9a-fA-F]{6})")
_RGB = re.compile(r"(.*?)[\s,;:]+(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})")


@dataclass(frozen=True)
class ClassList:
    """What `classes.txt` says.

    Attributes:
        names: of the classes, without the lines that name what is left out.
        values: class (or 255) of every line, in order: what a value in an index mask means.
        colors: RGB of every class; None where a class has none.
        void_colors: RGB of what is left out.
    """

    names: tuple[str, ...]
    values: tuple[int, ...]
    colors: tuple[Color, ...] | None
    void_colors: tuple[Color, ...]


def read_class_list(root: Path, *, follow_links: bool = False) -> ClassList | None:
    """Read `classes.txt` in `root`; None where there is none.

    One name a line, optionally followed by a colour (`128 64 128` or `#804080`); blank lines and
    lines that begin with `#` are passed over. A line named void, ignore or unlabeled is no class.

    Raises:
        DataError: it names fewer than two classes or more than 255, a name or a colour twice, or
            a line is not understood, or the file is a link that leaves `root` and may not.
    """
    path = root / FILE
    text = read_text(path, root, follow_links=follow_links)
    if text is None:
        return None
    entries = [
        (number, *_entry(path, number, line.strip()))
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    _refuse_twice(path, [(number, name) for number, name, _ in entries])
    _refuse_twice(path, [(number, color) for number, _, color in entries if color is not None])
    is_void = [name.casefold() in _VOID for _, name, _ in entries]
    names = [name for (_, name, _), void in zip(entries, is_void, strict=True) if not void]
    _check_number(path, names)
    values: list[int] = []
    for void in is_void:
        values.append(255 if void else sum(value < 255 for value in values))
    colors = [color for (*_, color), void in zip(entries, is_void, strict=True) if not void]
    known = tuple(color for color in colors if color is not None)
    void_colors = [color for (*_, color), void in zip(entries, is_void, strict=True) if void]
    return ClassList(
        tuple(names),
        tuple(values),
        known if len(known) == len(names) else None,
        tuple(color for color in void_colors if color is not None),
    )


def _entry(path: Path, number: int, line: str) -> tuple[str, Color | None]:
    color: Color | None = None
    if match := _HEX.fullmatch(line):
        line, digits = match.group(1), match.group(2)
        color = (int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16))
    elif match := _RGB.fullmatch(line):
        line = match.group(1)
        color = (int(match.group(2)), int(match.group(3)), int(match.group(4)))
        if max(color) > 255:
            raise DataError(
                f"{shown(path)}, line {number}: a colour is three numbers from 0 to 255: correct it"
            )
    name = unicodedata.normalize("NFC", line.strip())
    if not name:
        raise DataError(f"{shown(path)}, line {number}: there is no name before the colour: add it")
    return name, color


def _refuse_twice(path: Path, entries: list[tuple[int, str]] | list[tuple[int, Color]]) -> None:
    first: dict[object, int] = {}
    for number, entry in entries:
        before = first.setdefault(entry, number)
        if before != number:
            what = f"the name {shown(entry)}" if isinstance(entry, str) else f"the colour {entry}"
            raise DataError(
                f"{shown(path)} has {what} on the lines {before} and {number}: "
                "every class needs its own"
            )


def _check_number(path: Path, names: list[str]) -> None:
    if not names:
        raise DataError(f"{shown(path)} names no class: write one name a line")
    if len(names) == 1:
        raise DataError(
            f"{shown(path)} names one class only ({shown(names[0])}): name the background too, "
            "in the order of the masks' values"
        )
    if len(names) > MAX_CLASSES:
        raise DataError(
            f"{shown(path)} names {len(names)} classes, more than {MAX_CLASSES}: merge some"
        )
