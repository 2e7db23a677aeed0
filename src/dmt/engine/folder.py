"""A run's folder while the run works in it: its lock, its events, how far it has come.

What the files hold is in `records`; what is worth a checkpoint is the runner's business.
"""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from dmt.errors import RunError
from dmt.records import (
    CONFIG,
    DATA,
    METRICS,
    Record,
    append_metrics,
    read_json,
    write_bytes,
    write_json,
    write_text,
)

try:
    import fcntl
except ImportError:  # Windows has no advisory locks of this kind; there a run is not locked
    fcntl = None  # type: ignore[assignment]

_LOCK = ".lock"


class Progress(Record):
    """Which stages are finished, and how long the record was when the last one was."""

    finished: tuple[str, ...] = ()
    metrics_bytes: int = 0
    seconds: float = 0.0  # of work, over all sessions


class RunFolder:
    """Paths and files of one run. Only the writing rank changes anything."""

    def __init__(self, path: Path, *, is_writer: bool = True) -> None:
        self.path = path
        self.is_writer = is_writer
        self.progress = Progress()
        self._since = time.perf_counter()

    def begin(self, config: str, data: dict[str, Any]) -> None:
        """Write what is known before training.

        Raises:
            RunError: the folder cannot be written.
        """
        if not self.is_writer:
            return
        write_text(self.path / CONFIG, config)
        write_json(self.path / DATA, data)

    @contextlib.contextmanager
    def locked(self, *, is_new: bool) -> Iterator[None]:
        """Hold the folder for this process alone.

        The lock is the kernel's and falls with the process, so a crash leaves none behind.

        Args:
            is_new: the folder is to be a new run's, and must be empty or absent.

        Raises:
            RunError: it holds files already, another process works in it, or it cannot be made.
        """
        if not self.is_writer:
            yield
            return
        try:
            if is_new and self.path.exists():
                content = [name for name in os.listdir(self.path) if name != _LOCK]
                if content:
                    what = "another run" if CONFIG in content else f"files ({content[0]}, …)"
                    raise RunError(
                        f"{self.path} already holds {what}; give another folder with out=, or "
                        f"go on with `dmt resume {self.path}`"
                    )
            made = [each for each in (self.path, *self.path.parents) if not each.exists()]
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / _LOCK).open("a+")
        except OSError as error:
            raise RunError(
                f"cannot make the folder {self.path}: {error.strerror}; give another with out="
            ) from error
        with file:
            if fcntl is not None:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError as error:
                    file.seek(0)
                    owner = file.read().strip() or "another process"
                    raise RunError(
                        f"{self.path} is in use by {owner}; wait for it, or give another "
                        "folder with out="
                    ) from error
            file.truncate(0)
            file.write(f"process {os.getpid()}")
            file.flush()
            try:
                yield
            finally:
                file.truncate(0)
                self._leave_nothing_empty(made)

    def _leave_nothing_empty(self, made: Sequence[Path]) -> None:
        """A run that was refused before it wrote anything leaves no folder behind."""
        if os.listdir(self.path) == [_LOCK]:
            (self.path / _LOCK).unlink()
            with contextlib.suppress(OSError):
                for folder in made:
                    folder.rmdir()

    def of_stage(self, name: str) -> Path:
        """Where a stage's result lies: `rounds/1/a`, `baseline/a`, `fold0/rounds/1/a` …

        A labeling's is in its teacher's place of that round.
        """
        *fold, stage, peer = name.replace("/label/", "/").split("/")
        place = f"rounds/{stage.removeprefix('round')}" if stage.startswith("round") else stage
        return self.path.joinpath(*fold, place, peer)

    def weights(self, stage: str) -> Path:
        """The network that a stage trained."""
        return self.of_stage(stage) / "model.safetensors"

    def pseudo_labels(self, stage: str) -> Path:
        """The labels that a stage made."""
        return self.of_stage(stage) / "pseudo_labels"

    def record(self, event: str, stage: str, **fields: Any) -> dict[str, Any]:
        """Append an event to `metrics.jsonl`, and return it."""
        line = {"event": event, "time": time.time(), "stage": stage, **fields}
        if self.is_writer:
            append_metrics(self.path / METRICS, line)
        return line

    @property
    def seconds(self) -> float:
        """Of work on this run, over all sessions."""
        return self.progress.seconds + time.perf_counter() - self._since

    @property
    def metrics_bytes(self) -> int:
        """How long the record is now."""
        path = self.path / METRICS
        return path.stat().st_size if path.exists() else 0

    def finish(self, stage: str) -> None:
        """Write down that a stage is done; what it recorded is now kept for good."""
        self.progress = Progress(
            finished=(*self.progress.finished, stage),
            metrics_bytes=self.metrics_bytes,
            seconds=self.seconds,
        )
        self._since = time.perf_counter()
        if self.is_writer:
            self._checkpoints.mkdir(exist_ok=True)
            write_json(self._checkpoints / "progress.json", self.progress)
            self._state.unlink(missing_ok=True)

    def load_progress(self) -> None:
        """Go on from what `finish` wrote last."""
        path = self._checkpoints / "progress.json"
        if path.exists():
            self.progress = Progress.model_validate(read_json(path))
        self._since = time.perf_counter()

    def save_state(self, state: dict[str, Any]) -> None:
        """Keep the inside of an unfinished stage."""
        if self.is_writer:
            self._checkpoints.mkdir(exist_ok=True)
            content = io.BytesIO()
            torch.save(
                state | {"metrics_bytes": self.metrics_bytes, "seconds": self.seconds}, content
            )
            write_bytes(self._state, content.getvalue())

    def load_state(self, stage: str) -> dict[str, Any] | None:
        """What `save_state` kept of this stage; the record is cut back to what it knew.

        Raises:
            RunError: the checkpoint is damaged.
        """
        state: dict[str, Any] | None = None
        if self._state.exists():
            try:
                state = torch.load(self._state, map_location="cpu", weights_only=True)
            except Exception as error:  # torch raises many kinds for a damaged file
                raise RunError(
                    f"the checkpoint {self._state} cannot be read ({type(error).__name__}); "
                    "delete it to go on from the last finished stage"
                ) from error
        if state is not None and state["stage"] != stage:
            state = None
        known = self.progress.metrics_bytes if state is None else int(state["metrics_bytes"])
        if state is not None:
            self.progress = self.progress.model_copy(update={"seconds": state["seconds"]})
            self._since = time.perf_counter()
        if self.is_writer and self.metrics_bytes > known:
            os.truncate(self.path / METRICS, known)
        return state

    @property
    def _checkpoints(self) -> Path:
        return self.path / "checkpoint"

    @property
    def _state(self) -> Path:
        return self._checkpoints / "state.pt"
