"""Stopping a run anywhere and going on: the end is the same to the bit as if nothing had happened.

The exit codes are those of the shell: 130 for Ctrl-C, 143 for SIGTERM.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from dmt.api import resume, train
from dmt.cli import run_command
from dmt.engine.listener import Quiet
from dmt.engine.stage import Stage
from dmt.errors import DataError, Interrupted, RunError

SETTINGS: dict[str, Any] = {
    "steps": 9, "rounds": 2, "model": "wrn_10_1", "batch_size": 16, "device": "cpu",
    "data.val_per_class": 2, "seed": 5,
}  # fmt: skip


class Crash(BaseException):
    """Stands for the process dying: nothing of ours catches it."""


class StopAt(Quiet):
    """Stops a run at its `at`-th step: by a signal to this process, or by dying on the spot."""

    def __init__(self, at: int, number: int | None) -> None:
        self._at = at
        self._number = number
        self.num_steps = 0

    def on_step(self, stage: Stage, step: int, num_steps: int, done: float) -> None:
        self.num_steps += 1
        if self.num_steps == self._at:
            if self._number is None:
                raise Crash
            os.kill(os.getpid(), self._number)


class StopWhileLabeling(Quiet):
    """Sends SIGTERM while a labeling is under way."""

    def on_event(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "started" and event["stage"] == "round2/label/a":
            os.kill(os.getpid(), signal.SIGTERM)


SCHEDULES: Sequence[dict[str, Any]] = (
    {"schedule": "pair"},
    {"schedule": "chain", "student.optimizer": "adamw", "student.mixup": 0},
)


@pytest.fixture(scope="module", params=SCHEDULES, ids=["pair", "chain"])
def whole(request, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run that nobody interrupts, and its settings."""
    folder = tmp_path_factory.mktemp("whole")
    settings = SETTINGS | request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # so that both runs have the same name, which their summary repeats
        run = train("digits", out="run", **settings)
    return folder / run.path, settings


@pytest.mark.parametrize(
    ("at", "number", "checkpoint_every"),
    [
        (1, signal.SIGTERM, 300.0),
        (3, signal.SIGINT, 300.0),  # the last step of a stage
        (5, None, 1e-9),
        (8, signal.SIGTERM, 1e-9),
        (11, None, 300.0),
        (14, signal.SIGTERM, 300.0),
    ],
)
def test_resumed_run_equals_the_whole_one(
    whole, at: int, number: int | None, checkpoint_every: float, tmp_path, monkeypatch, outcome_of
) -> None:
    run, settings = whole
    monkeypatch.chdir(tmp_path)
    settings = settings | {"out": "run", "checkpoint_every": checkpoint_every}
    with pytest.raises(Crash if number is None else Interrupted) as stopped:
        train("digits", listener=StopAt(at, number), **settings)
    if number is not None:
        assert stopped.value.signal == number
        assert "`dmt resume run` goes on" in str(stopped.value)
    assert not Path("run/summary.json").exists()
    resume("run")
    assert outcome_of(Path("run")) == outcome_of(run)


def test_stopped_again_and_again(whole, tmp_path, monkeypatch, outcome_of) -> None:
    run, settings = whole
    monkeypatch.chdir(tmp_path)
    draw = random.Random(0)
    with pytest.raises(Interrupted):
        train("digits", listener=StopAt(2, signal.SIGTERM), out="run", **settings)
    num_stops = 0
    while not Path("run/summary.json").exists():
        number = draw.choice([signal.SIGTERM, None])
        try:
            resume("run", listener=StopAt(draw.randint(2, 6), number))
        except (Interrupted, Crash):
            num_stops += 1
    assert num_stops >= 3
    assert outcome_of(Path("run")) == outcome_of(run)


def test_stopped_while_labeling(whole, tmp_path, monkeypatch, outcome_of) -> None:
    run, settings = whole
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Interrupted, match=r"goes on after round2/label/a"):
        train("digits", listener=StopWhileLabeling(), out="run", **settings)
    resume("run")
    assert outcome_of(Path("run")) == outcome_of(run)


def test_resume_of_a_finished_run_changes_nothing(whole, snapshot) -> None:
    run, _ = whole
    before = snapshot(run)
    assert resume(run).summary.status == "finished"
    assert snapshot(run) == before


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """A run that was stopped inside a stage."""
    with pytest.raises(Interrupted):
        train("digits", listener=StopAt(5, signal.SIGTERM), out=tmp_path / "run", **SETTINGS)
    return tmp_path / "run"


def test_damaged_checkpoint_is_named(stopped: Path, dmt) -> None:
    state = stopped / "checkpoint" / "state.pt"
    state.write_bytes(state.read_bytes()[:100])
    outcome = dmt("resume", stopped)
    assert outcome.code == 2
    assert f"the checkpoint {state} cannot be read" in outcome.sentence
    assert "delete it to go on from the last finished stage" in outcome.sentence
    state.unlink()
    assert dmt("resume", stopped).code == 0


def test_changed_data_is_refused(tmp_photos, tmp_path: Path) -> None:
    photos = tmp_photos(labeled=4, unlabeled=4, test=2)
    settings = SETTINGS | {"data.image_size": 16, "data.val_per_class": 0}
    with pytest.raises(Interrupted):
        train(photos, listener=StopAt(2, signal.SIGTERM), out=tmp_path / "run", **settings)
    image = photos / "unlabeled" / "0000.png"
    content = image.read_bytes()
    image.write_bytes((photos / "unlabeled" / "0001.png").read_bytes())
    with pytest.raises(RunError, match="cannot go on"):
        resume(tmp_path / "run")
    image.unlink()
    with pytest.raises((RunError, DataError)):
        resume(tmp_path / "run")
    image.write_bytes(content)
    assert resume(tmp_path / "run").summary.status == "finished"


# As processes -----------------------------------------------------------------------------------


def _wait_for(condition, process: subprocess.Popen[str], seconds: float = 60) -> None:
    began = time.perf_counter()
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.perf_counter() - began < seconds
        time.sleep(0.02)


WORDS = ["train", "digits", "steps=60", "rounds=1", "model=wrn_10_1", "batch_size=16",
         "method=dst", "baseline=none", "device=cpu", "checkpoint_every=0.01"]  # fmt: skip


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of `WORDS`, done in one go."""
    folder = tmp_path_factory.mktemp("never-stopped")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run_command([*WORDS, "out=run", "--json"]) == 0
    return folder / "run"


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_process_is_stopped_and_goes_on(
    number: int, code: int, never_stopped, tmp_path: Path, start, dmt, outcome_of, monkeypatch
) -> None:
    run = tmp_path / "run"
    process = start([*WORDS, "out=run"], tmp_path)
    _wait_for((run / "checkpoint" / "state.pt").exists, process)
    time.sleep(random.Random(number).uniform(0, 0.2))
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Traceback" not in err
    if code > 0:
        assert "`dmt resume run` goes on" in err.rstrip().rsplit("\n", 1)[-1]
    assert not (run / "summary.json").exists()
    monkeypatch.chdir(tmp_path)
    assert dmt("resume", "run", "--json").value["status"] == "finished"
    assert outcome_of(run) == outcome_of(never_stopped)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [(line["stage"], line["step"]) for line in lines if line["event"] == "step"]
    assert len(steps) == len(set(steps))
