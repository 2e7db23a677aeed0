"""Arrays read once and kept while there is room. What they are is the caller's business."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Read = Callable[[int], NDArray[np.uint8]]


def kept(read: Read, limit: int) -> Read:
    """`read` that keeps what it gave, until `limit` bytes are full; nothing is thrown out again.

    Args:
        read: from an id to an array that nobody changes; called from several threads at once.
        limit: bytes.
    """
    arrays: dict[int, NDArray[np.uint8]] = {}
    lock = threading.Lock()
    num_bytes = 0

    def look(id_: int) -> NDArray[np.uint8]:
        nonlocal num_bytes
        found = arrays.get(id_)
        if found is None:
            found = read(id_)
            with lock:
                if id_ not in arrays and num_bytes + found.nbytes <= limit:
                    arrays[id_] = found
                    num_bytes += found.nbytes
        return found

    return look
