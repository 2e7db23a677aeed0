"""Settings, runs and names that do not fit a segmentation: one sentence, exit code 2, nothing left.

Data that cannot be used are in `tests/bad_input`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dmt.cli import run_command
from tiny_scenes import (
    CLASSES,
    SIZE,
    WORDS,
    parts_of,
    pixels_of,
    refused,
    words_with,
    write_films,
    write_pairs,
)
from trees import save_index, write_image_masks


@pytest.fixture
def here(tmp_path: Path, monkeypatch) -> Path:
    """An empty working folder; a run's folder would be made in it."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Six labeled images, two others, and a finished run on them; nobody changes them."""
    folder = tmp_path_factory.mktemp("scenes")
    root = write_image_masks(folder / "scenes", 6, 2, size=SIZE)
    words = ["train", root, *WORDS, "method=supervised", f"out={folder / 'run'}", "--json"]
    assert run_command(list(map(str, words))) == 0
    return root, folder / "run"


# Settings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("data.image_size=32", ("data.image_size is for images with one label each",)),
        ("labels_per_class=3", ("labels_per_class is for images with one label each",)),
        ("data.randaugment=2", ("data.randaugment is for images with one label each",)),
        ("data.window=8", ("data.window=8 does not work",)),
        ("data.overlap=1", ("data.overlap=1 does not work",)),
        ("data.crop=8", ("data.crop=8 does not work",)),
        ("data.crop=big", ("data.crop=big does not work",)),
        ("data.max_side=0", ("data.max_side=0 does not work",)),
        ("data.scale=[2,1]", ("data.scale is (2.0, 1.0); give two zooms above 0, sorted",)),
        ("data.photometric=2", ("data.photometric=2 does not work",)),
        ("aspp_dilations=0", ("aspp_dilations=0 does not work",)),
        ("peers.a.channel_order=gbr", ("peers.a.channel_order=gbr does not work",)),
        ("model=resnet18", ("model=resnet18", "a class for every pixel")),
        ("model=wrn_10_1", ("take model=deeplab_v2:wrn_10_1",)),
        ("model=nope", ("model=nope: no architecture is called 'nope'",)),
        ("model=unett:resnet18", ("did you mean unet",)),
        ("model=unet:nope", ("no encoder is called 'nope'",)),
        ("model=deeplab_v2", ("needs a backbone",)),
        ("model=deeplab_v2:nope", ("'nope'",)),
        ("model=deeplab_v2:wrn_10_1:0-3", ("dilations",)),
        ("peers.b.model=wrn_10_1", ("take model=deeplab_v2:wrn_10_1",)),
        ("weights=missing.pth", ("weights=missing.pth is no file",)),
        ("peers.b.weights=missing.pth", ("peers.b.weights=missing.pth is no file",)),
        ("labels=99", ("labels=99 means 99 masks, but it must be 1 to 5",)),
        ("folds=99", ("folds=99 must lie between 2 and the 6 labeled images",)),
        ("data.val_images=3", ("val_images=3",)),
        ("data.labeled_list=none.txt", ("text file (No such file or directory); give one",)),
        ("data.group=film", ("group=film is not found in images/0000.jpg",)),
        ("data.group=(", ("is no regular expression",)),
        ("data.group=000(.)$ data.test_group=x,1", ("test_group names 'x', which is no group",)),
        ("data.test_group=a", ("test_group names groups, so it needs",)),
        ("data.block=0", ("data.block=0 does not work",)),
        ("window=32", ("unknown setting 'window'; did you mean data.window?",)),
        ("baseline=pair method=dst", ("baseline=pair is for a pair of peers",)),
        ("selection.fractions=[0.5,1]", ("selection.fractions names 2 for rounds=1",)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_setting_that_does_not_work(
    words: str, parts: tuple[str, ...], scenes, here: Path, dmt
) -> None:
    if "unet" in words or words == "model=nope":
        pytest.importorskip("segmentation_models_pytorch")
    if words in ("model=resnet18", "model=deeplab_v2:nope"):
        pytest.importorskip("timm")
    refused(dmt, [scenes[0], *words_with(*words.split())], *parts)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("word", "part"),
    [
        ("data.crop=32", "data.crop is for segmentation"),
        ("data.group=x", "data.group is for segmentation"),
        ("aspp_dilations=6,12", "aspp_dilations is for segmentation"),
        ("allow_unlabeled_classes=true", "allow_unlabeled_classes is for segmentation"),
        ("model=unet:resnet18", "model=unet:resnet18 gives a class for every pixel"),
        ("model=deeplab_v2:wrn_10_1", "gives a class for every pixel"),
    ],
)
def test_classification_refuses_what_is_for_pixels(word: str, part: str, here: Path, dmt) -> None:
    words = ["digits", "steps=2", "rounds=1", "batch_size=8", "device=cpu", word]
    refused(dmt, words if "model" in word else [*words, "model=wrn_10_1"], part)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("name", ["x.safetensors", "x.pth", "empty.pth", "other.pth"])
def test_weights_that_are_none(name: str, scenes, tmp_path: Path, here: Path, dmt) -> None:
    path = tmp_path / name
    path.write_bytes(b"" if name == "empty.pth" else b"garbage" * 100)
    if name == "other.pth":
        torch.save({"layer.weight": torch.zeros(3, 3)}, path)
    refused(dmt, [scenes[0], *WORDS, f"weights={path}"], f"weights={path}")
    assert list(here.iterdir()) == []


# Evaluating and predicting ----------------------------------------------------------------------


def test_evaluate_on_what_does_not_fit(scenes, tmp_path: Path, dmt) -> None:
    _, run = scenes
    other = write_pairs(tmp_path / "other", "abcd", classes=("ground", "blue", "yellow"))
    refused(dmt, [run, other], "has classes that the run does not know (blue, yellow)",
            command="evaluate")  # fmt: skip
    refused(dmt, [run, "digits"], "digits is a classification", command="evaluate")
    spoilt = write_pairs(tmp_path / "spoilt", "uvwx")
    for stem in "uvwx":
        save_index(spoilt / "masks" / f"{stem}.png", np.full(SIZE, 255, np.uint8))
    refused(dmt, [run, spoilt], "no labeled pixel", command="evaluate")
    strange = write_pairs(tmp_path / "strange", "abcd", size=(41, 51))
    save_index(strange / "masks" / "a.png", np.full((41, 51), 77, np.uint8))
    refused(dmt, [run, strange], "the value 77", command="evaluate")


def test_evaluate_with_classes_in_another_order(scenes, tmp_path: Path, dmt) -> None:
    """Classes go by their names: renumbered masks give the same figures."""
    _, run = scenes
    found = []
    for name, order in (("same", CLASSES), ("turned", (*CLASSES[1:], CLASSES[0]))):
        root = write_pairs(tmp_path / name, "uvwxyz", size=(41, 51))
        (root / "classes.txt").write_text("".join(f"{each}\n" for each in order))
        table = np.full(256, 255, dtype=np.uint8)
        table[:3] = [order.index(each) for each in CLASSES]
        for path in (root / "masks").iterdir():
            save_index(path, table[pixels_of(path)])
        value = dmt("evaluate", run, root, "device=cpu", "--json").value
        found.append((value["value"], value["classes"], value["confusion"]))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["absent.png"], "there is no absent.png"),
        (["images", "confidence=maybe"], "confidence takes true or false"),
        (["images", "disagreement=true"], "disagreement=true needs a run of two models"),
        (["images", "threshold=1"], "unknown setting 'threshold'"),
    ],
)
def test_predictions_that_are_refused(words: list[str], part: str, scenes, here: Path, dmt) -> None:
    root, run = scenes
    words = [str(root / word) if word == "images" else word for word in words]
    refused(dmt, [run, *words], part, command="predict")
    assert list(here.iterdir()) == []


# Films ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("film", ["7", "7,12", "0010", "on"])
def test_film_whose_name_reads_as_something_else(
    film: str, tmp_path: Path, here: Path, dmt
) -> None:
    root = write_films(tmp_path / "films", ("7", "12", "0010", "on", "west"), 3)
    words = ["data.group=^images/([^_]+)_", "method=supervised", "steps=2", "rounds=1", "out=run"]
    outcome = dmt("train", root, *words_with(*words), f"data.test_group={film}")
    assert outcome.code == 0, outcome.err
    held_out = {stem for stem, part in parts_of(here / "run").items() if part == "test"}
    assert {stem.split("_")[0] for stem in held_out} == set(film.split(","))
