"""How much of this machine a run may use, and what a process of ours asks of it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

# Of glibc's malloc.h and Linux's prctl.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER = 2**31 - 1
_SIGNAL_AT_PARENTS_DEATH = 1  # PR_SET_PDEATHSIG


def num_workers(asked: int | None) -> int:
    """Threads that decode: as asked, or as many as cores, which ranks of one machine share."""
    local = os.environ.get("LOCAL_WORLD_SIZE", "")
    num_ranks = int(local) if local.isdecimal() else 1
    return max(1, (os.cpu_count() or 1) // max(1, num_ranks)) if asked is None else asked


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, and say whether it does.

    A training step on a CPU frees and takes the same hundreds of megabytes again and again. Left
    to itself the C library hands large blocks back at once, and the system clears them page by
    page when they are next asked for: up to a sixth of a step. It is for processes of our own
    alone, as it changes how all of one's memory is handled. Only glibc can be told.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, _NEVER))


def sleep_while_waiting() -> bool:
    """Let torch's threads sleep while they wait, where others want the cores; whether they will.

    A thread that has done its part waits for the others by asking again and again, thousands of
    times a step. Where a core is lent to somebody else meanwhile, the rest of them burn their time
    on it. Asleep they take longer to go on, so it is done on a busy machine alone. It moves no bit.
    To be called before torch is loaded; what the environment says already stays.
    """
    is_free = not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ)
    if is_free and hasattr(os, "getloadavg") and os.getloadavg()[0] >= (os.cpu_count() or 1):
        os.environ["OMP_WAIT_POLICY"] = "passive"
        return True
    return False


def die_with_parent(parent: int) -> None:
    """Where the system offers it: a killed run leaves nobody behind who writes into its folder.

    Args:
        parent: the process that started this one; it may have died already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SIGNAL_AT_PARENTS_DEATH, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)
