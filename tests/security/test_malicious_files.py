"""A file that would run code if anything in it were run, fed to every loader: it never is."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from commands import call, refused, tree
from conftest import TINY
from trees import write_cityscapes, write_image_masks, write_voc


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """What a payload would make."""
    return tmp_path / "THE-CODE-RAN"


class _Make:
    """Unpickles to a call that makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def as_pickle(marker: Path) -> bytes:
    return pickle.dumps(_Make(marker))


def as_torch_zip(marker: Path) -> bytes:
    content = io.BytesIO()
    torch.save({"state_dict": _Make(marker)}, content)
    return content.getvalue()


def as_old_torch(marker: Path) -> bytes:
    content = io.BytesIO()
    torch.save({"weight": _Make(marker)}, content, _use_new_zipfile_serialization=False)
    return content.getvalue()


def as_object_array(marker: Path) -> bytes:
    content = io.BytesIO()
    np.save(content, np.array([_Make(marker)], dtype=object), allow_pickle=True)
    return content.getvalue()


def as_npz(marker: Path) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("ids.npy", as_object_array(marker))
    return content.getvalue()


def as_yaml(marker: Path) -> bytes:
    return f"model: !!python/object/apply:os.mkdir ['{marker}']\n".encode()


PAYLOADS = [as_pickle, as_torch_zip, as_old_torch, as_object_array, as_npz, as_yaml]
MANY = pytest.mark.parametrize("payload", PAYLOADS, ids=lambda each: each.__name__)
# Where a command is run for each, one of every sort: bare, in an archive, in a text.
SOME = pytest.mark.parametrize(
    "payload", [as_object_array, as_torch_zip, as_yaml], ids=lambda each: each.__name__
)


def test_the_payloads_are_live(marker: Path) -> None:
    """Else nothing here would prove anything: each does run where it is believed."""
    for loads in (
        lambda: pickle.loads(as_pickle(marker)),
        lambda: torch.load(io.BytesIO(as_torch_zip(marker)), weights_only=False),
        lambda: torch.load(io.BytesIO(as_old_torch(marker)), weights_only=False),
        lambda: np.load(io.BytesIO(as_object_array(marker)), allow_pickle=True),
    ):
        loads()
        marker.rmdir()


# Which command reads the file, and where in a run's folder it lies. `stopped` commands go on.
IN_A_RUN = [
    ("evaluate", "config.yaml", True),
    ("evaluate", "summary.json", True),
    ("evaluate", "data.json", True),
    ("evaluate", "rounds/1/a/model.safetensors", True),
    ("report", "config.yaml", False),
    ("report", "summary.json", False),
    ("report", "data.json", False),
    ("report", "metrics.jsonl", False),
]


@SOME
@pytest.mark.parametrize(("command", "place", "needs_data"), IN_A_RUN)
def test_file_of_a_finished_run(
    command: str, place: str, needs_data: bool, payload: Callable[[Path], bytes],
    run: Path, marker: Path,
) -> None:  # fmt: skip
    (run / place).write_bytes(payload(marker))
    before = tree(run)
    words = [run, "digits"] if needs_data else [run]
    outcome = call(command, *words)
    if (
        outcome.code == 0
    ):  # a report shows a config that is a plain text, or no whole line of events
        assert (command, place) in {("report", "config.yaml"), ("report", "metrics.jsonl")}
    else:
        assert outcome.code == 2, outcome.err
        assert "Traceback" not in outcome.err
        assert outcome.err.count("\n") == 1, outcome.err
        assert tree(run) == before
    assert not marker.exists()


@SOME
@pytest.mark.parametrize(
    "place",
    [
        "config.yaml",
        "data.json",
        "checkpoint/progress.json",
        "checkpoint/state.pt",
        "rounds/0/a/model.safetensors",
        "rounds/1/a/pseudo_labels/ids.npy",
        "rounds/1/a/pseudo_labels/manifest.json",
    ],
)
def test_file_of_a_run_to_go_on_with(
    place: str, payload: Callable[[Path], bytes], stopped: Path, marker: Path
) -> None:
    labels = sorted(stopped.rglob("pseudo_labels"))
    path = stopped / place
    if "pseudo_labels" in place:
        path = labels[0] / path.name
        shutil.rmtree(stopped / "rounds" / "1" / "b")  # so that the labels are read again
        progress = stopped / "checkpoint" / "progress.json"
        progress.write_text(progress.read_text().replace('"round1/b"', '"round9/b"'))
    if place.endswith("safetensors"):
        (stopped / "rounds" / "1" / "a" / "model.safetensors").unlink()
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(payload(marker))
    outcome = call("resume", stopped)
    # A checkpoint of a stage that is over, or weights that are not looked at again, may lie there.
    assert outcome.code in (0, 2), outcome.err
    assert "Traceback" not in outcome.err
    assert not marker.exists()
    if place in {"config.yaml", "data.json", "checkpoint/progress.json"}:
        assert outcome.code == 2, outcome.out


@MANY
@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.bin", "w.safetensors", "w.npy", "w"])
def test_weights_from_elsewhere(
    name: str, payload: Callable[[Path], bytes], tmp_path: Path, marker: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(payload(marker))
    out = tmp_path / "out"
    sentence = refused("train", ["digits", *TINY, f"weights={path}", f"out={out}"], name)
    assert "weights=" in sentence
    assert not marker.exists()
    assert not out.exists()


@MANY
def test_recipe(payload: Callable[[Path], bytes], tmp_path: Path, marker: Path) -> None:
    (tmp_path / "r.yaml").write_bytes(payload(marker))
    refused("train", ["digits", f"recipe={tmp_path / 'r.yaml'}", "--print-config"], "r.yaml")
    refused("recipes", [tmp_path / "r.yaml"], "r.yaml")
    assert not marker.exists()


@MANY
def test_cifar10(payload: Callable[[Path], bytes], tmp_path: Path, marker: Path) -> None:
    """The one kind of pickle that is read: by a reader that can name nothing but arrays."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    names = ["batches.meta", "test_batch", *(f"data_batch_{number}" for number in range(1, 6))]
    for name in names:
        (folder / name).write_bytes(payload(marker))
    refused("check", [f"cifar10:{tmp_path}"], "batches.meta")
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    refused("check", [folder], "test_batch")
    assert not marker.exists()


@pytest.mark.parametrize(
    "name", ["posix.system", "builtins.eval", "numpy.load", "numpy.core.multiarray.scalar",
             "_codecs.decode", "copyreg._reconstructor", "numpy._core.multiarray.frombuffer"],
)  # fmt: skip
def test_cifar10_names_nothing_else(name: str, tmp_path: Path) -> None:
    module, _, attribute = name.rpartition(".")
    content = b"\x80\x02c" + f"{module}\n{attribute}\n".encode() + b"U\x01x\x85R."
    pickletools.dis(content, out=io.StringIO())  # a whole pickle
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "batches.meta").write_bytes(content)
    refused("check", [folder], f"asks to run {name}, which was not done")


@SOME
def test_texts_and_images_of_a_data_set(
    payload: Callable[[Path], bytes], tmp_path: Path, tmp_photos, marker: Path
) -> None:
    content = payload(marker)
    photos, scenes = tmp_photos(), write_image_masks(tmp_path / "scenes", 4)
    voc, city = (
        write_voc(tmp_path / "voc", 3, 0, 1),
        write_cityscapes(tmp_path / "city", 3, label_ids=True),
    )
    mask = city / "gtFine" / "train" / "aachen" / "aachen_000000_000019_gtFine_labelIds.png"
    for path, data in [
        (photos / "list.csv", photos / "list.csv"),
        (scenes / "classes.txt", scenes),
        (scenes / "labeled.txt", scenes),
        (voc / "ImageSets" / "Segmentation" / "train.txt", voc),
        (mask, city),
    ]:
        kept = path.read_bytes() if path.exists() else None
        path.write_bytes(content)
        sentence = refused("check", [data])
        assert path.name in sentence or "masks/" in sentence, sentence
        path.unlink() if kept is None else path.write_bytes(kept)
    (photos / "labeled" / "blue" / "0000.png").write_bytes(content)
    words = [photos, *TINY, "data.image_size=16", f"out={tmp_path / 'out'}"]
    refused("train", words, "labeled/blue/0000.png")
    assert not marker.exists()


def test_values_that_grow_or_never_end(tmp_path: Path, run: Path) -> None:
    """A few lines of YAML can stand for more values than memory holds, or for themselves."""
    recipe = tmp_path / "r.yaml"
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} {{p: *a{n - 1}, q: *a{n - 1}}}" for n in range(1, 64)]
    for text, part in [
        ("\n".join(lines), "refers to another value"),
        ("student: &a {lr: *a}\n", "refers to another value"),
        ("model: " + "[" * 5000, "nested too deeply"),
        ("seed: 2020-99-99\n", "is not YAML"),
    ]:
        recipe.write_text(text)
        refused("train", ["digits", f"recipe={recipe}", "--print-config"], part)
        (run / "config.yaml").write_text(text)
        refused("report", [run], "config.yaml")
