"""What a user can get wrong: one sentence on stderr, exit code 2, nothing written over."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

TINY = ("steps=4", "rounds=1", "model=wrn_10_1", "batch_size=8", "data.image_size=16")


def refused(dmt, words, part: str, *, command: str = "train") -> str:
    """Run it, check how it was refused, and return the sentence."""
    outcome = dmt(command, *words)
    assert outcome.code == 2, (outcome.code, outcome.err)
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    assert "\x1b" not in outcome.err
    sentence = outcome.sentence
    assert sentence.startswith("dmt: "), outcome.err
    assert part in sentence
    return sentence


# Settings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("methd=dmt", "unknown setting 'methd'; did you mean method?"),
        ("student.lrr=1", "unknown setting 'student.lrr'; did you mean student.lr?"),
        ("method=dtm", "method=dtm does not work: input should be"),
        ("schedule=pear", "schedule=pear does not work"),
        ("seed=-1", "seed=-1 does not work"),
        ("seed=x", "seed=x does not work"),
        ("steps=0", "steps=0 does not work"),
        ("batch_size=1", "batch_size=1 does not work"),
        ("workers=-1", "workers=-1 does not work"),
        ("checkpoint_every=0", "checkpoint_every=0 does not work"),
        ("budget=soon", "budget=soon does not work: give a time such as 90s, 30m or 2h"),
        ("selection.fractions=[]", "selection.fractions=[] does not work"),
        ("selection.fractions=[2]", "selection.fractions"),
        ("student=3", "'student' is a group of settings"),
        ("student.lr.x=3", "unknown setting 'student.lr.x'"),
        ("foo", "'foo' is not a setting; write key=value"),
        ("recipe=digitz", "there is no recipe or file 'digitz'; did you mean digits?"),
        ("recipe=qqqq", "`dmt recipes` lists them"),
        (
            "weights=nonsense",
            "weights=nonsense is no file; give none, pretrained, auto",
        ),
        ("weights=pretrained", "there are no pre-trained weights of wrn_10_1"),
        (
            "peers.b.weights=nonsense",
            "peers.b.weights=nonsense is no file; give none",
        ),
        ("init_from=runs/x", "init_from is not available yet"),
        ("device=gpu", "device=gpu is no device; use auto, cpu, cuda"),
        ("device=meta", "device=meta is not supported"),
        ("precision=fp16 device=cpu", "precision=fp16 is not for the CPU"),
        ("precision=fp8", "precision=fp8 does not work"),
        ("labels_per_class=5000", "labels_per_class=5000 wants 5000 labels of class '0'"),
        ("labels=50000", "labels=50000 must lie between 10"),
        ("labels=20.5", "labels=20.5 must be a share up to 1 or a whole number"),
        ("labels=100 labels_per_class=3", "exclude each other: give one"),
        ("data.val_per_class=500", "500 more are wanted by val_per_class"),
        ("folds=1", "folds=1 must lie between 2 and the 40 labeled images"),
        ("folds=41", "folds=41 must lie between 2 and the 40 labeled images"),
        ("folds=2 labels_per_class=1", "folds=2 needs two labeled images of every class"),
        ("data.scale=[2,1]", "scale"),
        ("data.image_size=4", "data.image_size=4 does not work"),
        ("model=wrn_11_1", "take wrn_10_1 or wrn_16_1"),
        ("peers.b.model=wrn_11_1", "take wrn_10_1 or wrn_16_1"),
        ("model=nowhere_at_all:build", "model=nowhere_at_all:build cannot be imported"),
        ("model=math:pi", "names no function but a float"),
        ("model=builtins:dict", "must return a torch.nn.Module, not dict"),
        ("budget=1s", "budget=1s is too short"),
    ],
)
def test_setting_is_refused(words: str, part: str, tmp_path: Path, dmt, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    fixed = [] if "budget" in words else ["steps=4", "rounds=1", "model=wrn_10_1", "batch_size=16"]
    refused(dmt, ["digits", *fixed, *words.split(), "out=run"], part)
    assert list(tmp_path.iterdir()) == [], "no half-made run stays behind"


def test_device_that_is_not_there(tmp_path: Path, dmt) -> None:
    absent = f"cuda:{torch.cuda.device_count() if torch.cuda.is_available() else 0}"
    refused(dmt, ["digits", f"device={absent}", f"out={tmp_path / 'x'}"], f"device={absent} is not")
    assert list(tmp_path.iterdir()) == []


def test_own_word_displaces_the_recipes(dmt) -> None:
    """The default recipe of digits has labels_per_class and steps; the person named others."""
    assert dmt("train", "digits", "labels=100", "--print-config").code == 0
    printed = dmt("train", "digits", "budget=5m", "--print-config").out
    assert "steps: null" in printed


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"\xff\xfe", "cannot be read as UTF-8 text"),
        (b"a: [", "is not YAML"),
        (b"- a\n", "must be a mapping of settings"),
        (b"methd: dmt\n", "unknown setting 'methd'; did you mean method?"),
    ],
)
def test_recipe_file(content: bytes, part: str, tmp_path: Path, dmt) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_bytes(content)
    sentence = refused(dmt, ["digits", f"recipe={recipe}", f"out={tmp_path / 'x'}"], part)
    assert "mine.yaml" in sentence or "setting" in sentence
    assert list(tmp_path.iterdir()) == [recipe]


# Data -------------------------------------------------------------------------------------------


def _empty(photos: Path) -> None:
    for path in sorted(photos.rglob("*.png")):
        path.unlink()


def _class_without_image(photos: Path) -> None:
    (photos / "labeled" / "red").mkdir()


def _strange_val(photos: Path) -> None:
    (photos / "val" / "red").mkdir(parents=True)
    (photos / "labeled" / "blue" / "0000.png").rename(photos / "val" / "red" / "x.png")


def _one_class(photos: Path) -> None:
    (photos / "labeled" / "green").rename(photos / "rest")


def _loose(photos: Path) -> None:
    (photos / "labeled" / "blue" / "0000.png").rename(photos / "labeled" / "x.png")


def _link_out(photos: Path) -> None:
    (photos.parent / "outside").mkdir()
    (photos / "unlabeled" / "link").symlink_to(photos.parent / "outside")


def _unreadable(photos: Path) -> None:
    (photos / "unlabeled" / "0001.png").write_bytes(b"not an image")
    whole = (photos / "labeled" / "blue" / "0002.png").read_bytes()
    (photos / "labeled" / "blue" / "0002.png").write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("spoil", "part"),
    [
        (_empty, "holds no image"),
        (_class_without_image, "labeled/red holds no image: add some or remove it"),
        (_strange_val, "val has the class red, which labeled/ lacks"),
        (_one_class, "has one class only (blue): a classifier needs at least two"),
        (_loose, "1 image in"),
        (_link_out, "leaves the data folder"),
        (
            _unreadable,
            "2 of 32 images cannot be read (labeled/blue/0002.png, unlabeled/0001.png)",
        ),
    ],
)
def test_folder_is_refused(
    spoil: Callable[[Path], None], part: str, tmp_photos, tmp_path: Path, dmt, snapshot
) -> None:
    photos = tmp_photos(labeled=6, unlabeled=10)
    spoil(photos)
    before = snapshot(photos)
    sentence = refused(dmt, [photos, *TINY, f"out={tmp_path / 'run'}"], part)
    assert str(photos) in sentence or "bad_images=skip" in sentence
    assert snapshot(photos) == before
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda folder: folder / "absent", "there is no"),
        (lambda folder: folder, "holds no image"),
        (lambda folder: _file(folder / "photos.zip"), "unpack an archive first"),
    ],
)
def test_no_such_data(make: Callable[[Path], Path], part: str, tmp_path: Path, dmt) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for command in ("train", "check"):
        refused(dmt, [make(data)], part, command=command)


def _file(path: Path) -> Path:
    path.write_bytes(b"x")
    return path


_TABLES = [
    ("path,label\nlabeled/blue/0000.png,blue\nlabeled/green/9999.png,green\n",
     "line 3: there is no file labeled/green/9999.png"),
    ("path,label\n../secret.png,blue\n", "line 2: ../secret.png leaves the CSV's folder"),
    ("path,label\n/etc/passwd,blue\n", "leaves the CSV's folder"),
    ("path,label\nlabeled/blue/0000.png,blue\nlabeled/blue/../blue/0000.png,green\n",
     "line 3: labeled/blue/0000.png is already on line 2"),
    ("file,class\nlabeled/blue/0000.png,blue\n", "must be path,label or path,label,split"),
    ("path;label\nlabeled/blue/0000.png;blue\n", "with commas"),
    ("", "starts with nothing"),
    ("path,label\n", "lists no image"),
    ("path,label\nlabeled/blue/0000.png,\n", "labels no train image"),
    ("path,label\nlabeled/blue/0000.png,blue\n", "has one class only (blue)"),
    ("path,label\nlabeled/blue/0000.png,blue,x\n", "line 2: 3 columns instead of 2"),
    ("path,label,split\nlabeled/blue/0000.png,blue,dev\n", "line 2: the split dev is not one of"),
    ("path,label,split\nlabeled/blue/0000.png,blue,val\n", "no train image has the class blue"),
    ('path,label\n"labeled/blue/0000.png,blue\n', "not a line of a CSV"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "part"), _TABLES)
def test_table_is_refused(text: str, part: str, tmp_photos, dmt, tmp_path: Path) -> None:
    table = tmp_photos() / "list.csv"
    table.write_text(text)
    sentence = refused(dmt, [table, *TINY, f"out={tmp_path / 'run'}"], part)
    assert "list.csv" in sentence
    assert table.read_text() == text
    assert not (tmp_path / "run").exists()


def test_table_that_is_not_utf8(tmp_photos, dmt) -> None:
    table = tmp_photos() / "list.csv"
    table.write_bytes("path,label\nlabeled/blue/0000.png,blau·grün\n".encode("latin-1"))
    refused(dmt, [table], "is not UTF-8 text: save it as CSV UTF-8")


def test_bad_images_are_skipped_and_listed(tmp_photos, tmp_path: Path, dmt) -> None:
    import json

    photos = tmp_photos(labeled=6, unlabeled=10, test=4)
    _unreadable(photos)
    run = tmp_path / "run"
    outcome = dmt("train", photos, *TINY, "bad_images=skip", f"out={run}")
    assert outcome.code == 0, outcome.err
    told = "left out 2 unreadable images: labeled/blue/0002.png, unlabeled/0001.png\n"
    assert told in outcome.err
    data = json.loads((run / "data.json").read_text())
    assert data["bad"] == ["labeled/blue/0002.png", "unlabeled/0001.png"]
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["labeled"], summary["unlabeled"]) == (11, 19)


def test_check_names_bad_images(tmp_photos, dmt) -> None:
    photos = tmp_photos(labeled=6, unlabeled=10)
    _unreadable(photos)
    problems = dmt("check", photos, "--json").value["problems"]
    bad = {each["path"] for each in problems if "unreadable" in each["kind"]}
    assert bad == {"labeled/blue/0002.png", "unlabeled/0001.png"}


def test_a_class_all_of_whose_images_are_bad(tmp_photos, tmp_path: Path, dmt) -> None:
    photos = tmp_photos(labeled=3, unlabeled=3)
    for path in (photos / "labeled" / "green").iterdir():
        path.write_bytes(b"x")
    words = [photos, *TINY, "bad_images=skip", f"out={tmp_path / 'run'}"]
    refused(dmt, words, "class 'green' has no labeled image left")
    assert not (tmp_path / "run").exists()


def test_no_unlabeled_images_equals_supervised(tmp_photos, tmp_path: Path, dmt) -> None:
    import json

    photos = tmp_photos(labeled=6, unlabeled=0, test=4)
    weights = []
    for name, method in (("one", "dmt"), ("two", "supervised")):
        run = tmp_path / name
        outcome = dmt("train", photos, *TINY, f"method={method}", f"out={run}")
        assert outcome.code == 0, outcome.err
        assert "there are no unlabeled images" in outcome.err
        summary = json.loads((run / "summary.json").read_text())
        assert summary["verdict"] == "none"
        assert summary["interval"] is None
        assert "no unlabeled images" in summary["sentence"]
        weights.append((run / "rounds/0/a/model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_nothing_is_held_out(tmp_photos, tmp_path: Path, dmt) -> None:
    """One labeled image a class leaves none to judge by: said, and no verdict."""
    photos = tmp_photos(labeled=1, unlabeled=4)
    outcome = dmt("train", photos, *TINY, "labels_per_class=1", f"out={tmp_path / 'run'}", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.value["verdict"] == "none"
    assert outcome.value["num_held_out"] == 0
    assert outcome.value["peers"] == {"a": None, "b": None}


# Runs -------------------------------------------------------------------------------------------


def test_folder_in_use_is_left_alone(digits_run: Path, dmt, snapshot, tmp_path: Path) -> None:
    before = snapshot(digits_run)
    words = ["digits", "steps=4", "rounds=1", f"out={digits_run}"]
    refused(dmt, words, "already holds another run; give another folder with out=")
    assert snapshot(digits_run) == before
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    refused(dmt, ["digits", f"out={other}"], "already holds files (notes.txt, …)")
    assert snapshot(other) == {"notes.txt": b"mine"}


def test_two_processes_in_one_folder(tmp_path: Path, dmt) -> None:
    import fcntl

    run = tmp_path / "run"
    run.mkdir()
    with (run / ".lock").open("w") as lock:
        lock.write("process 123")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused(dmt, ["digits", f"out={run}"], "is in use by process 123; wait for it")
    assert [path.name for path in run.iterdir()] == [".lock"]


def test_folder_that_cannot_be_made(tmp_path: Path, dmt) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("mine")
    refused(dmt, ["digits", f"out={blocker}/run"], "cannot make the folder")
    refused(dmt, ["digits", f"out={blocker}"], "give another with out=")
    assert blocker.read_text() == "mine"


@pytest.mark.parametrize("command", ["resume", "evaluate", "report", "predict"])
def test_a_run_that_is_no_run(command: str, tmp_path: Path, dmt, tmp_photos) -> None:
    image = tmp_photos() / "unlabeled" / "0000.png"
    more = [image] if command == "predict" else []
    for run in (tmp_path / "absent", tmp_path):
        refused(dmt, [run, *more], "is no run: it has no config.yaml", command=command)


@pytest.mark.parametrize("command", ["evaluate", "report", "predict"])
def test_a_run_that_did_not_finish(command: str, digits_run, tmp_path: Path, dmt) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_bytes((digits_run / "config.yaml").read_bytes())
    more = [_file(tmp_path / "x.png")] if command == "predict" else []
    outcome = dmt(command, tmp_path / "run", *more)
    # A report of an unfinished run is welcome; a model is not there yet.
    assert outcome.code == (0 if command == "report" else 2), outcome.err
    assert "Traceback" not in outcome.err


def test_damaged_files_of_a_run(digits_run: Path, tmp_path: Path, dmt) -> None:
    import shutil

    run = tmp_path / "run"
    shutil.copytree(digits_run, run)
    image = _file(tmp_path / "x.png")
    weights = run / "rounds/2/a/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    refused(dmt, [run, image], "model.safetensors", command="predict")
    (run / "summary.json").write_text("{}")
    refused(dmt, [run], "summary.json", command="evaluate")
    (run / "config.yaml").write_text("a: [")
    refused(dmt, [run], "config.yaml", command="resume")


def test_evaluate_on_data_that_does_not_fit(digits_run: Path, tmp_photos, dmt) -> None:
    words = [digits_run, tmp_photos()]
    refused(dmt, words, "has classes that the run does not know (blue, green)", command="evaluate")
    refused(dmt, [digits_run, "digits", "devic=cpu"], "did you mean device?", command="evaluate")


# Somebody's code --------------------------------------------------------------------------------

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
def with_code(tmp_path: Path, monkeypatch) -> Path:
    (tmp_path / "somebodys.py").write_text(_CODE)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    import sys

    sys.modules.pop("somebodys", None)


def test_code_named_only_in_a_file_is_not_run(with_code: Path, dmt) -> None:
    import sys

    Path("mine.yaml").write_text("model: somebodys:build\nsteps: 2\nrounds: 1\nbatch_size: 8\n")
    words = ["digits", "recipe=mine.yaml", "labels_per_class=2", "data.image_size=8", "out=run"]
    refused(dmt, words, "is code that only a file names; read it, then allow it with trust_code")
    assert "somebodys" not in sys.modules
    assert not Path("run").exists()
    assert dmt("train", *words, "trust_code=true").code == 0
    # The run's folder names it too, so every later command asks again.
    refused(dmt, ["run", _file(Path("x.png"))], "trust_code=true", command="predict")
    refused(dmt, ["run", "digits"], "trust_code=true", command="evaluate")
    assert dmt("evaluate", "run", "digits", "trust_code=true").code == 0
    (Path("run") / "summary.json").unlink()
    refused(dmt, ["run"], "trust_code=true", command="resume")
    assert dmt("resume", "run", "trust_code=true").code == 0


def test_code_named_at_the_keyboard_is_run(with_code: Path, dmt) -> None:
    words = ["digits", "steps=2", "rounds=1", "batch_size=8", "out=run"]
    refused(dmt, [*words, "model=somebodys:fails"], "failed (RuntimeError: no such file)")
    refused(dmt, [*words, "model=somebodys:wrong"], "must give one row of 10 logits an image")
    refused(dmt, [*words, "model=somebodys:absent"], "cannot be imported")
    assert not Path("run").exists()
    assert dmt("train", *words, "peers.b.model=somebodys:build", "model=wrn_10_1").code == 0


def test_traceback_only_with_debug(dmt) -> None:
    outcome = dmt("check", "nowhere", "--debug")
    assert outcome.code == 2
    assert "Traceback" in outcome.err
    assert outcome.sentence.startswith("dmt: there is no nowhere")


def test_not_finite_loss_keeps_what_is_there(tmp_path: Path, dmt) -> None:
    run = tmp_path / "run"
    words = ["digits", "steps=4", "rounds=1", "model=wrn_10_1", "batch_size=16", f"out={run}"]
    words += ["initial.lr=1e30", "initial.ema_decay=0"]
    sentence = refused(dmt, words, "the loss is not finite at step")
    assert "initial.lr" in sentence
    assert os.path.exists(run / "config.yaml")
    assert not (run / "summary.json").exists()
