"""A run's folder as the second process of a round sees it: a checkpoint of its own, and no record.

What would be recorded is kept in lines, which the process that owns the folder records later.
"""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import torch

from dmt.engine.folder import RunFolder
from dmt.records import write_bytes


class HalfFolder(RunFolder):
    """Writes the network of its peer's stages and `checkpoint/half.pt`, nothing else."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, is_writer=False)
        self.lines: list[dict[str, Any]] = []

    def record(self, event: str, stage: str, **fields: Any) -> dict[str, Any]:
        """Keep an event for later, and return it."""
        self.lines.append({"event": event, "stage": stage, **fields})
        return super().record(event, stage, **fields)

    def save_state(self, state: dict[str, Any]) -> None:
        """Keep the inside of an unfinished stage, with the lines so far."""
        self.make(self._checkpoints)
        content = io.BytesIO()
        extra = {"metrics_bytes": 0, "seconds": 0.0, "lines": json.dumps(self.lines)}
        torch.save(state | extra, content)
        write_bytes(self._state, content.getvalue())

    def load_state(self, stage: str) -> dict[str, Any] | None:
        """What `save_state` kept of this stage; what it kept of another one is over.

        Raises:
            RunError: the checkpoint is damaged.
        """
        self.lines = []
        state = self._read_state()
        if state is None or state["stage"] != stage:
            self.forget()
            return None
        try:
            self.lines = [dict(line) for line in json.loads(state["lines"])]
        except (KeyError, TypeError, ValueError) as error:
            raise self.damaged_state(type(error).__name__) from error
        return state

    def forget(self) -> None:
        """Remove the checkpoint; one that stays names a stage that is finished."""
        with contextlib.suppress(OSError):
            self._state.unlink(missing_ok=True)

    @property
    def _state(self) -> Path:
        return self._checkpoints / "half.pt"
