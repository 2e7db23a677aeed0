"""How much of this machine a run may use."""

from __future__ import annotations

import os


def num_workers(asked: int | None) -> int:
    """Threads that decode: as asked, or as many as cores."""
    return max(1, os.cpu_count() or 1) if asked is None else asked
