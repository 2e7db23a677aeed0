"""What may and may not change between two sessions of a run, and what a dead beginning leaves."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dmt.api import resume, train
from dmt.engine.listener import Quiet
from dmt.engine.stage import Stage
from dmt.errors import Interrupted, RunError

SETTINGS: dict[str, Any] = {
    "steps": 4, "rounds": 1, "model": "wrn_10_1", "batch_size": 8, "device": "cpu",
    "baseline": "none", "method": "dst", "data.image_size": 16, "data.val_per_class": 0,
}  # fmt: skip


class StopEarly(Quiet):
    """Sends SIGTERM after the first step."""

    def on_step(self, stage: Stage, step: int, num_steps: int, done: float) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def stopped(tmp_photos: Callable[..., Path], tmp_path: Path) -> Path:
    """A run that was stopped after its first step."""
    photos = tmp_photos(labeled=4, unlabeled=4, test=2, size=16)
    with pytest.raises(Interrupted):
        train(photos, listener=StopEarly(), out=tmp_path / "run", **SETTINGS)
    return tmp_path / "run"


def _edit(run: Path, old: str, new: str) -> str:
    path = run / "config.yaml"
    before = path.read_text()
    assert before.count(old) == 1, old
    path.write_text(before.replace(old, new))
    return before


def _content(run: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("\nbatch_size: 8\n", "\nbatch_size: 16\n", "batch_size was 8 and is 16 now"),
        ("\nsteps: 4\n", "\nsteps: 8\n", "steps was 4 and is 8 now"),
        ("\nseed: 0\n", "\nseed: 1\n", "seed was 0 and is 1 now"),
        ("\nmethod: dst\n", "\nmethod: dmt\n", "method was dst and is dmt now"),
        ("  labeled_share: 0.5\n", "  labeled_share: 0.25\n", "student.labeled_share was 0.5 and"),
        ("  image_size: 16\n", "  image_size: 24\n", "data.image_size was 16 and is 24 now"),
    ],
)
def test_changed_settings_are_named(stopped: Path, old: str, new: str, named: str) -> None:
    before = _edit(stopped, old, new)
    content = _content(stopped)
    with pytest.raises(RunError, match="cannot go on") as refused:
        resume(stopped)
    assert named in str(refused.value)
    assert f"put {stopped / 'config.yaml'} back as it was" in str(refused.value)
    assert _content(stopped) == content
    (stopped / "config.yaml").write_text(before)
    assert resume(stopped).summary.status == "finished"


def test_what_moves_no_bit_may_change(stopped: Path) -> None:
    _edit(stopped, "\nworkers: null\n", "\nworkers: 2\n")
    _edit(stopped, "\ncheckpoint_every: 300.0\n", "\ncheckpoint_every: 10.0\n")
    _edit(stopped, "  memory_limit: 4.0\n", "  memory_limit: 0.0\n")
    assert resume(stopped).summary.status == "finished"


def test_the_data_may_move_and_may_not_change(stopped: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").rename(tmp_path / "moved")
    _edit(stopped, f"dataset: {tmp_path}/photos", f"dataset: {tmp_path}/moved")
    image = tmp_path / "moved" / "unlabeled" / "0000.png"
    content = image.read_bytes()
    image.write_bytes((tmp_path / "moved" / "unlabeled" / "0001.png").read_bytes())
    with pytest.raises(RunError, match=r"the image unlabeled/0000.png has another content"):
        resume(stopped)
    image.write_bytes(content)
    assert resume(stopped).summary.dataset == "moved"


def test_a_shortened_record_is_named(stopped: Path) -> None:
    path = stopped / "metrics.jsonl"
    content = path.read_bytes()
    path.write_bytes(content[:20])
    with pytest.raises(RunError, match=r"metrics.jsonl has 20 bytes, and the checkpoint knows of"):
        resume(stopped)
    path.write_bytes(content)
    assert resume(stopped).summary.status == "finished"


@pytest.mark.parametrize("name", ["state.pt", "progress.json"])
def test_a_checkpoint_that_is_something_else_is_named(stopped: Path, name: str) -> None:
    path = stopped / "checkpoint" / name
    if name == "state.pt":
        torch.save({"stage": "round0/a"}, path)
    else:
        path.write_text(json.dumps({"done": []}))
    with pytest.raises(RunError, match=name):
        resume(stopped)
    path.unlink()
    assert resume(stopped).summary.status == "finished"


def _begun(folder: Path, *names: str) -> Path:
    """What a run leaves that dies before its data.json is whole."""
    folder.mkdir()
    for name in (".lock", *names):
        (folder / name).write_text("half of it")
    return folder


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("config.yaml",),
        ("config.yaml", ".data.json.4194305.tmp"),
        (".config.yaml.4194305.tmp",),
    ],
)
def test_a_dead_beginning_is_taken_over(tmp_path: Path, names: tuple[str, ...]) -> None:
    run = _begun(tmp_path / "run", *names)
    with pytest.raises(RunError, match=r"only the beginning of a run.*start it again") as refused:
        resume(run)
    assert f"out={run}" in str(refused.value)
    assert sorted(os.listdir(run)) == sorted({".lock", *names} & {".lock", "config.yaml"})
    train("digits", out=run, **(SETTINGS | {"data.image_size": None}))
    assert resume(run).summary.status == "finished"
    assert not [name for name in os.listdir(run) if name.endswith(".tmp")]


@pytest.mark.parametrize(
    "names",
    [("config.yaml", "notes.txt"), ("config.yaml", "data.json"), ("metrics.jsonl",), (".x.tmp",)],
)
def test_anything_of_value_is_left_alone(tmp_path: Path, names: tuple[str, ...]) -> None:
    run = _begun(tmp_path / "run", *names)
    before = _content(run)
    with pytest.raises(RunError, match="already holds"):
        train("digits", out=run, **SETTINGS)
    assert _content(run) == before


def test_a_folder_with_ones_own_config_is_left_alone(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("seed: 1\n")
    with pytest.raises(RunError, match="already holds"):
        train("digits", out=run, **SETTINGS)
    assert os.listdir(run) == ["config.yaml"]
