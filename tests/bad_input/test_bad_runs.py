"""Run folders, weights and checkpoints that cannot be used, and what predict is given besides.

What is refused because it could run code is in `tests/security`; faults while writing: elsewhere.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from odd_images import written
from safetensors.torch import save_file
from spoiling import TINY, named, refused_untouched

from commands import call, refused, tree

_WEIGHTS = "rounds/1/a/model.safetensors"
_DEEP = b"[" * 100_000
_PICKLE = b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R."


class Case(NamedTuple):
    """A file of a finished run, what it then holds (None: it is gone), and who refuses it how."""

    name: str
    file: str
    content: bytes | None
    commands: tuple[str, ...]
    parts: tuple[str, ...]


def _without_metadata() -> bytes:
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"dmt-{os.getpid()}.safetensors"
    try:
        save_file({"weight": torch.zeros(2)}, path)
        return path.read_bytes()
    finally:
        path.unlink(missing_ok=True)


_READS_SUMMARY = ("evaluate", "predict", "report")
_READS_CONFIG = ("evaluate DATA", "predict", "resume")
CASES = (
    Case("no config", "config.yaml", None, ("evaluate", "predict", "resume", "report"),
         ("is no run: it has no config.yaml",)),
    Case("an empty config", "config.yaml", b"", _READS_CONFIG, ("config.yaml",)),
    Case("half a config", "config.yaml", b"a: [", _READS_CONFIG, ("config.yaml is not YAML",)),
    Case("a config of bytes", "config.yaml", b"\xff\x00\xfe", _READS_CONFIG, ("config.yaml",)),
    Case("a config of another version", "config.yaml", b"epochs: 3\n", _READS_CONFIG,
         ("unknown setting 'epochs'",)),
    Case("a config that runs code", "config.yaml", b"seed: !!python/object/new:dict []\n",
         _READS_CONFIG, ("config.yaml",)),
    Case("no summary", "summary.json", None, ("evaluate", "predict"), ("summary.json",)),
    Case("an empty summary", "summary.json", b"", _READS_SUMMARY, ("summary.json",)),
    Case("half a summary", "summary.json", b'{"version": 1, ', _READS_SUMMARY, ("summary.json",)),
    Case("a summary without fields", "summary.json", b"{}", _READS_SUMMARY, ("summary.json",)),
    Case("a summary of another sort", "summary.json", b"[1, 2]", _READS_SUMMARY, ("summary.json",)),
    Case("a summary of words", "summary.json", b"fine\n", _READS_SUMMARY, ("summary.json",)),
    Case("a summary of bytes", "summary.json", b"\xff\xfe\x00", _READS_SUMMARY, ("summary.json",)),
    Case("a deep summary", "summary.json", _DEEP, _READS_SUMMARY, ("summary.json",)),
    Case("a long number", "summary.json", b"9" * 5000, _READS_SUMMARY, ("summary.json",)),
    Case("no data", "data.json", None, ("evaluate DATA", "predict"), ("data.json",)),
    Case("empty data", "data.json", b"", ("evaluate DATA", "predict"), ("data.json",)),
    Case("data of another sort", "data.json", b"[]", ("evaluate DATA", "predict"), ("data.json",)),
    Case("data without sizes", "data.json", b"{}", ("evaluate DATA", "predict"), ("data.json",)),
    Case("sizes of another sort", "data.json", b'{"sizes": {"x": 1}}', ("predict",),
         ("data.json",)),
    Case("deep data", "data.json", _DEEP, ("predict",), ("data.json",)),
    Case("a record of words", "metrics.jsonl", b"not JSON\n", ("report",), ("metrics.jsonl",)),
    Case("a record of lists", "metrics.jsonl", b"[1, 2]\n", ("report",), ("metrics.jsonl",)),
    Case("a record without names", "metrics.jsonl", b'{"a": 1}\n', ("report",),
         ("metrics.jsonl",)),
    Case("a record of bytes", "metrics.jsonl", b"\xff\xfe\n", ("report",), ("metrics.jsonl",)),
    Case("a deep record", "metrics.jsonl", _DEEP + b"\n", ("report",), ("metrics.jsonl",)),
    Case("examples of words", "examples.json", b"not JSON\n", ("report",), ("examples.json",)),
    Case("deep examples", "examples.json", _DEEP, ("report",), ("examples.json",)),
    Case("other examples", "examples.json", b'{"version": 9}', ("report",),
         ("examples.json", "does not fit this version")),
    Case("no weights", _WEIGHTS, None, ("predict", "evaluate DATA"),
         ("there are no weights at", _WEIGHTS)),
    Case("empty weights", _WEIGHTS, b"", ("predict",), (_WEIGHTS,)),
    Case("weights of zeros", _WEIGHTS, bytes(1000), ("predict",), (_WEIGHTS,)),
    Case("weights of text", _WEIGHTS, b"weights\n" * 99, ("predict",), (_WEIGHTS,)),
    Case("a pickle", _WEIGHTS, _PICKLE, ("predict",), (_WEIGHTS,)),
    Case("a header without end", _WEIGHTS, b"\xff" * 8 + b"{}", ("predict",), (_WEIGHTS,)),
    Case("weights of another program", _WEIGHTS, _without_metadata(), ("predict",),
         (_WEIGHTS, "does not say which model it holds")),
)  # fmt: skip


def _words(command: str, run: Path, photos: Path) -> tuple[str, list[Path]]:
    command, _, data = command.partition(" ")
    more = {"predict": [photos / "unlabeled"], "evaluate": [photos] if data else []}
    return command, [run, *more.get(command, [])]


@pytest.mark.parametrize(
    ("case", "command"),
    [
        pytest.param(case, command, id=f"{case.name}, {command}")
        for case in CASES
        for command in case.commands
    ],
)
def test_a_damaged_run_is_refused(
    case: Case, command: str, photo_run: Path, whole_photos: Path, tmp_path: Path, here: Path
) -> None:
    run = Path(shutil.copytree(photo_run, tmp_path / "run"))
    if case.content is None:
        (run / case.file).unlink()
    else:
        (run / case.file).write_bytes(case.content)
    if command == "resume":
        (run / "summary.json").unlink(missing_ok=True)
    name, words = _words(command, run, whole_photos)
    refused_untouched(name, words, *case.parts, beside=run)


def test_half_of_the_weights(photo_run: Path, whole_photos: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(photo_run, tmp_path / "run"))
    path = run / _WEIGHTS
    whole = path.read_bytes()
    for length in (4, 8, 1000, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        refused("predict", [run, whole_photos / "unlabeled"], _WEIGHTS)


def test_weights_of_the_other_task(
    photo_run: Path, scene_run: Path, whole_photos: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(photo_run, tmp_path / "run"))
    shutil.copy(scene_run / _WEIGHTS, run / _WEIGHTS)
    refused("predict", [run, whole_photos / "unlabeled"], _WEIGHTS)


# A run that is to go on ---------------------------------------------------------------------------


@pytest.fixture
def unfinished(photo_run: Path, tmp_path: Path) -> Path:
    """A run that was stopped before its last stages, as far as its files tell."""
    run = Path(shutil.copytree(photo_run, tmp_path / "run"))
    (run / "summary.json").unlink()
    path = run / "checkpoint" / "progress.json"
    progress = json.loads(path.read_text())
    progress["finished"] = progress["finished"][:2]
    path.write_text(json.dumps(progress))
    return run


CHECKPOINTS = (
    Case("a checkpoint of text", "checkpoint/state.pt", b"state\n", (), ("state.pt",)),
    Case("an empty checkpoint", "checkpoint/state.pt", b"", (), ("state.pt",)),
    Case("a pickle", "checkpoint/state.pt", _PICKLE, (), ("state.pt",)),
    Case("an archive", "checkpoint/state.pt", b"PK\x05\x06" + bytes(18), (), ("state.pt",)),
    Case("empty progress", "checkpoint/progress.json", b"", (), ("progress.json",)),
    Case("progress of text", "checkpoint/progress.json", b"half", (), ("progress.json",)),
    Case("progress of another sort", "checkpoint/progress.json", b"[]", (), ("progress.json",)),
    Case("progress of another version", "checkpoint/progress.json", b'{"stage": 3}', (),
         ("progress.json",)),
    Case("no data", "data.json", None, (), ("data.json",)),
    Case("data of another sort", "data.json", b"[]", (), ("data.json",)),
    Case("data without files", "data.json", b"{}", (), ("data.json",)),
    Case("files of another sort", "data.json", b'{"files": [1, 2]}', (), ("data.json",)),
    Case("a shorter record", "checkpoint/progress.json", b'{"metrics_bytes": -5}', (),
         ("progress.json is damaged",)),
)  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value"),
    [("files", [1, 2]), ("files", None), ("sha256", 3), ("settings", [1]), ("sizes", {"x": []})],
)
def test_data_of_which_a_part_is_of_another_sort(
    key: str, value: Any, unfinished: Path, whole_photos: Path, here: Path
) -> None:
    path = unfinished / "data.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    refused("resume", [unfinished], "data.json was not written by this version", key)


@pytest.mark.parametrize(
    "change",
    [
        {"learners": {}},
        {"learners": {"student": {"net": {}, "optimizer": {}, "ema": None}}},
        {"learners": 3},
        {"step": -5},
        {"step": 10**6},
        {"step": "x"},
        {"tally": {"loss": 1}},
        {"scaler": None},
        {"seconds": "long"},
    ],
    ids=str,
)
def test_a_checkpoint_of_another_run(change: dict[str, Any], unfinished: Path, here: Path) -> None:
    state = {
        "stage": "round1/a", "step": 1, "learners": {}, "method": {}, "scaler": {}, "tally": {},
        "metrics_bytes": 0, "seconds": 0.0,
    }  # fmt: skip
    progress = json.loads((unfinished / "checkpoint" / "progress.json").read_text())
    finished = ["data", "round0/a", "round0/b", "round1/label/a", "round1/label/b"]
    progress["finished"] = finished
    (unfinished / "checkpoint" / "progress.json").write_text(json.dumps(progress))
    torch.save(state | change, unfinished / "checkpoint" / "state.pt")
    outcome = call("resume", unfinished)
    assert outcome.code == 2, outcome.err
    assert "state.pt cannot be read" in outcome.sentence
    assert "delete it to go on" in outcome.sentence


@pytest.mark.parametrize("case", CHECKPOINTS, ids=named)
def test_a_run_that_cannot_go_on(case: Case, unfinished: Path, here: Path) -> None:
    if case.content is None:
        (unfinished / case.file).unlink()
    else:
        (unfinished / case.file).write_bytes(case.content)
    weights = (unfinished / _WEIGHTS).read_bytes()
    refused("resume", [unfinished], *case.parts)
    assert (unfinished / _WEIGHTS).read_bytes() == weights
    assert not (unfinished / "summary.json").exists()


def test_a_run_whose_data_are_gone(
    unfinished: Path, whole_photos: Path, tmp_path: Path, here: Path
) -> None:
    config = (unfinished / "config.yaml").read_text()
    moved = config.replace(str(whole_photos), str(tmp_path / "moved"))
    assert moved != config
    (unfinished / "config.yaml").write_text(moved)
    refused("resume", [unfinished], "there is no", "moved")


# Folders of runs ----------------------------------------------------------------------------------


def test_folder_in_use_is_left_alone(photo_run: Path, here: Path) -> None:
    before = tree(photo_run)
    words = ["digits", "steps=4", "rounds=1", f"out={photo_run}"]
    refused("train", words, "already holds another run; give another folder with out=")
    assert tree(photo_run) == before
    (here / "notes.txt").write_text("mine")
    refused("train", ["digits", f"out={here}"], "already holds files (notes.txt, …)")
    assert tree(here) == {"notes.txt": b"mine"}


def test_two_processes_in_one_folder(here: Path) -> None:
    run = here / "run"
    run.mkdir()
    with (run / ".lock").open("w") as lock:
        lock.write("process 123")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused("train", ["digits", f"out={run}"], "is in use by process 123")
    assert [path.name for path in run.iterdir()] == [".lock"]


@pytest.mark.parametrize("command", ["resume", "evaluate", "report", "predict"])
def test_a_run_that_is_no_run(command: str, whole_photos: Path, here: Path) -> None:
    more = [whole_photos / "unlabeled"] if command == "predict" else []
    for run in (here / "absent", here, whole_photos, whole_photos / "unlabeled" / "blue0.png"):
        words = [run, *more]
        refused_untouched(command, words, "is no run: it has no config.yaml", beside=whole_photos)


@pytest.mark.parametrize("command", ["evaluate", "report", "predict"])
def test_a_run_that_did_not_finish(command: str, photo_run: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    shutil.copy(photo_run / "config.yaml", tmp_path / "run" / "config.yaml")
    (tmp_path / "x.png").write_bytes(b"x")
    more = [tmp_path / "x.png"] if command == "predict" else []
    outcome = call(command, tmp_path / "run", *more)
    # A report of an unfinished run is welcome; a model is not there yet.
    assert outcome.code == (0 if command == "report" else 2), outcome.err
    assert "Traceback" not in outcome.err


def test_damaged_files_of_a_run(photo_run: Path, tmp_path: Path) -> None:
    """Three faults at once: each command names the one that it meets first."""
    run = Path(shutil.copytree(photo_run, tmp_path / "run"))
    (tmp_path / "x.png").write_bytes(b"x")
    weights = run / _WEIGHTS
    weights.write_bytes(weights.read_bytes()[:1000])
    refused("predict", [run, tmp_path / "x.png"], "model.safetensors")
    (run / "summary.json").write_text("{}")
    refused("evaluate", [run], "summary.json")
    (run / "config.yaml").write_text("a: [")
    refused("resume", [run], "config.yaml")


def test_evaluate_on_data_that_does_not_fit(
    photo_run: Path, scene_run: Path, whole_photos: Path, whole_scenes: Path
) -> None:
    refused("evaluate", [photo_run, "digits"], "has classes that the run does not know (0, 1, 2)")
    refused("evaluate", [photo_run, "digits", "devic=cpu"], "did you mean device?")
    refused("evaluate", [photo_run, whole_scenes], "was trained for another task")
    refused("evaluate", [scene_run, whole_photos], "was trained for another task")
    refused("evaluate", [photo_run, whole_photos / "absent"], "there is no")
    refused("evaluate", [photo_run, whole_photos, "device=gpu"], "device=gpu is no device")


# What predict is given ----------------------------------------------------------------------------


class Given(NamedTuple):
    """What is made in an empty folder and then named to predict, and what the sentence holds."""

    name: str
    make: Callable[[Path], list[object]]
    parts: tuple[str, ...]


GIVEN = (
    Given("nothing", lambda folder: ["out=x"], ("no image or folder was named to predict",)),
    Given("an absent file", lambda folder: [folder / "x.png"], ("there is no", "x.png")),
    Given("an empty folder", lambda folder: [folder], ("there is no image in",)),
    Given("a pipe", lambda folder: [_pipe(folder / "x.png")], ("x.png",)),
    Given("a device", lambda folder: ["/dev/null"], ("/dev/null",)),
    Given("another key", lambda folder: [folder, "batch_size=3"],
          ("unknown setting 'batch_size'",)),
    Given("bad_images=maybe", lambda folder: [folder, "bad_images=maybe"],
          ("bad_images=maybe does not work; use stop or skip",)),
    Given("a key of masks", lambda folder: [folder, "overlay=true"],
          ("unknown setting 'overlay'",)),
    Given("a name that is not UTF-8", lambda folder: [_odd_name(folder)], ("not valid UTF-8",)),
)  # fmt: skip


def _pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _odd_name(folder: Path) -> str:
    path = os.fsdecode(os.fsencode(folder) + b"/\xff.png")
    with open(path, "wb") as file:
        file.write(written(np.zeros((9, 9), np.uint8), "PNG"))
    return path


@pytest.mark.parametrize("case", GIVEN, ids=named)
def test_what_cannot_be_predicted(case: Given, photo_run: Path, tmp_path: Path, here: Path) -> None:
    folder = tmp_path / "given"
    folder.mkdir()
    words = case.make(folder)
    names = os.listdir(folder)
    outcome = call("predict", photo_run, *words)
    assert outcome.code == 2, outcome.err
    assert all(part in outcome.sentence for part in case.parts), outcome.sentence
    assert os.listdir(folder) == names
    assert os.listdir(here) == []


def test_a_table_that_cannot_be_written(photo_run: Path, whole_photos: Path, here: Path) -> None:
    words = [photo_run, whole_photos / "unlabeled" / "blue0.png"]
    refused_untouched("predict", [*words, "out=absent/x.csv"], "absent/x.csv")
    (here / "folder").mkdir()
    refused("predict", [*words, "out=folder"], "folder")
    assert os.listdir(here) == ["folder"]
    assert os.listdir(here / "folder") == []


def test_masks_that_would_be_written_over(scene_run: Path, whole_scenes: Path, here: Path) -> None:
    images = [scene_run, whole_scenes / "images"]
    (here / "out" / "masks").mkdir(parents=True)
    (here / "out" / "masks" / "a.png").write_bytes(b"drawn by hand")
    refused("predict", [*images, "out=out"], "masks/a.png", "overwrite=true")
    assert tree(here) == {"out/masks/a.png": b"drawn by hand"}
    refused("predict", [*images, images[1] / "a.png", "out=new"], "a.png is named twice")
    refused("predict", [*images, "out=out/masks/a.png"], "a.png", "out=")
    assert tree(here) == {"out/masks/a.png": b"drawn by hand"}


# Somebody's code ----------------------------------------------------------------------------------

_CODE = """
import torch
def build(num_classes):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, num_classes))
def fails(num_classes):
    raise RuntimeError("no such file")
def wrong(num_classes):
    return torch.nn.Flatten()
"""


@pytest.fixture
def with_code(here: Path) -> Iterator[Path]:
    (here / "somebodys.py").write_text(_CODE)
    yield here
    sys.modules.pop("somebodys", None)


def test_code_named_only_in_a_file_is_not_run(with_code: Path) -> None:
    Path("mine.yaml").write_text("model: somebodys:build\nsteps: 2\nrounds: 1\nbatch_size: 8\n")
    words = ["digits", "recipe=mine.yaml", "labels_per_class=2", "data.image_size=8", "out=run"]
    why = "is code that only a file names; read it, then allow it with trust_code"
    refused("train", words, why)
    assert "somebodys" not in sys.modules
    assert not Path("run").exists()
    assert call("train", *words, "trust_code=true").code == 0
    # The run's folder names it too, so every later command asks again.
    Path("x.png").write_bytes(b"x")
    refused("predict", ["run", "x.png"], "trust_code=true")
    refused("evaluate", ["run", "digits"], "trust_code=true")
    assert call("evaluate", "run", "digits", "trust_code=true").code == 0
    (Path("run") / "summary.json").unlink()
    refused("resume", ["run"], "trust_code=true")
    assert call("resume", "run", "trust_code=true").code == 0


def test_code_named_at_the_keyboard_is_run(with_code: Path) -> None:
    words = ["digits", "steps=2", "rounds=1", "batch_size=8", "out=run"]
    refused("train", [*words, "model=somebodys:fails"], "failed (RuntimeError: no such file)")
    refused("train", [*words, "model=somebodys:wrong"], "must give one row of 10 logits an image")
    refused("train", [*words, "model=somebodys:absent"], "cannot be imported")
    assert not Path("run").exists()
    assert call("train", *words, "peers.b.model=somebodys:build", "model=wrn_10_1").code == 0


def test_not_finite_loss_keeps_what_is_there(photos: Path, here: Path) -> None:
    words: list[Any] = [photos, *TINY, "initial.lr=1e30", "initial.ema_decay=0", "out=run"]
    before = tree(photos)
    assert "initial.lr" in refused("train", words, "the loss is not finite at step")
    assert (here / "run" / "config.yaml").exists()
    assert json.loads((here / "run" / "summary.json").read_text())["status"] == "stopped"
    assert tree(photos) == before
