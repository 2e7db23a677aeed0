"""`dmt review` and `dmt apply` of masks, and labeling tools: what leaves, what comes back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from commands import call, refused, tree
from dmt.data.layouts.table import read_table
from dmt.data.masks import read_mask
from dmt.inference.peers import open_segmenters
from dmt.inference.using import settings_of
from dmt.reviews import mask_correcting
from tiny_scenes import CLASSES, SIZE, pixels_of, value_of, write_pairs
from tiny_scenes import WORDS as SCENE_WORDS

NAMES = [f"{i:02d}" for i in range(14)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("masks")


@pytest.fixture(scope="module")
def data(base: Path) -> Path:
    """Fourteen scenes, eight of them with masks."""
    return write_pairs(base / "data", NAMES, num_labeled=8)


@pytest.fixture(scope="module")
def run(base: Path, data: Path) -> Path:
    """A run with its audit."""
    path = base / "run"
    assert call("train", data, f"out={path}", *SCENE_WORDS, "baseline=none").code == 0
    outcome = call("review", path, "--audit", "folds=2", "device=cpu")
    assert outcome.code == 0, outcome.err
    return path


def write(folder: Path, *lines: str) -> Path:
    path = folder / "corrections.csv"
    path.write_text("\n".join(("path,label,action", *lines, "")), encoding="utf-8")
    return path


def stored(path: Path) -> Any:
    with Image.open(path) as image:
        assert image.mode == "P"
        return np.array(image)


def test_accepted_masks_are_new_files_that_train(run: Path, data: Path, tmp_path: Path) -> None:
    before = tree(data)
    fold = next(row for row in value_of(run / "audit" / "answers.json")["rows"])
    network = f"audit/fold{fold['fold']}/rounds/0/b"
    lines = write(
        tmp_path, "images/10.png,rounds/1/b,accept", "images/11.png,,annotate",
        f"{fold['path']},{network},accept", "images/12.png,,unusable",
        "images/10.png,rounds/1/a,accept",
    )  # fmt: skip
    outcome = call("apply", run, lines, "device=cpu", "--json")
    assert outcome.code == 0, outcome.err
    value = outcome.value
    assert value["twice"] == ["images/10.png"]
    assert value["waiting"] == ["images/11.png"]
    table = data / "masks-corrected.csv"
    assert value["labels"] == str(table)
    old = fold["path"].replace("images", "masks")
    assert {each["path"]: each["after"] for each in value["changes"]} == {
        "images/10.png": "masks-corrected/images/10.png",
        fold["path"]: f"masks-corrected/{old}",
        "images/12.png": "left out (unusable)",
    }
    new = {name for name in tree(data) if name.startswith("masks-corrected")}
    assert {name: content for name, content in tree(data).items() if name not in new} == before
    for path, name in (("images/10.png", "rounds/1/a"), (fold["path"], network)):
        expected = predicted(run, name, data / path)
        mask_path = next(e["after"] for e in value["changes"] if e["path"] == path)
        assert (stored(data / mask_path) == expected).all()
    catalog = read_table(table)
    assert (catalog.task, catalog.classes) == ("segmentation", CLASSES)
    labeled = {path for path, label in zip(catalog.paths, catalog.labels, strict=True) if not label}
    assert labeled == {f"images/{name}.png" for name in NAMES[:8]} | {"images/10.png"}
    assert "images/12.png" not in catalog.paths
    again = tmp_path / "again"
    outcome = call("train", table, f"init_from={run}", f"out={again}", "baseline=none",
                   *(word for word in SCENE_WORDS if not word.startswith("model")))  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert call("apply", run, lines, "device=cpu", "--json").value["labels"] == str(
        data / "masks-corrected-2.csv"
    )
    remove_new(data)


def remove_new(data: Path) -> None:
    for path in data.glob("masks-corrected*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def predicted(run: Path, network: str, image: Path, classes: Sequence[str] = CLASSES) -> Any:
    """What one network of a run says of a file."""
    (model,) = open_segmenters([run / network / "model.safetensors"], settings_of(run), classes)
    return model.predict([image])[0].label


@pytest.mark.parametrize("tool", ["label-studio", "coco"])
def test_what_a_tool_gets_comes_back_as_the_same_masks(
    run: Path, data: Path, tmp_path: Path, tool: str
) -> None:
    lines = write(tmp_path, "images/11.png,,annotate", "images/09.png,,annotate")
    outcome = call(
        "review", run, f"export={tool}", f"only={lines}", "device=cpu", "show=1", "--json"
    )
    assert outcome.code == 0, outcome.err
    names = [Path(path).name for path in outcome.value["exported"]]
    assert names == [f"review-{tool}.json"] + ["review-label-studio.xml"] * (tool != "coco")
    exported = value_of(run / f"review-{tool}.json")
    if tool == "coco":
        assert {each["file_name"] for each in exported["images"]} == {
            "images/11.png", "images/09.png",
        }  # fmt: skip
        notes = exported["annotations"]
        surer = {each["image_id"]: each["attributes"]["said_by"] for each in notes}
        peer = {image["file_name"]: surer[image["id"]][-1] for image in exported["images"]}
    else:
        assert len(exported) == 2
        for task in exported:
            task["annotations"] = [{"result": task["predictions"][1]["result"]}]
        peer = {task["data"]["path"]: "b" for task in exported}
    (tmp_path / "done.json").write_text(json.dumps(exported))
    outcome = call("apply", run, tmp_path / "done.json", "device=cpu", "--json")
    assert outcome.code == 0, outcome.err
    assert len(outcome.value["changes"]) == 2
    for each in outcome.value["changes"]:
        network = f"rounds/1/{peer[each['path']]}"
        expected = predicted(run, network, data / each["path"])
        assert (stored(data / each["after"]) == expected).all()
    remove_new(data)


def test_what_no_area_covers_is_left_out_or_of_the_class_that_is_said(
    run: Path, data: Path, tmp_path: Path
) -> None:
    height, width = SIZE
    value = {
        "images": [{"id": 1, "file_name": "images/13.png"}],
        "categories": [{"id": 2, "name": CLASSES[2]}],
        "annotations": [
            {"image_id": 1, "category_id": 2,
             "segmentation": [[0, 0, width, 0, width, 4, 0, 4]]},
        ],
    }  # fmt: skip
    (tmp_path / "coco.json").write_text(json.dumps(value))
    for words, outside in (((), 255), ((f"rest={CLASSES[1]}",), 1)):
        outcome = call("apply", run, tmp_path / "coco.json", *words, "--json")
        assert outcome.code == 0, outcome.err
        mask = stored(data / outcome.value["changes"][0]["after"])
        assert mask.shape == (height, width)
        assert (mask[:4] == 2).all()
        assert (mask[4:] == outside).all()
        remove_new(data)
    refused("apply", [run, tmp_path / "coco.json", "rest=sky"], "rest=sky is no class")


def test_wrong_decisions_about_masks_are_all_listed_and_nothing_is_written(
    run: Path, data: Path, tmp_path: Path
) -> None:
    before = tree(data)
    lines = write(
        tmp_path, "images/99.png,rounds/1/a,accept", "images/10.png,rounds/7/a,accept",
        "images/11.png,../../run/rounds/1/a,accept", "images/12.png,red,label",
        "images/13.png,,annotate", "images/13.png,,mask",
    )  # fmt: skip
    refused(
        "apply", [run, lines], "line 2: the data have no image images/99.png",
        "line 3: the run has no network rounds/7/a", "line 4: the run has no network ../../run",
        "line 5: there is no action label", "line 7: there is no action mask",
    )  # fmt: skip
    value = {
        "images": [{"id": 1, "file_name": "images/13.png"}, {"id": 2, "file_name": "x.png"}],
        "categories": [{"id": 2, "name": "sky"}, {"id": 3, "name": CLASSES[0]}],
        "annotations": [
            {"image_id": 1, "category_id": 2, "segmentation": [[0, 0, 1, 0, 1, 1]]},
            {"image_id": 2, "category_id": 3, "segmentation": {"size": [2, 2], "counts": [4]}},
        ],
    }
    (tmp_path / "coco.json").write_text(json.dumps(value))
    refused("apply", [run, tmp_path / "coco.json"], "image 1: the run knows no class sky",
            "image 2: the data have no image x.png")  # fmt: skip
    value["images"][1]["file_name"] = "images/12.png"
    (tmp_path / "coco.json").write_text(json.dumps(value))
    refused("apply", [run, tmp_path / "coco.json"], "it was drawn on another size than 48×40")
    (tmp_path / "broken.json").write_text('[{"data": ')
    refused("apply", [run, tmp_path / "broken.json"], "cannot be read as JSON")
    (tmp_path / "none.json").write_text('[{"data": {"path": "images/13.png"}}]')
    refused("apply", [run, tmp_path / "none.json"], "holds no correction")
    refused("apply", [run, lines, f"out={data.parent / 'above.csv'}"], "must lie in")
    (data / "masks-corrected").mkdir()
    refused("apply", [run, lines, f"out={data / 'masks-corrected.csv'}"], "is there already")
    (data / "masks-corrected").rmdir()
    assert tree(data) == before


def test_when_writing_fails_nothing_stays(
    run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(data)

    def full(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(mask_correcting, "write_csv", full)
    lines = write(tmp_path, "images/10.png,rounds/1/b,accept")
    assert call("apply", run, lines, "device=cpu").code != 0
    assert tree(data) == before
    assert not (data / "masks-corrected").exists()


def test_exports_that_cannot_be_are_refused(run: Path, tmp_path: Path) -> None:
    refused("review", [run, "export=cvat"], "export=cvat does not work; use label-studio or coco")
    refused("review", [run, "only=x.csv"], "only=x.csv is for an export")
    lines = write(tmp_path, "images/10.png,rounds/1/b,accept")
    refused("review", [run, "export=coco", f"only={lines}", "device=cpu"], "leaves no image")


@pytest.mark.parametrize("layout", ["binary", "void"])
def test_masks_keep_the_coding_of_the_data(tmp_path: Path, layout: str) -> None:
    """Black and white stay 0 and 255; where classes.txt names what is left out, values shift."""
    data = write_pairs(tmp_path / "data", NAMES[:10], num_labeled=8)
    for path in (data / "masks").iterdir():
        values = pixels_of(path)
        values = (values > 0) * 255 if layout == "binary" else values + (values > 0)
        Image.fromarray(values.astype(np.uint8)).save(path)
    names = ("off", "on") if layout == "binary" else ("ground", "void", "red", "green")
    (data / "classes.txt").write_text("\n".join(names))
    run = tmp_path / "run"
    assert call("train", data, f"out={run}", *SCENE_WORDS, "baseline=none").code == 0
    lines = write(tmp_path, "images/08.png,rounds/1/a,accept")
    outcome = call("apply", run, lines, "device=cpu", "--json")
    assert outcome.code == 0, outcome.err
    classes = tuple(name for name in names if name != "void")
    catalog = read_table(data / "masks-corrected.csv")
    assert catalog.classes == classes
    row = catalog.paths.index("images/08.png")
    expected = predicted(run, "rounds/1/a", data / "images/08.png", classes)
    assert (read_mask(catalog, row) == expected).all()
    if layout == "binary":
        value = {
            "images": [{"id": 1, "file_name": "images/09.png"}],
            "categories": [{"id": 1, "name": "on"}],
            "annotations": [{"image_id": 1, "category_id": 1,
                             "segmentation": [[0, 0, 9, 0, 9, 9]]}],
        }  # fmt: skip
        (tmp_path / "coco.json").write_text(json.dumps(value))
        refused("apply", [run, tmp_path / "coco.json"], "name the class of these by rest=")
        assert call("apply", run, tmp_path / "coco.json", "rest=off").code == 0
