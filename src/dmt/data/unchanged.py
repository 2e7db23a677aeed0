"""Files that must stay as they are while a run reads them again. What is in them is not known."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dmt.data.decode import shown
from dmt.errors import DataError

Read = Callable[[int], NDArray[np.uint8]]


def watched(read: Read, place: Callable[[int], str | Path], num: int) -> Read:
    """`read` that refuses a file which has vanished or changed since it was read first.

    Told by its size and its time of change, which cost a look and no reading. So a file that was
    touched and not changed is refused too; the run then goes on by a resume, which knows contents.

    Args:
        read: from an id to an array, by one file; called from several threads at once.
        place: from an id to that file.
        num: how many ids there are.
    """
    known = np.full((num, 2), -1, dtype=np.int64)

    def look(id_: int) -> NDArray[np.uint8]:
        path = place(id_)
        is_first = known[id_, 0] < 0
        try:
            found = os.stat(path)
        except OSError as error:
            if is_first:
                return read(id_)  # which says what is wrong
            raise DataError(
                f"{shown(path)} has vanished since this run read it first ({error.strerror})"
            ) from error
        now = found.st_size, found.st_mtime_ns
        if not is_first and tuple(known[id_].tolist()) != now:
            raise DataError(f"{shown(path)} has changed since this run read it first")
        array = read(id_)
        known[id_] = now
        return array

    return look
