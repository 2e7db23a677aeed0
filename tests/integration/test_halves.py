"""Two halves of a round in two processes: the same bits and the same record as one after the
other, also when either is stopped or killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from dmt.api import resume, train
from dmt.engine.listener import Quiet
from dmt.engine.stage import Stage
from dmt.errors import EnvironmentFault, Interrupted, SettingError

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS: dict[str, Any] = {
    "steps": 9, "rounds": 2, "model": "wrn_10_1", "batch_size": 16, "device": "cpu",
    "data.val_per_class": 2, "seed": 5, "schedule": "pair", "baseline": "none",
}  # fmt: skip
CLOCK = re.compile(r"time|.*seconds|images_per_second")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process."""
    return train("digits", out=tmp_path_factory.mktemp("whole") / "run", **SETTINGS).path


def content(run: Path) -> dict[str, Any]:
    """Networks and labels as bytes, the record without what a clock said."""
    found: dict[str, Any] = {
        str(path.relative_to(run)): path.read_bytes()
        for path in sorted((run / "rounds").rglob("*"))
        if path.is_file()
    }
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found["record"] = [
        {name: value for name, value in line.items() if not CLOCK.fullmatch(name)} for line in lines
    ]
    return found


def same(run: Path, whole: Path) -> None:
    mine, theirs = content(run), content(whole)
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if mine[name] != theirs[name]] == []
    assert not (run / "checkpoint" / "half.pt").exists()


class At(Quiet):
    """Does something at a step of a stage."""

    def __init__(self, stage: str, step: int, do: Callable[[], None]) -> None:
        self._place = stage, step
        self._do = do

    def on_step(self, stage: Stage, step: int, num_steps: int, done: float) -> None:
        if (stage.name, step) == self._place:
            self._do()


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def other_half() -> int:
    """The second process."""
    found = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return next(
        int(each)
        for each in found
        if b"dmt.runs.half" in Path(f"/proc/{each}/cmdline").read_bytes()
    )


def test_stopped_in_a_round_it_ends_as_one_process_does(whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        train("digits", out=run, parallel_peers=True, listener=At("round1/a", 2, terminate),
              **SETTINGS)  # fmt: skip
    lines = (run / "metrics.jsonl").read_text().splitlines()
    stages = [json.loads(line)["stage"] for line in lines]
    assert stages[-1] == "round1/a", "what the other half does is recorded after it"
    same(resume(run).path, whole)


def test_it_is_refused_where_there_are_no_two_halves(tmp_path: Path) -> None:
    for words in ({"schedule": "chain"}, {"method": "cps"}, {"method": "supervised"}):
        with pytest.raises(SettingError, match="parallel_peers=true is for two peers in rounds"):
            train("digits", out=tmp_path / "run", parallel_peers=True, **(SETTINGS | words))


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.0, 3.0, 20.0])
def test_a_second_process_that_is_killed_costs_nothing(
    whole: Path, tmp_path: Path, after: float
) -> None:
    def kill() -> None:
        time.sleep(after)
        os.kill(other_half(), signal.SIGKILL)

    run = tmp_path / "run"
    with pytest.raises(EnvironmentFault, match="beside this one has ended"):
        train("digits", out=run, parallel_peers=True, listener=At("round1/a", 1, kill),
              checkpoint_every=1e-9, **SETTINGS)  # fmt: skip
    same(resume(run).path, whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    "point", ["step taken@5", "stage done", "stage finished@6", "metrics.jsonl half@30"]
)
def test_killed_anywhere_it_leaves_nobody_behind(whole: Path, tmp_path: Path, point: str) -> None:
    run = tmp_path / "run"
    words = [f"{name}={value}" for name, value in (SETTINGS | {"out": run}).items()]
    command = [sys.executable, "-m", "dmt", "train", "digits", "parallel_peers=true", *words,
               "checkpoint_every=1e-9"]  # fmt: skip
    environment: Mapping[str, str] = os.environ | {"DMT_CRASH_AT": point, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    time.sleep(0.5)
    assert not any(folder == tmp_path for folder in _folders_of_halves())
    same(resume(run).path, whole)


def _folders_of_halves() -> Iterator[Path]:
    """Where second processes work."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"dmt.runs.half" in path.read_bytes():
                yield path.parent.joinpath("cwd").readlink()
        except OSError:  # it has just ended
            continue
