"""A run's folder to who trains the second half of a round: a checkpoint of its own, no record.

What would be recorded is kept in lines, which the process that owns the folder records later.
"""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from dmt.engine.folder import RunFolder
from dmt.errors import RunError
from dmt.records import Record, read_json, write_bytes, write_json


class _Done(Record):
    """A stage that is done, and what is to be recorded of it."""

    stage: str
    lines: list[dict[str, Any]]


class HalfFolder(RunFolder):
    """Writes `checkpoint/half.pt` and, of a stage that is done, `checkpoint/half.json`; no more.

    Args:
        path: of the run.
        is_first: whether this process writes them; of several ranks one does.
    """

    def __init__(self, path: Path, *, is_first: bool = True) -> None:
        super().__init__(path, is_writer=False)
        self._is_first = is_first
        self.lines: list[dict[str, Any]] = []

    def record(self, event: str, stage: str, **fields: Any) -> dict[str, Any]:
        """Keep an event for later, and return it."""
        self.lines.append({"event": event, "stage": stage, **fields})
        return super().record(event, stage, **fields)

    def save_state(self, state: dict[str, Any]) -> None:
        """Keep the inside of an unfinished stage, with the lines so far."""
        if not self._is_first:
            return
        self.make(self._checkpoints)
        content = io.BytesIO()
        extra = {"metrics_bytes": 0, "seconds": 0.0, "lines": json.dumps(self.lines)}
        torch.save(state | extra, content)
        write_bytes(self._state, content.getvalue())

    def load_state(self, stage: str) -> dict[str, Any] | None:
        """What `save_state` kept of this stage.

        Raises:
            RunError: the checkpoint is damaged.
        """
        self.lines = []
        state = self._read_state()
        if state is None or state["stage"] != stage:
            return None
        try:
            self.lines = [dict(line) for line in json.loads(state["lines"])]
        except (KeyError, TypeError, ValueError) as error:
            raise self.damaged_state(type(error).__name__) from error
        return state

    def finish(self, *stages: str) -> None:
        """Keep the lines of a stage whose network is written, until they are recorded."""
        super().finish(*stages)
        if self._is_first:
            self.make(self._checkpoints)
            write_json(self._done, _Done(stage=stages[0], lines=self.lines))

    def take_up_finished(self, stage: str) -> bool:
        """Whether `finish` kept the lines of this stage; they are `lines` then."""
        try:
            done = _Done.model_validate(read_json(self._done))
        except (RunError, ValidationError):  # then it is trained from its checkpoint on
            return False
        if done.stage != stage or not self.weights(stage).exists():
            return False
        self.lines = done.lines
        return True

    def forget(self) -> None:
        """Remove what was kept; what stays names a stage that is finished."""
        if self._is_first:
            with contextlib.suppress(OSError):
                self._state.unlink(missing_ok=True)
                self._done.unlink(missing_ok=True)

    @property
    def _done(self) -> Path:
        return self._checkpoints / "half.json"

    @property
    def _state(self) -> Path:
        return self._checkpoints / "half.pt"
