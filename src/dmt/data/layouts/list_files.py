"""Text files that list images, with their masks or without, one a line. What they mean: elsewhere.

A line is `image` or `image mask`; a path with blanks is quoted, or a tab separates the two.
"""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from dmt.data.decode import shown
from dmt.data.finding import refuse_outside
from dmt.errors import DataError

_WORD = re.compile(r"\"([^\"]*)\"(?!\S)|'([^']*)'(?!\S)|(\S+)")


@dataclass(frozen=True)
class ListLine:
    """One line of a list.

    Attributes:
        file: the list.
        number: of the line, from 1.
        image: as written, without a leading slash, normalised.
        mask: likewise; empty where there is none.
    """

    file: Path
    number: int
    image: str
    mask: str

    def refuse(self, why: str) -> NoReturn:
        """Raise a DataError that names this line."""
        raise DataError(f"{shown(self.file)}, line {self.number}: {why}")


def read_list(path: Path, root: Path, *, follow_links: bool) -> list[ListLine] | None:
    """The lines of a list in order; None where there is no such file.

    Blank lines and those that begin with `#` are passed over; a slash in front of a path is too,
    since lists of VOC are found with one.

    Args:
        path: of the list.
        root: the data folder.
        follow_links: whether the list may be a link that leaves it.

    Raises:
        DataError: the file cannot be read, a line holds more than two paths, or a path leaves
            the data folder.
    """
    text = read_text(path, root, follow_links=follow_links)
    if text is None:
        return None
    lines = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        words = _words(line.strip())
        if len(words) > 2:
            raise DataError(
                f"{shown(path)}, line {number}: {len(words)} paths instead of an image and its "
                "mask: quote paths that hold blanks, or put one tab between the two"
            )
        image, mask = [_normalised(path, number, word) for word in words] + [""] * (2 - len(words))
        lines.append(ListLine(path, number, image, mask))
    return lines


def _words(line: str) -> list[str]:
    if "\t" in line:
        return [word.strip().strip("\"'") for word in line.split("\t") if word.strip()]
    return ["".join(groups) for groups in _WORD.findall(line)]


def _normalised(file: Path, number: int, path: str) -> str:
    normalised = posixpath.normpath(path.lstrip("/"))
    if "\0" in path or normalised.split("/")[0] in ("..", "."):
        raise DataError(
            f"{shown(file)}, line {number}: {shown(path)} is no file in the data folder: write "
            "paths relative to it"
        )
    return normalised


def inside(root: Path, path: str, *, follow_links: bool) -> str:
    """What is wrong with `path`, relative to `root`, as a file to read; empty if nothing is."""
    full = os.path.join(root, path)
    if not os.path.isfile(full):
        hint = "write / instead of \\" if "\\" in path else "paths are relative to the data folder"
        return f"there is no file {shown(path)}: {hint}"
    try:
        refuse_outside(full, None if follow_links else os.path.realpath(root))
    except DataError as error:
        return str(error)
    return ""


def read_text(path: Path, root: Path, *, follow_links: bool) -> str | None:
    """The content of a text file of a data set; None where there is no such file.

    Args:
        path: of the file, UTF-8 with or without a byte order mark.
        root: the data folder.
        follow_links: whether the file may be a link that leaves it.

    Raises:
        DataError: it cannot be read, or leaves the data folder.
    """
    if not path.is_file():
        return None
    refuse_outside(path, None if follow_links else os.path.realpath(root))
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{shown(path)} is not UTF-8 text: save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"{shown(path)} cannot be read: {error.strerror}") from error
