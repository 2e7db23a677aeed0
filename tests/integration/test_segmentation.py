"""Segmentation from real layouts to files: check, train, evaluate and predict, by the command.

How masks are read is in `test_segmentation_data`, what repeats in `test_segmentation_runs`, what
is refused in `tests/bad_input`.
"""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from dmt.cli import run_command
from tiny_scenes import MODEL, SIZE, WORDS, parts_of, pixels_of, sizes_in, value_of
from trees import write_cityscapes, write_image_masks, write_voc

# What makes a recipe for a large machine run here in a second.
SMALL = (f"model={MODEL}", "aspp_dilations=null", "weights=none", "peers.a.weights=none",
         "rounds=1", "initial.epochs=0.5", "student.epochs=0.3", "batch_size=2", "data.crop=32",
         "device=cpu", "allow_unlabeled_classes=true")  # fmt: skip


def trained(*words: object) -> None:
    assert run_command([str(word) for word in ("train", *words, "--json")]) == 0


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A miniature VOC and a run of the paper's recipe on it; nobody changes them."""
    folder = tmp_path_factory.mktemp("voc")
    root = write_voc(folder / "VOC2012", 4, 3, 2, size=SIZE)
    trained(root, "recipe=voc-1464", *SMALL, f"out={folder / 'run'}")
    return root, folder / "run"


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Images and masks with a test part, and a run on them."""
    folder = tmp_path_factory.mktemp("scenes")
    root = write_image_masks(folder / "scenes", 5, 3, num_val=2, num_test=3, size=SIZE)
    trained(root, *WORDS, f"out={folder / 'run'}")
    return root, folder / "run"


def masks_in(folder: Path, num_classes: int, photos: dict[str, tuple[int, int]]) -> None:
    """One palette PNG a photo, of its size (width, height), with classes alone in it."""
    found = {path.stem: path for path in folder.iterdir()}
    assert found.keys() == photos.keys()
    for stem, path in found.items():
        with Image.open(path) as mask:
            assert (mask.format, mask.mode, mask.size) == ("PNG", "P", photos[stem])
            assert mask.getpalette() is not None
            assert np.asarray(mask).max() < num_classes


# VOC --------------------------------------------------------------------------------------------


def test_voc_is_checked(voc, dmt) -> None:
    found = dmt("check", voc[0], "--json").value
    assert (found["task"], found["layout"]) == ("segmentation", "voc")
    assert (found["labeled"], found["unlabeled"], found["val"], found["test"]) == (7, 0, 2, 0)
    by_name = {each["name"]: each for each in found["classes"]}
    assert len(by_name) == 21
    assert by_name["background"]["count"] == 7
    assert by_name["bottle"]["count"] == 2
    assert by_name["train"] == {"name": "train", "count": 0, "pixels": 0}
    assert sum(each["pixels"] for each in found["classes"]) == pytest.approx(100)


def test_voc_1464_learns_from_train_txt_alone(voc) -> None:
    """The others of trainaug.txt are the pool, though SegmentationClassAug has masks of them."""
    root, run = voc
    lists = {
        name: (root / "ImageSets" / "Segmentation" / f"{name}.txt").read_text().split()
        for name in ("train", "trainaug", "val")
    }
    parts = parts_of(run)
    assert sorted(stem for stem in parts if parts[stem] == "labeled") == lists["train"]
    assert sorted(stem for stem in parts if parts[stem] == "test") == lists["val"]
    unlabeled = sorted(set(lists["trainaug"]) - set(lists["train"]))
    assert sorted(stem for stem in parts if parts[stem] == "unlabeled") == unlabeled
    summary = value_of(run / "summary.json")
    assert (summary["labeled"], summary["unlabeled"], summary["num_held_out"]) == (4, 3, 2)
    assert (summary["task"], summary["metric"]) == ("segmentation", "miou")
    # The pool's masks are hidden but known, so its pseudo labels can be scored: in pixels.
    (last,) = (each for each in summary["rounds"] if each["round"] == 1)
    assert (last["unit"], last["selected"]) == ("pixels", 3 * 40 * 48)
    assert 0 <= last["pseudo_label_accuracy"] <= 1
    assert "train" in summary["unlabeled_classes"]
    assert "person" not in summary["unlabeled_classes"]
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["peers"]["a"]["channel_order"] == "bgr"
    assert config["data"]["labeled_list"] == "train"


def test_voc_is_evaluated(voc, dmt) -> None:
    root, run = voc
    summary = value_of(run / "summary.json")
    assert dmt("evaluate", run, "--json").value == summary
    told = dmt("evaluate", run).out
    assert f"{summary['supervised']:6.2f}  supervised" in told
    found = dmt("evaluate", run, root, "device=cpu", "--json").value
    assert (found["metric"], found["num_left_out"]) == (
        "miou",
        0,
    )  # val alone, none of it was trained on
    assert 0 <= found["value"] <= 100
    assert len(found["classes"]) == 21
    pixels = {each["name"]: each["pixels"] for each in found["classes"]}
    assert np.sum(found["confusion"], axis=1).tolist() == list(pixels.values())
    absent = {each["name"] for each in found["classes"] if each["iou"] is None}
    assert absent == set(found["absent"])
    assert all(pixels[name] == 0 for name in absent)
    assert "mean IoU" in dmt("evaluate", run, root).out


def test_voc_is_predicted(voc, tmp_path: Path, dmt) -> None:
    root, run = voc
    out = tmp_path / "found"
    words = ("confidence=true", "disagreement=true", "device=cpu", f"out={out}")
    outcome = dmt("predict", run, root / "JPEGImages", *words)
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err == f"9 masks in {out}\n"
    photos = sizes_in(root / "JPEGImages")
    masks_in(out / "masks", 21, photos)
    for name in ("overlays", "confidence", "disagreement"):
        assert sizes_in(out / name) == photos
    assert pixels_of(out / "confidence" / "2007_000000.png").dtype == np.uint8
    rows = list(csv.DictReader((out / "predictions.csv").read_text().splitlines()))
    assert [row["path"] for row in rows] == sorted(map(str, (root / "JPEGImages").iterdir()))
    for row in rows:
        assert 1 / 21 < float(row["confidence"]) <= 1
        assert 0 <= float(row["agreement"]) <= 1


# Cityscapes -------------------------------------------------------------------------------------


def test_cityscapes_by_either_kind_of_ids(tmp_path: Path, dmt) -> None:
    """Label ids are mapped to train ids: the same run to the bit, through all four commands."""
    runs = []
    for label_ids in (False, True):
        root = write_cityscapes(tmp_path / f"set{label_ids:d}" / "cityscapes", 6, 2,
                                label_ids=label_ids, size=(32, 64))  # fmt: skip
        found = dmt("check", root, "--json").value
        assert (found["task"], found["layout"]) == ("segmentation", "cityscapes")
        assert (found["labeled"], found["unlabeled"], found["val"]) == (6, 2, 2)
        assert [each["name"] for each in found["classes"]][::18] == ["road", "bicycle"]
        run = tmp_path / f"run{label_ids:d}"
        words = ("recipe=cityscapes-1over8", *SMALL, "labels=2", f"out={run}")
        assert dmt("train", root, *words).code == 0
        runs.append(run)
        summary = value_of(run / "summary.json")
        assert (summary["labeled"], summary["unlabeled"], summary["num_held_out"]) == (2, 6, 2)
        assert list(parts_of(run).values()).count("unlabeled") == 6
        found = dmt("evaluate", run, root, "device=cpu", "--json").value
        assert (found["num_images"], found["num_left_out"]) == (2, 0)  # val alone
        photos = root / "leftImg8bit" / "val"
        out = tmp_path / f"out{label_ids:d}"
        assert dmt("predict", run, photos, "device=cpu", f"out={out}", "overlay=false").code == 0
        masks_in(out / "masks" / "munster", 19, sizes_in(photos))
        assert not (out / "overlays").exists()
    name = "rounds/1/b/model.safetensors"
    assert (runs[0] / name).read_bytes() == (runs[1] / name).read_bytes()


# Images and masks -------------------------------------------------------------------------------


def test_evaluate_on_the_test_part_is_the_run_s_own_figure(scenes, dmt) -> None:
    root, run = scenes
    summary = value_of(run / "summary.json")
    found = dmt("evaluate", run, root, "device=cpu", "--json").value
    assert (found["num_images"], found["num_left_out"]) == (3, 0)
    assert found["value"] == pytest.approx(summary["ensemble"])
    (counts,) = (each["counts"] for each in summary["confusion"] if each["model"] == "ensemble")
    assert found["confusion"] == counts
    # One confusion matrix over the whole set, void left out.
    num_labeled = sum(
        int((pixels_of(path) != 255).sum()) for path in (root / "test" / "masks").iterdir()
    )
    assert np.sum(counts) == num_labeled


def test_val_is_looked_at_after_every_round(scenes) -> None:
    _, run = scenes
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    looked = [line for line in lines if line["event"] == "evaluate"]
    assert {(line["round"], line["peer"]) for line in looked} >= {
        (r, p) for r in (0, 1) for p in "ab"
    }
    assert all(0 <= line["value"] <= 100 and line["metric"] == "miou" for line in looked)
    assert value_of(run / "summary.json")["held_out"].startswith("the 3 images of test/")


def test_predictions_become_a_data_set(scenes, tmp_path: Path, dmt) -> None:
    root, run = scenes
    out = tmp_path / "found"
    outcome = dmt("predict", run, root / "images", "device=cpu", f"out={out}", "--json")
    assert outcome.code == 0, outcome.err
    assert len(outcome.value["predictions"]) == 8
    shutil.copytree(root / "images", out / "images")
    found = dmt("check", out, "--json").value
    assert (found["labeled"], found["unlabeled"]) == (8, 0)
    assert [each["name"] for each in found["classes"]] == ["ground", "red", "green"]
    again = dmt("evaluate", run, out, "device=cpu", "--json").value
    # JPEGs of the set that were labeled in training are left out; the rest it repeats exactly.
    assert (again["num_images"], again["num_left_out"]) == (3, 5)
    assert again["pixel_accuracy"] == 100


def test_predict_writes_over_nothing_unasked(scenes, tmp_path: Path, dmt, snapshot) -> None:
    root, run = scenes
    image, out = root / "images" / "0000.jpg", tmp_path / "found"
    words = ("predict", run, image, "device=cpu", f"out={out}")
    assert dmt(*words).code == 0
    before = snapshot(out)
    outcome = dmt(*words)
    assert outcome.code == 2
    assert "would be overwritten" in outcome.sentence
    assert snapshot(out) == before
    assert dmt(*words, "overwrite=true").code == 0
    other = tmp_path / "other"
    outcome = dmt("predict", run, image, tmp_path / "absent.png", f"out={other}")
    assert outcome.code == 2
    assert not other.exists()


def test_config_repeats_a_segmentation(scenes, tmp_path: Path, dmt, outcome_of) -> None:
    root, run = scenes
    again = tmp_path / "again"
    outcome = dmt("train", root, f"recipe={run / 'config.yaml'}", f"out={again}")
    assert outcome.code == 0, outcome.err
    assert outcome_of(again)[:2] == outcome_of(run)[:2]
