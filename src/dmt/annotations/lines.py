"""What a person decided, as lines of a correction file or of a labeling tool's. Nothing is checked
against a run here, and nothing is written.
"""

from __future__ import annotations

import csv
import io
import posixpath
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dmt.data.decode import shown
from dmt.errors import DataError

_COLUMNS = {"path", "label", "action"}
_MOST_BYTES = 1 << 30


class Region(NamedTuple):
    """A part of an image that is of one class.

    `draw` makes it bool (H, W) for a height and a width; it raises a ValueError that says what is
    wrong with it.
    """

    label: str
    draw: Callable[[int, int], NDArray[np.bool_]]


class Line(NamedTuple):
    """One decision.

    Attributes:
        where: what a message calls it, such as `line 3`.
        path: of the image, normalised.
        action: a word of `correcting`; one that it does not know is a fault.
        label: a class; of `accept` a network of the run.
        regions: of `mask`, the later above the earlier.
    """

    where: str
    path: str
    action: str
    label: str = ""
    regions: tuple[Region, ...] = ()


class Lines(NamedTuple):
    """What a file says, and what is wrong with it, a few words each."""

    found: list[Line]
    faults: list[str]


def known_path(names: list[str], known: Mapping[str, int]) -> str:
    """The first of some spellings of an image's path that is known; else the first."""
    normal = [posixpath.normpath(name) for name in names]
    return next((name for name in normal if name in known), normal[0])


def read_content(path: Path) -> str:
    """The text of a correction file.

    Raises:
        DataError: it is not there, too large, or no text.
    """
    try:
        if not path.is_file():
            raise DataError(f"there is no file {shown(path)}; save it from the review first")
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"{shown(path)} is too large to be a file of corrections")
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{shown(path)} is not UTF-8 text: save it as CSV UTF-8") from error
    except OSError as error:
        raise DataError(f"{shown(path)} cannot be read: {error.strerror}") from error


def table_lines(path: Path, text: str) -> Lines:
    """The lines of a CSV `path,label,action`; without `action` a label means `label`.

    Raises:
        DataError: it is no such table.
    """
    found = []
    for number, fields in _records(path, text):
        label = unicodedata.normalize("NFC", fields["label"].strip())
        action = fields.get("action", "").strip().lower() or ("label" if label else "keep")
        name = posixpath.normpath(fields["path"])
        found.append(Line(f"line {number}", name, action, label))
    return Lines(found, [])


def _records(path: Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The number of every line and its fields by column."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        if not {"path", "label"} <= set(header) <= _COLUMNS or len(set(header)) != len(header):
            raise DataError(
                f"{shown(path)} starts with {shown(','.join(header)) or 'nothing'}: its first "
                "line must be path,label,action, with commas"
            )
        for fields in reader:
            if not fields:
                continue
            if len(fields) != len(header):
                raise DataError(
                    f"{shown(path)}, line {reader.line_num}: {len(fields)} columns instead of "
                    f"{len(header)}; quote a field that holds a comma"
                )
            yield reader.line_num, dict(zip(header, fields, strict=True))
    except csv.Error as error:
        raise DataError(
            f"{shown(path)}, line {reader.line_num}: not a line of a CSV ({error}); quote fields "
            "that hold commas, quotes or line breaks"
        ) from error
