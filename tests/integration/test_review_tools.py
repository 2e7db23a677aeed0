"""The review's images in a labeling tool and back: `export=` and `dmt apply` of one label each."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from commands import call, refused, tree
from dmt.data.layouts.table import read_table
from small_photos import TINY, rows_of, write_photos


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("tools") / "photos")


@pytest.fixture(scope="module")
def run(photos: Path) -> Path:
    outcome = call("train", photos, f"out={photos.parent / 'run'}", *TINY)
    assert outcome.code == 0, outcome.err
    return photos.parent / "run"


@pytest.mark.parametrize("tool", ["label-studio", "coco"])
def test_labels_from_a_tool_become_a_label_file(
    run: Path, photos: Path, tmp_path: Path, tool: str
) -> None:
    outcome = call("review", run, f"export={tool}", "device=cpu", "show=3", "--json")
    assert outcome.code == 0, outcome.err
    rows = {row["path"]: row for row in rows_of(run / "review.csv") if int(row["rank"]) <= 3
            and row["section"] == "label-next"}  # fmt: skip
    exported = json.loads((run / f"review-{tool}.json").read_text())
    if tool == "label-studio":
        exported = [task for task in exported if task["data"]["section"] == "label-next"]
        assert {task["data"]["path"] for task in exported} == set(rows)
        for task in exported:
            row = rows[task["data"]["path"]]
            a, b = task["predictions"]
            assert a["result"][0]["value"] == {"choices": [row["label_a"]]}
            assert b["score"] == pytest.approx(float(row["confidence_b"]), abs=1e-5)
            task["annotations"] = [{"result": b["result"]}]
        labels = {path: row["label_b"] for path, row in rows.items()}
    else:
        ids = {each["id"] for each in exported["images"] if each["section"] == "label-next"}
        notes = exported["annotations"]
        exported["annotations"] = [each for each in notes if each["image_id"] in ids]
        labels = {
            path: max((row["confidence_a"], row["label_a"]), (row["confidence_b"], row["label_b"]))[
                1
            ]
            for path, row in rows.items()
        }
    (tmp_path / "done.json").write_text(json.dumps(exported))
    outcome = call("apply", run, tmp_path / "done.json", "--json")
    assert outcome.code == 0, outcome.err
    assert {each["path"]: each["after"] for each in outcome.value["changes"]} == labels
    catalog = read_table(Path(outcome.value["labels"]))
    number = {path: row for row, path in enumerate(catalog.paths)}
    for path, label in labels.items():
        assert catalog.classes[catalog.labels[number[path]]] == label
    Path(outcome.value["labels"]).unlink()


def test_a_tool_s_unknown_files_and_classes_are_all_listed(
    run: Path, photos: Path, tmp_path: Path
) -> None:
    before = tree(photos)
    choice = {"type": "choices", "value": {"choices": ["red"]}}
    tasks = [
        {"data": {"path": path}, "annotations": [{"result": [choice]}]}
        for path in ("labeled/blue/0.png", "nowhere.png")
    ]
    (tmp_path / "done.json").write_text(json.dumps(tasks))
    refused(
        "apply", [run, tmp_path / "done.json"], "task 1: the run knows no class red",
        "task 2: the data have no image nowhere.png", "task 2: the run knows no class red",
    )  # fmt: skip
    refused("apply", [run, tmp_path / "done.json", "rest=blue"], "rest=blue is for masks")
    small = [{"image": "/data/local-files/?d=x", "path": "labeled/blue/0.png", "label": "blue"}]
    (tmp_path / "min.json").write_text(json.dumps(small))
    refused("apply", [run, tmp_path / "min.json"], "as JSON, not as JSON-MIN")
    assert tree(photos) == before


def test_the_lines_for_fiftyone_read_the_table_and_write_corrections(
    run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are run as they stand in docs/review.md, with a stand-in for FiftyOne itself."""
    text = (Path(__file__).parents[2] / "docs" / "review.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    code = code.replace('"runs/photos", "photos"', f"{str(run)!r}, {str(photos)!r}")
    assert str(run) in code
    assert call("review", run, "--audit", "folds=2", "device=cpu").code == 0
    fake = types.ModuleType("fiftyone")
    shown: list[Any] = []

    class Sample(dict[str, Any]):
        def __init__(self, filepath: str, tags: list[str]) -> None:
            assert Path(filepath).is_file()
            super().__init__(tags=tags)

    class Dataset(list[Sample]):
        def add_sample(self, sample: Sample) -> None:
            self.append(sample)

        def match_tags(self, tag: str) -> list[Sample]:
            return [sample for sample in self if tag in sample["tags"]]

    def launch_app(dataset: Dataset) -> Any:
        shown.extend(dataset)
        dataset[0]["tags"].append("unusable")
        return types.SimpleNamespace(wait=lambda: None)

    named = {"Sample": Sample, "Dataset": Dataset, "launch_app": launch_app}
    for name, value in {**named, "Classification": dict}.items():
        setattr(fake, name, value)
    monkeypatch.setitem(sys.modules, "fiftyone", fake)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/review.md", "exec"), {})
    rows = rows_of(run / "review.csv")
    assert len(shown) == len(rows)
    for sample, row in zip(shown, rows, strict=True):
        assert sample["peer_a"]["label"] == row["label_a"]
        assert sample["peer_b"]["confidence"] == float(row["confidence_b"])
        assert sample.get("given", {}).get("label", "") == row["given"]
        assert row["section"] in sample["tags"]
    outcome = call("apply", run, tmp_path / "corrections.csv", "--json")
    assert outcome.code == 0, outcome.err
    assert [change["path"] for change in outcome.value["changes"]] == [rows[0]["path"]]
    Path(outcome.value["labels"]).unlink()
