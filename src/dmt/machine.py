"""How much of this machine a run may use."""

from __future__ import annotations

import os


def num_workers(asked: int | None) -> int:
    """Threads that decode: as asked, or as many as cores, which ranks of one machine share."""
    local = os.environ.get("LOCAL_WORLD_SIZE", "")
    num_ranks = int(local) if local.isdecimal() else 1
    return max(1, (os.cpu_count() or 1) // max(1, num_ranks)) if asked is None else asked
