"""Images, masks and weights that vanish or change while they are needed: named, then resumed.

What the resume refuses of data that stay changed, tests/integration/test_resume.py says.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import assert_equal
from PIL import Image
from small_runs import TASKS, words_of, write_data

from commands import call, refused, tree
from dmt.api import train_with
from dmt.data.unchanged import watched
from dmt.engine.listener import Quiet
from dmt.engine.stage import Stage
from dmt.errors import DataError


class When(Quiet):
    """Does something once, when a step of a stage was taken or an event came."""

    def __init__(self, stage: str, act: Callable[[], None], event: str | None = None) -> None:
        self._stage = stage
        self._act = act
        self._event = event
        self._is_done = False

    def on_step(self, stage: Stage, step: int, num_steps: int, done: float) -> None:
        if self._event is None and stage.name == self._stage:
            self._once()

    def on_event(self, event: Mapping[str, Any]) -> None:
        if self._event == event["event"] and event["stage"] == self._stage:
            self._once()

    def _once(self) -> None:
        if not self._is_done:
            self._is_done = True
            self._act()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Any], tuple[Path, Path]]:
    """The data and the undisturbed run of a task that reads its images again and again."""
    made: dict[str, tuple[Path, Path]] = {}

    def make(task: str, tmp_photos: Any) -> tuple[Path, Path]:
        if task not in made:
            folder = tmp_path_factory.mktemp(task)
            shutil.move(write_data(task, folder, tmp_photos), folder / "data")
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(folder)
                train_with(folder / "data", words_for(task), Quiet())
            made[task] = folder / "data", folder / "run"
        return made[task]

    return make


def words_for(task: str) -> list[str]:
    # Two threads, so that one may find the fault while the other still reads.
    return words_of(task, "out=run", "checkpoint_every=1e-9", "data.memory_limit=0", "workers=2")


def put_away(path: Path) -> None:
    path.rename(path.with_name(f".{path.name}"))


def halve(path: Path) -> None:
    shutil.copy2(path, path.with_name(f".{path.name}"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def repaint(path: Path) -> None:
    """Another image of the same size: nothing but its time of change tells."""
    shutil.copy2(path, path.with_name(f".{path.name}"))
    with Image.open(path) as image:
        pixels = np.asarray(image)
        other = Image.fromarray(pixels[::-1].copy(), image.mode)
    other.save(path)


def put_back(path: Path) -> None:
    os.replace(path.with_name(f".{path.name}"), path)


FILES = {
    "classification": {"image": "labeled/blue/0001.png", "unlabeled": "unlabeled/0004.png",
                       "test": "test/green/0001.png"},
    "segmentation": {"image": "images/0001.jpg", "mask": "masks/0001.png",
                     "unlabeled": "images/0007.jpg", "test": "test/masks/0011.png"},
}  # fmt: skip
HARM = {"has vanished": put_away, "is cut short": halve, "has another content": repaint}
CASES = [
    (task, which, what)
    for task in TASKS
    for which in FILES[task]
    for what in HARM
    if which != "test" or what == "has vanished"
]
QUICK = {
    ("classification", "unlabeled", "is cut short"), ("segmentation", "mask", "has vanished"),
    ("segmentation", "image", "has another content"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("task", "which", "what"),
    [pytest.param(*case, marks=[] if case in QUICK else [pytest.mark.slow]) for case in CASES],
)
def test_a_file_that_is_streamed(
    task: str, which: str, what: str, whole, tmp_photos, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    data, undisturbed = whole(task, tmp_photos)
    monkeypatch.chdir(tmp_path)
    file = data / FILES[task][which]
    # Unlabeled images are needed by the labeling, held-out ones at the very end.
    listener = When("round1/a", lambda: HARM[what](file))
    if which == "unlabeled":
        listener = When("round0/b", lambda: HARM[what](file))
    with pytest.raises(DataError) as stopped:
        train_with(data, words_for(task), listener)
    sentence = str(stopped.value)
    assert str(file) in sentence, sentence
    assert sentence.endswith("; put it back as it was, then `dmt resume run` goes on"), sentence
    if which != "test":
        kind = "vanished" if what == "has vanished" else "changed"
        assert f"has {kind} since this run read it first" in sentence
    before = tree(tmp_path / "run")
    assert "summary.json" not in before
    refused("resume", ["run"])  # as long as it is not mended
    kept = {name for name in before if name.endswith(".safetensors") or "checkpoint" in name}
    after = tree(tmp_path / "run")
    assert all(after[name] == before[name] for name in kept)
    put_back(file)
    assert call("resume", "run").code == 0
    assert_equal(tmp_path / "run", undisturbed)


def test_a_mask_that_vanishes_before_training_reads_it(
    tmp_path: Path, tmp_photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images are in memory; masks were looked through and are read when a step needs them."""
    data = write_data("segmentation", tmp_path, tmp_photos)
    monkeypatch.chdir(tmp_path)
    mask = data / "masks" / "0003.png"
    words = words_of("segmentation", "out=run", "checkpoint_every=1e-9", "workers=0")
    listener = When("round0/a", lambda: put_away(mask), event="started")
    with pytest.raises(DataError, match=r"0003.png.*put it back as it was, then `dmt resume run`"):
        train_with(data, words, listener)
    put_back(mask)
    assert call("resume", "run").code == 0


def test_images_in_memory_may_go(tmp_path: Path, tmp_photos) -> None:
    data = write_data("classification", tmp_path, tmp_photos)
    listener = When("round0/a", lambda: shutil.rmtree(data), event="started")
    words = words_of("classification", f"out={tmp_path / 'run'}")
    assert train_with(data, words, listener).summary.status == "finished"


@pytest.mark.parametrize("task", TASKS)
def test_a_finished_run_that_lost_files(task: str, whole, tmp_photos, tmp_path: Path) -> None:
    data, finished = whole(task, tmp_photos)
    image = data / FILES[task]["unlabeled"]
    run = tmp_path / "run"
    missing = {
        "rounds/1/b/model.safetensors": f"there are no weights at {run}/rounds/1/b/model",
        "data.json": f"{run} holds no data.json",
        "summary.json": f"{run} holds no summary.json: is it a finished run?",
        "config.yaml": f"{run} is no run: it has no config.yaml",
    }
    for name, sentence in missing.items():
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(finished, run)
        (run / name).unlink()
        before = tree(run)
        for command, words in (("predict", [run, image]), ("evaluate", [run, data])):
            refused(command, [*words], sentence)
        assert tree(run) == before
    shutil.rmtree(run)
    refused("predict", [run, image], f"{run} is no run")
    refused("evaluate", [run, data], f"{run} is no run")


def test_what_is_watched(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a", "b")]
    for path in paths:
        path.write_bytes(b"12")
    read = watched(
        lambda id_: np.frombuffer(paths[id_].read_bytes(), np.uint8), lambda id_: paths[id_], 2
    )
    assert read(0).tolist() == read(0).tolist() == [49, 50]
    paths[0].write_bytes(b"123")
    with pytest.raises(DataError, match="a has changed since this run read it first"):
        read(0)
    paths[1].unlink()
    with pytest.raises(FileNotFoundError):  # read first of all: what reads it says what is wrong
        read(1)
    paths[1].write_bytes(b"4")
    assert read(1).tolist() == [52]
    paths[1].unlink()
    with pytest.raises(DataError, match="b has vanished since this run read it first"):
        read(1)
