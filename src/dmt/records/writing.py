"""How a file gets to the disk: whole or not at all, safe from power loss. Not what is in it.

Every step is a point of `faults`, where a test can end the process.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from dmt import faults
from dmt.errors import RunError
from dmt.escapes import visible

_LONGEST = 200  # bytes of a name that still leave room for what a temporary one adds
_TEMPORARY = re.compile(r"\..+\.\d+\.tmp", re.DOTALL)
# Folders that cannot be synced, as on some network drives; anything else is a real failure.
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM, errno.EISDIR}


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that replaces `path` at the end, or leaves it as it was.

    A temporary file beside it, fsync, rename, fsync of the folder: at every moment the disk holds
    the old content or the new.

    Raises:
        RunError: the disk is full or may not be written.
    """
    name = path.name
    temporary = path.with_name(f".{_short(name)}.{os.getpid()}.tmp")
    try:
        try:
            with temporary.open("wb") as file:
                faults.reached(f"{name} opened")
                yield file
                file.flush()
                faults.reached(f"{name} written")
                os.fsync(file.fileno())
            faults.reached(f"{name} synced")
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        faults.reached(f"{name} renamed")
        sync_folder(path.parent)
        faults.reached(f"{name} kept")
    except OSError as error:
        raise _cannot_write(path, error) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` whole or not at all; see `whole_file`."""
    with whole_file(path) as file:
        _write(file, content, f"{path.name} half")


def write_text(path: Path, text: str) -> None:
    """`write_bytes` for UTF-8 text."""
    write_bytes(path, text.encode())


def append_line(path: Path, line: bytes) -> None:
    """Add a line to a file that only grows; what a crash left of another line is dropped first.

    Raises:
        RunError: the disk is full or may not be written.
    """
    try:
        with path.open("ab+") as file:
            faults.reached(f"{path.name} opens")
            _cut_unfinished_line(file)
            _write(file, line, f"{path.name} half")
        faults.reached(f"{path.name} appended")
    except OSError as error:
        raise _cannot_write(path, error) from error


def cut_file(path: Path, num_bytes: int) -> None:
    """Shorten a file.

    Raises:
        RunError: it may not be written.
    """
    faults.reached(f"{path.name} cuts")
    try:
        os.truncate(path, num_bytes)
    except OSError as error:
        raise RunError(
            f"cannot write {path}: {error.strerror or error}; check its permissions, then resume"
        ) from error
    faults.reached(f"{path.name} cut")


def sync_file(path: Path) -> None:
    """Make all that was written to a file, and its name, survive a power loss.

    Raises:
        RunError: the disk refuses.
    """
    try:
        # For writing, as some systems sync nothing through a handle that only reads.
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        sync_folder(path.parent)
    except OSError as error:
        raise _cannot_write(path, error) from error
    faults.reached(f"{path.name} synced")


def sync_folder(folder: Path) -> None:
    """Make what was named and renamed in `folder` survive a power loss, where folders allow it.

    Raises:
        OSError: the disk failed.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        if error.errno in _NO_SYNC:
            return
        raise
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(handle)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, so that their names survive a power loss.

    Raises:
        OSError: it cannot be made.
    """
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for each in reversed(missing):
        sync_folder(each.parent)
    if missing:
        faults.reached("folder made")


def is_temporary(name: str) -> bool:
    """Whether a file is what a crash left of `whole_file`."""
    return _TEMPORARY.fullmatch(name) is not None


def sweep(folder: Path) -> None:
    """Remove what crashes left below a folder; what a living process writes, stays."""
    for path in folder.rglob(".*.tmp"):
        if is_temporary(path.name) and not _is_alive(int(path.name.split(".")[-2])):
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _write(file: IO[bytes], content: bytes, halfway: str) -> None:
    # In two goes only where a test asks for a file that was cut off.
    first = len(content) // 2 if faults.is_next(halfway) else len(content)
    file.write(content[:first])
    file.flush()
    faults.reached(halfway)
    file.write(content[first:])


def _cut_unfinished_line(file: IO[bytes]) -> None:
    """Drop what a crash left after the last line break, so that the next line is one of its own."""
    end = size = file.seek(0, os.SEEK_END)
    while end:
        file.seek(end - 1)
        if file.read(1) == b"\n":
            break
        end -= 1
    if end < size:
        file.truncate(end)


def _cannot_write(path: Path, error: OSError) -> RunError:
    cure = {
        errno.ENOENT: f"make the folder {visible(str(path.parent))} first",
        errno.ENOTDIR: "name a file in a folder",
        errno.EISDIR: "name a file in it",
        errno.ENAMETOOLONG: "give it a shorter name",
    }.get(
        error.errno or 0,
        "free some space or check the folder's permissions, then "
        "repeat the command or resume the run",
    )
    return RunError(f"cannot write {visible(str(path))}: {error.strerror or error}; {cure}")


def _short(name: str) -> str:
    content = os.fsencode(name)
    return name if len(content) <= _LONGEST else hashlib.sha256(content).hexdigest()[:16]
