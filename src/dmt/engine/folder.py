"""A run's folder while the run works in it: its lock, its events, how far it has come.

What the files hold is in `records`; what is worth a checkpoint is the runner's business.
"""

from __future__ import annotations

import contextlib
import io
import os
import platform
import time
import warnings
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, ValidationError

from dmt import faults
from dmt.data.decode import shown
from dmt.errors import RunError
from dmt.records import (
    CONFIG,
    DATA,
    METRICS,
    REPORT,
    SUMMARY,
    Record,
    append_metrics,
    read_json,
    write_bytes,
    write_json,
    write_text,
)
from dmt.records.links import refuse_links
from dmt.records.writing import cut_file, is_temporary, make_folder, sweep, sync_file, sync_folder

try:
    import fcntl
except ImportError:  # Windows has no advisory locks of this kind; there a run is not locked
    fcntl = None  # type: ignore[assignment]

PROGRESS = "checkpoint/progress.json"
_LOCK = ".lock"
_OF_STATE = {
    "stage", "step", "learners", "method", "scaler", "tally", "stage_seconds", "metrics_bytes",
    "seconds",
}  # fmt: skip


class Progress(Record):
    """Which stages are finished, and how long the record was when the last one was."""

    finished: tuple[str, ...] = ()
    metrics_bytes: int = Field(0, ge=0)
    seconds: float = Field(0.0, ge=0)  # of work, over all sessions


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
    def locked(self, *, is_new: bool, has_runs: bool = False) -> Iterator[None]:
        """Hold the folder for this process alone.

        The lock is the kernel's and falls with the process, so a crash leaves none behind.

        Args:
            is_new: the folder is to be a new run's, and must be empty or absent, or hold no more
                than the beginning of a run that died before it had written down its data.
            has_runs: whether folders below it are runs with locks of their own, where somebody
                may be writing; what crashes left there is theirs to remove.

        Raises:
            RunError: it holds files already, another process works in it, or it cannot be made.
        """
        if not self.is_writer:
            yield
            return
        try:
            if is_new:
                self._refuse_other_content()
            refuse_links(self.path)
            made = [each for each in (self.path, *self.path.parents) if not each.exists()]
            make_folder(self.path)
            file = (self.path / _LOCK).open("a+", encoding="utf-8", errors="replace")
        except OSError as error:
            what = "make the folder" if is_new else "write in"
            cure = "give another with out=" if is_new else "free some space or make it writable"
            raise RunError(f"cannot {what} {self.path}: {error.strerror}; {cure}") from error
        with file:
            if fcntl is not None:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError as error:
                    file.seek(0)
                    owner = shown(file.read().strip()) or "another process"
                    raise RunError(
                        f"{self.path} is in use by {owner}; wait for it, or give another "
                        "folder with out="
                    ) from error
            if not _is_same(file.fileno(), self.path / _LOCK):  # given up while we waited
                raise RunError(f"{self.path} was in use a moment ago; ask again")
            _sign(file.fileno(), _this_process())
            faults.reached(".lock taken")
            try:
                if is_new:  # again: another process may have been here until we had the lock
                    self._refuse_other_content()
                if not has_runs:
                    sweep(self.path)
                yield
            finally:
                _sign(file.fileno(), "")
                if is_new:
                    self._leave_nothing_empty(made)

    @property
    def is_beginning(self) -> bool:
        """Whether a run began here and died before there was anything to go on from."""
        return self.path.is_dir() and _is_beginning(os.listdir(self.path))

    def _refuse_other_content(self) -> None:
        content = os.listdir(self.path) if self.path.exists() else []
        others = sorted(name for name in content if name != _LOCK)
        if others and not _is_beginning(content):
            what = "another run" if CONFIG in content else f"files ({shown(others[0])}, …)"
            raise RunError(
                f"{self.path} already holds {what}; give another folder with out=, or "
                f"go on with `dmt resume {self.path}`"
            )

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

    def make(self, folder: Path) -> None:
        """Make a folder for files of this run.

        Raises:
            RunError: it cannot be made.
        """
        try:
            make_folder(folder)
        except OSError as error:
            raise RunError(
                f"cannot make the folder {folder}: {error.strerror or error}; free some space or "
                "check the permissions, then resume"
            ) from error

    def sync_record(self) -> None:
        """Make the record survive a power loss, before anything is written that relies on it."""
        if self.is_writer and (self.path / METRICS).exists():
            sync_file(self.path / METRICS)

    def finish(self, *stages: str) -> None:
        """Write down that stages are done, all at once; what they recorded is kept for good."""
        self.sync_record()
        self.progress = Progress(
            finished=(*self.progress.finished, *stages),
            metrics_bytes=self.metrics_bytes,
            seconds=self.seconds,
        )
        self._since = time.perf_counter()
        if self.is_writer:
            self.make(self._checkpoints)
            write_json(self.path / PROGRESS, self.progress)
            self._drop_state()

    def settle(self) -> None:
        """Drop what a session left that died after the last stage was finished.

        Raises:
            RunError: the record is shorter than it was then.
        """
        self.cut_record(self.progress.metrics_bytes)
        if self.is_writer and self._state.exists():
            self._drop_state()

    def _drop_state(self) -> None:
        # One that stays does no harm: the stage that it names is finished.
        with contextlib.suppress(OSError):
            self._state.unlink(missing_ok=True)
            faults.reached("state.pt removed")
            sync_folder(self._checkpoints)

    def forget_outcome(self) -> None:
        """Drop what a session that could not go on said of the run, since it goes on now.

        Raises:
            RunError: the folder cannot be written.
        """
        if self.is_writer:
            try:
                for name in (SUMMARY, REPORT):
                    (self.path / name).unlink(missing_ok=True)
            except OSError as error:
                raise RunError(f"cannot write in {self.path}: {error.strerror}") from error

    def load_progress(self) -> None:
        """Go on from what `finish` wrote last.

        Raises:
            RunError: it is damaged.
        """
        path = self.path / PROGRESS
        if path.exists():
            try:
                self.progress = Progress.model_validate(read_json(path))
            except ValidationError as error:
                raise RunError(
                    f"{path} is damaged or another version's; restore it, or start a new run"
                ) from error
        self._since = time.perf_counter()

    def save_state(self, state: dict[str, Any]) -> None:
        """Keep the inside of an unfinished stage."""
        if self.is_writer:
            self.make(self._checkpoints)
            self.sync_record()
            content = io.BytesIO()
            torch.save(
                state | {"metrics_bytes": self.metrics_bytes, "seconds": self.seconds}, content
            )
            write_bytes(self._state, content.getvalue())

    def load_state(self, stage: str) -> dict[str, Any] | None:
        """What `save_state` kept of this stage; the record is cut back to what it knew.

        Raises:
            RunError: the checkpoint is damaged, or the record is shorter than it knew.
        """
        state = self._read_state()
        if state is not None and state["stage"] != stage:
            state = None
        if state is None:
            self.cut_record(self.progress.metrics_bytes)
        else:
            self.progress = self.progress.model_copy(update={"seconds": state["seconds"]})
            self._since = time.perf_counter()
            self.cut_record(int(state["metrics_bytes"]))
        return state

    def cut_record(self, known: int) -> None:
        """Take what came after the first `known` bytes out of the record: it will come again.

        Raises:
            RunError: the record is shorter than that.
        """
        if not self.is_writer:
            return
        if self.metrics_bytes < known:
            raise RunError(
                f"{self.path / METRICS} has {self.metrics_bytes} bytes, and the checkpoint knows "
                f"of {known}: it was changed since; put it back as it was, or start a new run"
            )
        if self.metrics_bytes > known:
            cut_file(self.path / METRICS, known)

    def _read_state(self) -> dict[str, Any] | None:
        if not self._state.exists():
            return None
        why = "it holds something else"
        try:
            with warnings.catch_warnings(action="ignore"):  # torch's, of what it will refuse
                state: Any = torch.load(self._state, map_location="cpu", weights_only=True)
            if isinstance(state, dict) and state.keys() >= _OF_STATE and _fits(state):
                return state
        except Exception as error:  # torch raises many kinds for a damaged file
            why = type(error).__name__
        raise self.damaged_state(why)

    def damaged_state(self, why: str) -> RunError:
        """What to raise where a checkpoint is not what `save_state` wrote for this stage."""
        return RunError(
            f"the checkpoint {self._state} cannot be read ({why}); delete it to go on from the "
            "last finished stage"
        )

    @property
    def _checkpoints(self) -> Path:
        return self.path / "checkpoint"

    @property
    def _state(self) -> Path:
        return self._checkpoints / "state.pt"


def _fits(state: dict[str, Any]) -> bool:
    """Whether the small parts of a checkpoint are what they should be."""
    numbers = state["step"], state["metrics_bytes"], state["seconds"]
    return (
        all(isinstance(each, int | float) and each >= 0 for each in numbers)
        and isinstance(state["stage"], str)
        and isinstance(state["learners"], dict)
        and isinstance(state["tally"], dict)
    )


def _is_beginning(content: Sequence[str]) -> bool:
    """Whether these names are no more than what a run leaves that dies before its data.json.

    Without a lock it is somebody's own folder, whatever the file is called.
    """
    ours = {_LOCK, CONFIG}
    return _LOCK in content and all(name in ours or is_temporary(name) for name in content)


def _is_same(handle: int, path: Path) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except OSError:
        return False


def _this_process() -> str:
    now = datetime.now(UTC)
    return f"process {os.getpid()} on {platform.node()}, which began {now:%Y-%m-%d %H:%M:%S} UTC"


def _sign(handle: int, text: str) -> None:
    """Write into the lock whose it is. It is held without that, so a full disk does no harm."""
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)
        os.write(handle, text.encode())
