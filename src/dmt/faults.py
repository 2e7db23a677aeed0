"""Named points at which a test can kill the process; in normal use nothing happens at any of them.

What dies there and what must be left of it, tests/faults says.
"""

from __future__ import annotations

import os
import signal

SWITCH = "DMT_CRASH_AT"  # NAME, or NAME@3 for the third time it is reached

# Every file of a run's folder that is written whole, and what happens to each, in this order.
FILES = (
    "config.yaml", "data.json", "progress.json", "state.pt", "model.safetensors",
    "ids.npy", "label.npy", "code.npy", "manifest.json",
    "part0.planes", "part0.index.npy", "part0.levels.npy", "part0.json",
    "examples.json", "summary.json", "report.html",
)  # fmt: skip
STEPS = ("opened", "half", "written", "synced", "renamed", "kept")

POINTS = (
    ".lock taken", "folder made",
    "session read", "session planned", "session resumed",
    "stage begins", "stage began", "stage done", "stage finished",
    "step gradients", "step taken", "step recorded",
    "labels removed", "part0.spool begun", "part0.spool added", "part0.spool removed",
    "labeling begins", "labeling done", "validation begins", "validation done",
    "metrics.jsonl opens", "metrics.jsonl half", "metrics.jsonl appended", "metrics.jsonl synced",
    "metrics.jsonl cuts", "metrics.jsonl cut",
    "state.pt removed",
    "shared network kept", "shared stage kept", "shared stage taken",
    "judge begins", "judge done", "run done",
    *(f"{name} {step}" for name in FILES for step in STEPS),
)  # fmt: skip


def reached(point: str) -> None:
    """Die here by SIGKILL if the environment asks for it."""
    name, number = _asked()
    if name != point:
        return
    if number == 1:
        die()
    os.environ[SWITCH] = f"{point}@{number - 1}"


def is_next(point: str) -> bool:
    """Whether the process will die when it reaches this point."""
    return _asked() == (point, 1)


def die() -> None:
    """End this process as a power cut would: no handler runs, no buffer is written."""
    os.kill(os.getpid(), signal.SIGKILL)


def _asked() -> tuple[str, int]:
    name, _, number = os.environ.get(SWITCH, "").partition("@")
    return name, int(number or 1)
