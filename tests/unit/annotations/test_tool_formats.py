"""Label Studio's and COCO's JSON: what is exported comes back the same, and faults are all told."""

from __future__ import annotations

import copy
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dmt.annotations import coco, label_studio
from dmt.annotations.items import GIVEN, Item, Said
from dmt.annotations.lines import Line, Lines

CLASSES = ("ground", '"><img src=x onerror=alert(1)>', "tree & bush")
KNOWN = {"images/a b.png": 0, "images/ü.png": 1}


def mask(seed: int) -> Any:
    found = np.random.default_rng(seed).integers(0, 3, (6, 9)).astype(np.uint8)
    found[0, 0] = 255
    return found


def items(*, is_dense: bool) -> list[Item]:
    """One image without a label, one with a doubtful one."""

    def said(name: str, number: int, sure: float | None) -> Said:
        if is_dense:
            return Said(name, "", sure, mask(number))
        return Said(name, CLASSES[number], sure)

    return [
        Item("images/a b.png", "label-next", 1, 0.9, 6, 9,
             [said("Peer a", 1, 0.6), said("Peer b", 2, 0.8)]),
        Item("images/ü.png", "mislabeled", 1, 0.7, 6, 9,
             [said(GIVEN, 0, None), said("Peer a", 1, 0.9), said("Peer b", 1, 0.7)]),
    ]  # fmt: skip


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(value, allow_nan=False))


def annotated(tasks: list[Any], which: int) -> list[Any]:
    """What the tool exports after somebody took a prediction of every task as the annotation."""
    for task in tasks:
        prediction = task["predictions"][min(which, len(task["predictions"]) - 1)]
        task["annotations"] = [{"id": 7, "result": prediction["result"], "was_cancelled": False}]
    return tasks


def drawn(line: Line) -> Any:
    found = np.full((6, 9), 255, dtype=np.uint8)
    for region in line.regions:
        found[region.draw(6, 9)] = CLASSES.index(region.label)
    return found


def test_choices_come_back_from_label_studio() -> None:
    tasks = through_json(label_studio.tasks(items(is_dense=False), CLASSES, "da ta"))
    assert tasks[0]["data"]["image"] == "/data/local-files/?d=da%20ta/images/a%20b.png"
    versions = [each["model_version"] for each in tasks[1]["predictions"]]
    assert versions == [GIVEN, "Peer a", "Peer b"]
    nothing = label_studio.read_tasks(tasks, KNOWN, is_dense=False)
    assert nothing == Lines([], [])  # nobody has annotated yet
    found = label_studio.read_tasks(annotated(tasks, 1), KNOWN, is_dense=False)
    assert found == Lines(
        [Line("task 1", "images/a b.png", "label", CLASSES[2]),
         Line("task 2", "images/ü.png", "label", CLASSES[1])], [],
    )  # fmt: skip
    for task in tasks:
        del task["data"]["path"]  # the picture's address tells it too
    assert label_studio.read_tasks(tasks, KNOWN, is_dense=False) == found


def test_masks_come_back_from_label_studio() -> None:
    tasks = annotated(through_json(label_studio.tasks(items(is_dense=True), CLASSES, "d")), 0)
    found = label_studio.read_tasks(tasks, KNOWN, is_dense=True)
    assert found.faults == []
    assert [line.action for line in found.found] == ["mask", "mask"]
    assert (drawn(found.found[0]) == mask(1)).all()
    assert (drawn(found.found[1]) == mask(0)).all()


def test_words_polygons_and_the_last_change_of_a_task() -> None:
    corners = {"points": [[0, 0], [100, 0], [100, 50], [0, 50]], "polygonlabels": [CLASSES[1]]}
    place = {"original_width": 9, "original_height": 6}
    polygon = {"type": "polygonlabels", "from_name": "label", "value": corners, **place}
    word = {"type": "choices", "from_name": "action", "value": {"choices": ["unusable"]}}
    task = {
        "data": {"path": "images/ü.png"},
        "annotations": [
            {"result": [polygon], "updated_at": "2026-02-01T10:00:00Z"},
            {"result": [word], "updated_at": "2026-01-01T10:00:00Z"},
            {"result": [word], "was_cancelled": True, "updated_at": "2026-03-01T10:00:00Z"},
            {"result": [], "updated_at": "2026-04-01T10:00:00Z"},
        ],
    }
    found = label_studio.read_tasks([task], KNOWN, is_dense=True)
    assert found.faults == []
    assert [line.action for line in found.found] == ["unusable", "mask"]
    expected = np.full((6, 9), 255)
    expected[:3] = 1
    assert (drawn(found.found[1]) == expected).all()


def test_the_labeling_interface_is_xml_that_holds_any_name() -> None:
    for is_dense, tag in ((False, "Choices"), (True, "BrushLabels")):
        root = ET.fromstring(label_studio.interface(CLASSES, is_dense=is_dense))
        labels = next(node for node in root if node.tag == tag)
        assert tuple(node.get("value") for node in labels) == CLASSES
        assert root[0].get("value") == "$image"
        words = [node.get("value") for node in root[-1]]
        assert words == (["unusable"] if is_dense else ["none of these", "unusable"])


def test_categories_come_back_from_coco() -> None:
    value = through_json(coco.document(items(is_dense=False), CLASSES))
    # The surer model's word where there is no label; the given label where there is one.
    said = [each["attributes"]["said_by"] for each in value["annotations"]]
    assert said == ["Peer b", GIVEN]
    found = coco.read_document(value, KNOWN, is_dense=False)
    assert found.faults == []
    assert [line[1:4] for line in found.found] == [
        ("images/a b.png", "label", CLASSES[2]), ("images/ü.png", "label", CLASSES[0]),
    ]  # fmt: skip


def test_masks_come_back_from_coco() -> None:
    value = through_json(coco.document(items(is_dense=True), CLASSES))
    first = value["annotations"][0]
    area = mask(2) == 0
    assert first["area"] == area.sum()
    rows, columns = np.nonzero(area)
    assert first["bbox"] == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
    found = coco.read_document(value, KNOWN, is_dense=True)
    assert found.faults == []
    assert (drawn(found.found[0]) == mask(2)).all()
    assert (drawn(found.found[1]) == mask(0)).all()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_pycocotools_reads_the_export(tmp_path: Path) -> None:
    tools: Any = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    (tmp_path / "coco.json").write_text(json.dumps(coco.document(items(is_dense=True), CLASSES)))
    data = tools.COCO(str(tmp_path / "coco.json"))
    for note in data.loadAnns(data.getAnnIds(imgIds=[1])):
        assert (data.annToMask(note).astype(bool) == (mask(2) == note["category_id"] - 1)).all()


def test_polygons_and_compressed_runs_of_coco() -> None:
    value: Any = {
        "images": [{"id": 5, "file_name": "./images/ü.png"}],
        "categories": [{"id": 3, "name": CLASSES[0]}, {"id": 9, "name": CLASSES[2]}],
        "annotations": [
            {"image_id": 5, "category_id": 3,
             "segmentation": [[0, 0, 9, 0, 9, 6, 0, 6]], "iscrowd": 0},
            # two of pixels 6 … 11, as pycocotools presses [6, 6, 42]
            {"image_id": 5, "category_id": 9, "segmentation": {"size": [6, 9], "counts": "66Z1"}},
        ],
    }  # fmt: skip
    found = coco.read_document(value, KNOWN, is_dense=True)
    assert found.faults == []
    expected = np.zeros((6, 9))
    expected[:, 1] = 2
    assert (drawn(found.found[0]) == expected).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": 3}, "task 1: data"),
        ({"annotations": [{"result": [{"value": {}}]}]}, "task 1: annotations.0.result.0.type"),
        ({"annotations": [{"result": [{"type": "choices", "value": {"choices": ["a", "b"]}}]}]},
         "task 1: an image needs one choice"),
        ({"annotations": [{"result": [{"type": "rectanglelabels", "value": {}}]}]},
         "task 1: an image needs one choice"),
        ({"annotations": [{"result": [{"type": "choices", "from_name": "action",
                                       "value": {"choices": ["burn"]}}]}]},
         "task 1: there is no action burn"),
    ],
)  # fmt: skip
def test_faults_of_tasks_are_told_by_number(change: dict[str, Any], said: str) -> None:
    task = {"data": {"path": "images/ü.png"}, "annotations": []}
    found = label_studio.read_tasks([{**task, **change}, task], KNOWN, is_dense=False)
    assert len(found.faults) == 1
    assert found.faults[0].startswith(said), found.faults


def test_areas_of_another_size_or_kind_are_refused() -> None:
    tasks = annotated(through_json(label_studio.tasks(items(is_dense=True), CLASSES, "d")), 0)
    other = copy.deepcopy(tasks)
    for result in other[0]["annotations"][0]["result"]:
        result["original_width"] = 18
    line = label_studio.read_tasks(other, KNOWN, is_dense=True).found[0]
    with pytest.raises(ValueError, match="another size than 9×6"):
        drawn(line)
    other[1]["annotations"][0]["result"][0]["type"] = "rectanglelabels"
    assert label_studio.read_tasks(other, KNOWN, is_dense=True).faults == [
        "task 2: rectanglelabels are no areas; use brushes or polygons"
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": {}}, "images is no list"),
        ({"annotations": [{"image_id": 9, "category_id": 1}]}, "no image with the id 9"),
        ({"annotations": [{"image_id": 1, "category_id": 8}]}, "no category with the id 8"),
        ({"annotations": [{"image_id": 1, "category_id": 1}]}, "it has no area"),
        ({"annotations": [{"image_id": 1}]}, "annotations, entry 1: category_id"),
    ],
)
def test_faults_of_a_coco_file_are_told(change: dict[str, Any], said: str) -> None:
    value: Any = {
        "images": [{"id": 1, "file_name": "images/ü.png"}],
        "categories": [{"id": 1, "name": CLASSES[0]}],
        "annotations": [],
    }
    found = coco.read_document({**value, **change}, KNOWN, is_dense=True)
    assert found.faults
    assert said in found.faults[-1]
