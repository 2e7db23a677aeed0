"""Finding image files below a folder, and how far links may lead. No file is opened here."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dmt.data.decode import is_image, shown
from dmt.errors import DataError

# Links inside a set may lead to one folder over several ways, but ways can double at every level:
# forty folders of two links each would be a walk without an end.
_MOST_WAYS = 16
COPIES = "labels-corrected"  # with a number behind it from the second on
_COPIES = re.compile(rf"{COPIES}(-[0-9]+)?")
_CURE = "put the files themselves there, or allow it with data.follow_links=true"


@dataclass(frozen=True)
class Listing:
    """What lies below a folder, hidden names left out; relative POSIX paths, sorted.

    Attributes:
        images: files with a suffix in `decode.IMAGE_SUFFIXES`.
        others: every other file.
        folders: every folder, empty ones too.
        hidden: folders that hold images and whose name begins with a dot; they are not entered.
    """

    images: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)


def image_paths(
    folder: str | Path, root: str | Path | None = None, *, follow_links: bool = False
) -> list[str]:
    """The images below `folder`, at any depth.

    Args:
        folder: where to look.
        root: what the paths are relative to, and what no link may leave (default: `folder`).
        follow_links: whether links may leave it all the same.

    Returns:
        Relative POSIX paths, sorted.

    Raises:
        DataError: as `walk`.
    """
    return walk(folder, root, follow_links=follow_links).images


def walk(
    folder: str | Path, root: str | Path | None = None, *, follow_links: bool = False
) -> Listing:
    """List all files and folders below `folder`, by suffix alone: no file is opened.

    Args:
        folder: where to look.
        root: what the paths are relative to, and what no link may leave (default: `folder`).
        follow_links: whether links may leave it all the same.

    Returns:
        The listing. Links to folders inside `root` are followed.

    Raises:
        DataError: a folder cannot be read, a link leaves `root`, leads into a circle or makes too
            many ways to one folder, or a name is not valid UTF-8.
    """
    found = Listing()
    for each in walk_folders(folder, root, follow_links=follow_links):
        for names, more in zip(_columns(found), _columns(each), strict=True):
            names += more
    for names in _columns(found):
        names.sort()
    return found


def walk_folders(
    folder: str | Path, root: str | Path | None = None, *, follow_links: bool = False
) -> Iterator[Listing]:
    """`walk`, one folder at a time: what lies directly in each, in an order of their names.

    So memory is that of the largest folder.
    """
    top = Path(folder)
    base = top if root is None else Path(root)
    real_top = os.path.realpath(top)
    limit = None if follow_links else os.path.realpath(base)
    refuse_outside(top, limit, real_top)
    prefix = "" if top == base else top.relative_to(base).as_posix() + "/"
    ways: Counter[str] = Counter()
    stack: list[tuple[str, str, tuple[str, ...]]] = [(str(top), prefix, (real_top,))]
    while stack:
        location, prefix, ancestors = stack.pop()
        ways[ancestors[-1]] += 1
        if ways[ancestors[-1]] > _MOST_WAYS:
            raise DataError(
                f"links lead to the folder {shown(ancestors[-1])} over more than {_MOST_WAYS} "
                "ways: remove some of them"
            )
        found, inner = Listing(), list[tuple[str, str, tuple[str, ...]]]()
        try:
            with os.scandir(location) as entries:
                for entry in entries:
                    if not entry.name.startswith("."):
                        _sort_in(entry, prefix, ancestors, limit, found, inner)
                    elif _is_hiding_images(entry):
                        found.hidden.append(prefix + entry.name)
        except OSError as error:
            raise DataError(
                f"the folder {shown(location)} cannot be read ({error.strerror}): "
                "check that it exists and that you may read it"
            ) from error
        stack += sorted(inner, reverse=True)
        for names in _columns(found):
            names.sort()
        yield found


def _columns(listing: Listing) -> tuple[list[str], ...]:
    return listing.images, listing.others, listing.folders, listing.hidden


def refuse_outside(path: str | Path, limit: str | None, real: str | None = None) -> None:
    """Raise DataError if `path` leads out of the data folder by a link on its way.

    Args:
        path: of a file or folder.
        limit: the data folder, resolved; None allows everything.
        real: `path`, resolved, where that is known.
    """
    if limit is None:
        return
    real = os.path.realpath(path) if real is None else real
    if real != limit and not real.startswith(limit.rstrip(os.sep) + os.sep):
        raise DataError(
            f"the link {shown(path)} leaves the data folder (it leads to {shown(real)}): {_CURE}"
        )


def is_of_copies(name: str) -> bool:
    """Whether a folder in a data folder holds what `dmt apply` copied there, and so is no class."""
    return _COPIES.fullmatch(name) is not None


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one; a link that leads nowhere is none."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or into a folder that may not be read
        return False


def _is_hiding_images(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder with an image directly in it. No link is followed, and what
    cannot be read hides nothing: hidden folders are other programs'."""
    try:
        if not entry.is_dir(follow_symlinks=False):
            return False
        with os.scandir(entry.path) as inside:
            return any(is_image(each.name) for each in inside)
    except OSError:
        return False


def _sort_in(
    entry: os.DirEntry[str],
    prefix: str,
    ancestors: tuple[str, ...],
    limit: str | None,
    found: Listing,
    stack: list[tuple[str, str, tuple[str, ...]]],
) -> None:
    name = entry.name
    relative = prefix + name
    if not name.isascii():
        refuse_bad_name(relative)
    is_link, has_folder = entry.is_symlink(), is_folder(entry)
    has_suffix = not has_folder and is_image(name)
    real = ""
    if is_link and (has_folder or has_suffix):
        real = os.path.realpath(entry.path)
        refuse_outside(entry.path, limit, real)
        if real in ancestors:
            raise DataError(
                f"the link {shown(entry.path)} leads back to a folder that holds it: remove it"
            )
    if has_folder:
        found.folders.append(relative)
        real = real or os.path.join(ancestors[-1], name)
        stack.append((entry.path, relative + "/", (*ancestors, real)))
    elif has_suffix and (os.path.isfile(entry.path) if is_link else entry.is_file()):
        found.images.append(relative)
    elif has_suffix and is_link:
        raise DataError(
            f"the link {shown(entry.path)} leads to no file: remove it or restore its target"
        )
    else:
        found.others.append(relative)


def refuse_bad_name(path: str) -> None:
    """Raise DataError if a path has bytes that are no UTF-8, and so can be kept in no record."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raise DataError(f"the file name {path!a} is not valid UTF-8: rename it") from None
