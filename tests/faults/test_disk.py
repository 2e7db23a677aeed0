"""Disks that fill up, turn read-only or fail: a sentence, and nothing that was saved is lost.

The full disk is a real one, a small tmpfs; so is the read-only folder, where nothing has it open.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from harness import assert_equal
from small_runs import TASKS, words_of, write_data

from commands import Outcome, call, refused, tree
from dmt import faults
from dmt.data.pools.large import gather
from dmt.errors import RunError
from dmt.inference.label_parts import write_part
from dmt.records import read_metrics
from dmt.records.writing import append_line

FULL = "No space left on device"

# Where the disk fills up: at the file that a crash point names, this time of all.
_BOTH = (("config.yaml", 1), ("data.json", 1), ("metrics.jsonl", 1), ("metrics.jsonl", 20),
         ("progress.json", 1), ("state.pt", 1), ("state.pt", 9), ("model.safetensors", 1),
         ("model.safetensors", 4), ("examples.json", 1), ("summary.json", 1),
         ("report.html", 1))  # fmt: skip
_OF = {
    "classification": ("ids.npy", "label.npy", "code.npy", "manifest.json"),
    "segmentation": ("part0.spool", "part0.planes", "part0.index.npy", "part0.levels.npy",
                     "part0.json"),
}  # fmt: skip
PLACES = [
    (task, name, number)
    for task in TASKS
    for name, number in (*_BOTH, *((name, 1) for name in _OF[task]), (_OF[task][1], 2))
]
QUICK = {
    ("classification", "data.json", 1), ("classification", "state.pt", 9),
    ("classification", "summary.json", 1), ("segmentation", "metrics.jsonl", 20),
    ("segmentation", "part0.planes", 2),
}  # fmt: skip
_OPENED = {"metrics.jsonl": "opens", "part0.spool": "begun"}


def mount(*words: object) -> None:
    """Mount, or skip the test visibly."""
    done = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")


def unmount(place: Path) -> None:
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 8 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount("-t", "tmpfs", "-o", "size=8m", "tmpfs", place)
    yield place
    unmount(place)


def fill(disk: Path) -> None:
    """Leave not a byte."""
    with suppress(OSError), (disk / "ballast").open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            with suppress(OSError):
                while file.write(b"x" * size) == size:
                    pass
    assert shutil.disk_usage(disk).free == 0


@pytest.fixture
def at_point(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int, Callable[[], None]], None]:
    """Does something when a run comes to a point of `dmt.faults` for the n-th time."""

    def when(point: str, number: int, act: Callable[[], None]) -> None:
        num_left = number

        def reached(name: str) -> None:
            nonlocal num_left
            num_left -= name == point
            if name == point and num_left == 0:
                act()

        monkeypatch.setattr(faults, "reached", reached)

    return when


def stopped_by(outcome: Outcome, why: str) -> str:
    assert outcome.code == 2, (outcome.code, outcome.err)
    assert "Traceback" not in outcome.err
    assert why in outcome.sentence, outcome.err
    return outcome.sentence


def check_saved(run: Path) -> None:
    """What lies in the folder under its own name is whole; of the record, but for its last line."""
    for path in run.rglob("*"):
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.name == "state.pt":
            assert torch.load(path, weights_only=True)["step"] > 0
    assert all("event" in event for event in read_metrics(run / "metrics.jsonl"))
    assert not list(run.rglob(".*.tmp")), "what could not be written is taken away again"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Any], tuple[Path, Path]]:
    """The data and the undisturbed run of a task, made when it is asked for first."""
    made: dict[str, tuple[Path, Path]] = {}

    def make(task: str, tmp_photos: Any) -> tuple[Path, Path]:
        if task not in made:
            folder = tmp_path_factory.mktemp(task)
            data = folder / "data"
            shutil.move(write_data(task, folder, tmp_photos), data)
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(folder)
                assert call("train", data, *keys_of(task)).code == 0
            made[task] = data, folder / "run"
        return made[task]

    return make


def keys_of(task: str) -> list[str]:
    return words_of(task, "out=run", "checkpoint_every=1e-9", "workers=0")


@pytest.mark.parametrize(
    ("task", "name", "number"),
    [pytest.param(*place, marks=[] if place in QUICK else [pytest.mark.slow]) for place in PLACES],
)
def test_a_full_disk_stops_the_run_and_loses_nothing(
    task: str, name: str, number: int, disk: Path, whole, tmp_photos, at_point,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    data, undisturbed = whole(task, tmp_photos)
    monkeypatch.chdir(disk)
    at_point(f"{name} {_OPENED.get(name, 'opened')}", number, lambda: fill(disk))
    sentence = stopped_by(call("train", data, *keys_of(task)), FULL)
    assert "free some space" in sentence
    run = disk / "run"
    check_saved(run)
    is_begun = (run / "data.json").exists()
    if is_begun and not (run / "summary.json").exists():
        # Still full: trying again says so again.
        stopped_by(call("resume", "run"), FULL)
        check_saved(run)
    (disk / "ballast").unlink()
    again = call("resume", "run") if is_begun else call("train", data, *keys_of(task))
    assert again.code == 0, again.err
    assert_equal(run, undisturbed)
    assert (run / "report.html").is_file()


def test_an_index_and_a_part_on_a_full_disk_are_one_sentence_and_leave_nothing(
    disk: Path,
) -> None:
    pytest.importorskip("pyarrow")
    names = ((f"{number:0200d}.png", (0, number, 1)) for number in range(100_000))
    with pytest.raises(RunError, match=FULL):
        gather(disk / "index", names, [])
    row = {"mask": ["m"], "confidence": [0.5], "disagreement": [None]}
    rows = ({**row, "key": [os.urandom(50_000).hex()]} for _ in range(100))
    (disk / "ballast").write_bytes(b"x" * (7 << 20))
    with pytest.raises(RunError, match=FULL):
        write_part(disk / "part-000000.parquet", rows, "segmentation", "shard", [])
    assert [path.name for path in disk.iterdir()] == ["ballast"]


def test_an_append_that_fails_half_way_leaves_whole_lines(disk: Path) -> None:
    """The kernel takes what still fits in the last page and refuses the rest."""
    path, line = disk / "metrics.jsonl", b'{"event": "said", "note": "' + b"x" * 300 + b'"}\n'
    append_line(path, line)
    fill(disk)
    num = 1
    why = ""
    while not why:
        try:
            append_line(path, line)
            num += 1
        except RunError as error:
            why = str(error)
    assert FULL in why
    assert path.stat().st_size % 4096 == 0, "a line is torn"
    assert not path.read_bytes().endswith(b"\n")
    assert len(list(read_metrics(path))) == num
    (disk / "ballast").unlink()
    append_line(path, line)
    assert path.read_bytes() == line * (num + 1)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Callable[[Path], Path]]:
    """Shows a folder at a second place, where the kernel lets nobody write."""
    places: list[Path] = []

    def show(folder: Path) -> Path:
        place = tmp_path / f"read-only-{len(places)}"
        place.mkdir()
        mount("--bind", folder, place)
        places.append(place)
        mount("-o", "remount,bind,ro", place)
        return place

    yield show
    for place in places:
        unmount(place)


def test_a_read_only_folder_is_refused_and_can_be_looked_at(
    tmp_path: Path, tmp_photos, read_only, at_point, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_data("classification", tmp_path, tmp_photos)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()

    def stop() -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    at_point("state.pt opened", 9, stop)
    words = words_of("classification", "checkpoint_every=1e-9")
    stopped_by(call("train", data, *words, "out=runs/stopped"), "Input/output error")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert call("train", data, *words, "out=runs/done").code == 0
    runs = read_only(tmp_path / "runs")
    before = tree(tmp_path / "runs")
    why = "Read-only file system"
    refused("resume", [runs / "stopped"], f"cannot write in {runs / 'stopped'}", why)
    refused("train", [data, *words, f"out={runs / 'new'}"], "cannot make the folder", why)
    refused("report", [runs / "done"], "cannot write", "report.html", why)
    assert call("resume", runs / "done").code == 0
    assert call("evaluate", runs / "done").code == 0
    assert call("evaluate", runs / "done", data).code == 0
    assert call("predict", runs / "done", data / "unlabeled").code == 0
    assert tree(tmp_path / "runs") == before
    assert call("resume", "runs/stopped").code == 0


class Crash(BaseException):
    """Stands for the process dying: nothing of ours catches it."""


def fails(*given: Any, **named: Any) -> None:
    """A system call on a file system that turned read-only."""
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def dies() -> None:
    raise Crash


@pytest.mark.parametrize(
    "name",
    ["fsync", "truncate", *(pytest.param(n, marks=pytest.mark.slow) for n in ("replace", "mkdir"))],
)
def test_a_disk_that_turns_read_only_under_a_run(
    name: str, whole, tmp_photos, tmp_path: Path, at_point
) -> None:
    """The system call itself says so, as after an error of the disk."""
    data, undisturbed = whole("classification", tmp_photos)
    command = ["train", data, *keys_of("classification")]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        if name == "truncate":  # of a record that is longer than the checkpoint knows
            at_point("step recorded", 5, dies)
            with pytest.raises(Crash):
                call(*command)
            patch.setattr(os, name, fails)
            command = ["resume", "run"]
        else:
            point = "validation done" if name == "mkdir" else "state.pt opened"
            at_point(point, 3, lambda: patch.setattr(os, name, fails))
        stopped_by(call(*command), "Read-only file system")
    check_saved(tmp_path / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert call("resume", "run").code == 0
    assert_equal(tmp_path / "run", undisturbed)
