"""The two halves of a round side by side: peer b's trainings in a second process.

The first process trains peer a and alone writes the record; what the second one trained it takes
as a stage that was trained elsewhere. What a half is trained on and how is the runner's.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from dmt import errors, faults
from dmt.config import Settings
from dmt.engine.half_folder import HalfFolder
from dmt.engine.interrupt import StopFlag
from dmt.engine.runtime import Runtime
from dmt.engine.stage import Stage, TrainStage, halves_of_rounds
from dmt.errors import DmtError, EnvironmentFault, Interrupted

_LOOK_EVERY = 0.2  # seconds between two looks at the stop flag
_PATIENCE = 60.0  # seconds that the second process gets to save what it has


class Halves:
    """Trains the stages of peer b elsewhere while this process trains those of peer a.

    A stage has its other half if it is of the same round and neither needs the other. Both get
    half of the threads; where there are two CUDA devices, each gets one.

    Args:
        stages: of the run.
        settings: of the run, resolved.
        path: its folder, locked by this process.
        runtime: of this process.
        stop: looked at while waiting.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        settings: Settings,
        path: Path,
        runtime: Runtime,
        stop: StopFlag,
    ) -> None:
        self._other_half = dict(halves_of_rounds(stages))
        self._second = {each.name for each in self._other_half.values()}
        self._settings = settings
        self._path = path
        self._stop = stop
        self._runtime = runtime
        self._threads = torch.get_num_threads()
        self._process: subprocess.Popen[str] | None = None
        self._asked: str | None = None

    def __enter__(self) -> Halves:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        torch.set_num_threads(self._threads)
        process = self._process
        if process is not None:
            if self._asked is not None:  # it saves what it has
                process.terminate()
            with process:
                assert process.stdin is not None
                with suppress(BrokenPipeError):  # of what it did not read before it died
                    process.stdin.close()
                try:
                    process.wait(_PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()
        if kind is None:
            HalfFolder(self._path).forget()

    def take(self, stage: TrainStage, weights: Path) -> list[dict[str, Any]] | None:
        """The lines of a stage that the second process trained; None: train it here.

        Where this process is to train the first half, the second is begun elsewhere.

        Args:
            stage: which.
            weights: where its network is written.

        Raises:
            DmtError: whatever stopped the other process.
        """
        if stage.name in self._other_half:
            torch.set_num_threads(max(1, self._threads // 2))
            self._ask(self._other_half[stage.name].name)
            return None
        if stage.name not in self._second:
            return None
        self._ask(stage.name)
        answer = self._answer()
        self._asked = None
        torch.set_num_threads(self._threads)
        if "error" in answer:
            raise _error(answer)
        assert weights.exists(), "it writes the network before it answers"
        return [dict(line) for line in answer["lines"]]

    def put(self, stage: TrainStage, weights: Path, events: Iterable[Mapping[str, Any]]) -> None:
        """Nothing: what was trained here stays in its run."""

    def _ask(self, name: str) -> None:
        if self._asked == name:
            return
        assert self._asked is None, "one stage at a time"
        if self._process is None:
            self._process = self._begin()
        self._say(name)
        self._asked = name

    def _begin(self) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "dmt.runs.half", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for this process, which tells the other one
            env={name: value for name, value in os.environ.items() if name != faults.SWITCH},
        )
        settings = self._settings.model_copy(
            update={
                "device": _second_device(self._runtime.device),
                "precision": self._runtime.precision,
            }
        )
        self._say(
            json.dumps(
                {
                    "path": str(self._path),
                    "threads": max(1, self._threads // 2),
                    "settings": settings.model_dump(mode="json"),
                }
            )
        )
        return self._process

    def _say(self, line: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._gone() from error

    def _answer(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        while not select.select([self._process.stdout], [], [], _LOOK_EVERY)[0]:
            self._stop.check(f"`dmt resume {self._path}` goes on")
        line = self._process.stdout.readline()
        if not line:
            self._stop.check(f"`dmt resume {self._path}` goes on")
            raise self._gone()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _gone(self) -> EnvironmentFault:
        return EnvironmentFault(
            "the process that trains peer b beside this one has ended (was the memory too small "
            f"for two?); `dmt resume {self._path}` goes on from what it saved"
        )


def _second_device(device: torch.device) -> str:
    if device.type == "cuda" and torch.cuda.device_count() > 1:
        return f"cuda:{((device.index or 0) + 1) % torch.cuda.device_count()}"
    return str(device)


def _error(answer: Mapping[str, Any]) -> DmtError:
    if answer["signal"] is not None:
        return Interrupted(answer["text"], answer["signal"])
    kind = getattr(errors, answer["error"], errors.TrainingError)
    error: DmtError = kind(answer["text"])
    return error
