"""What a run must be to stand on a board, and which data set it then stands under."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sample_board import TASK, seal, spoil, write_board_run
from sample_segmentation import write_sample_segmentation

from dmt.errors import RunError
from dmt.insight.board.archive import shipped
from dmt.insight.board.submit import metric_of, read_submission
from dmt.insight.board.variants import content_hash, judged_hash, variant_of
from dmt.records import CONFIG, DATA, METRICS, SUMMARY, read_json, read_summary


def add_line(run: Path, **event: Any) -> None:
    with (run / METRICS).open("a") as file:
        file.write(json.dumps({"time": 1.0, "stage": "round1/a", **event}) + "\n")


def test_a_whole_run_gives_a_row_for_one_model_and_one_for_both(tmp_path: Path) -> None:
    found = read_submission(write_board_run(tmp_path / "run"))
    (task,) = found.tables
    assert task["task"] == TASK
    (dataset,) = task["datasets"]
    assert dataset["dataset"].startswith("pets (")
    assert dataset["dataset"].endswith(", 6 labels")
    one, both = dataset["sota"]["rows"]
    assert one["model_name"] == "dmt (wrn_10_1)"
    assert one["metrics"] == {"Percentage error": "16.67"}  # peer a's, though b might be better
    assert both["model_name"] == "dmt (wrn_10_1), both peers"
    assert both["metrics"] == {"Percentage error": "8.33"}
    run = one["run"]
    assert run["settings"]["student"] == {"lr": 0.05}
    assert run["settings"]["dataset"] == "pets"
    assert "/somewhere" not in json.dumps(found.tables)
    assert run["date"] == "2025-10-09"
    assert run["data"]["parts"] == {"labeled": 6, "unlabeled": 9, "test": 12}
    assert not one["uses_additional_data"]


def test_weights_from_elsewhere_are_additional_data(tmp_path: Path) -> None:
    run = write_board_run(tmp_path / "run", settings={"weights": "pretrained"})
    rows = read_submission(run).tables[0]["datasets"][0]["sota"]["rows"]
    assert all(row["uses_additional_data"] for row in rows)


REFUSALS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no run": (lambda run: (run / CONFIG).unlink(), "is no run: it has no config.yaml"),
    "half a run": (lambda run: (run / SUMMARY).unlink(), "has not finished; dmt resume"),
    "another version": (lambda run: spoil(run, SUMMARY, version=2), "does not fit this version"),
    "unknown field": (lambda run: spoil(run, SUMMARY, luck=1), "does not fit this version"),
    "stopped": (lambda run: spoil(run, SUMMARY, status="stopped"), "could not go on"),
    "no data": (lambda run: (run / DATA).unlink(), "has no data.json"),
    "old data": (lambda run: (run / DATA).write_text('{"name": "x"}'),
                 "was not written by this version"),
    "edited data": (lambda run: (run / DATA).write_text(
        (run / DATA).read_text().replace("test/00.png", "test/0x.png")), "was edited"),
    "edited settings": (lambda run: (run / CONFIG).write_text("method: dmt\n"),
                        "is not what the run was trained with"),
    "other settings": (lambda run: spoil(run, DATA, settings={"method": "dmt"}),
                       "is not what the run was trained with"),
    "other counts": (lambda run: spoil(run, SUMMARY, labeled=7), "counts 7 labeled images"),
    "fewer judged": (lambda run: spoil(run, SUMMARY, num_held_out=11), "11 held-out images"),
    "other method": (lambda run: spoil(run, SUMMARY, method="naive"), "differ in method"),
    "other seed": (lambda run: spoil(run, SUMMARY, seed=4), "differ in seed"),
    "better figure": (lambda run: spoil(run, SUMMARY, ensemble=1.0), "of ensemble is not what"),
    "no matrix": (lambda run: spoil(run, SUMMARY, confusion=[]), "of a is not what"),
    "no figure": (lambda run: spoil(run, SUMMARY, ensemble=None, peers={"a": None}), "no figure"),
    "chosen by test": (lambda run: add_line(run, event="evaluate", round=1, peer="a", split="test",
                                            metric="error", value=3.0), "looked at its test part"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_a_run_that_is_not_whole_is_refused(name: str, tmp_path: Path) -> None:
    spoiled, part = REFUSALS[name]
    run = write_board_run(tmp_path / "run")
    spoiled(run)
    with pytest.raises(RunError) as caught:
        read_submission(run)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_that_began_from_another_is_refused(tmp_path: Path) -> None:
    run = write_board_run(tmp_path / "run", settings={"init_from": "runs/a"})
    with pytest.raises(RunError, match="began from the weights of another run"):
        read_submission(run)


def test_a_run_that_learned_from_what_it_was_judged_by_is_refused(tmp_path: Path) -> None:
    run = write_board_run(tmp_path / "run")
    files = read_json(run / DATA)["files"]
    files[-1][2] = files[0][2]
    spoil(run, DATA, files=files)
    with pytest.raises(RunError, match=r"'test/11\.png', whose content is that of 'labeled/00"):
        read_submission(run)


def test_an_image_judged_that_lies_in_the_pool_is_noted(tmp_path: Path) -> None:
    run = write_board_run(tmp_path / "run")
    files = read_json(run / DATA)["files"]
    files[-1][2] = files[8][2]
    spoil(run, DATA, files=files)
    rows = read_submission(run).tables[0]["datasets"][0]["sota"]["rows"]
    assert "1 of the unlabeled images" in rows[0]["run"]["notes"][0]


def test_a_run_with_nothing_held_out_is_refused(tmp_path: Path) -> None:
    run = write_board_run(tmp_path / "run", num_held_out=0)
    files = [entry for entry in read_json(run / DATA)["files"] if entry[3] != "test"]
    spoil(run, DATA, files=files)
    with pytest.raises(RunError, match="measured nothing"):
        read_submission(run)


def test_the_two_records_of_one_content_meet_and_any_other_content_does_not(
    tmp_path: Path,
) -> None:
    run = write_board_run(tmp_path / "run")
    data, summary = read_json(run / DATA), read_summary(run)
    name = variant_of(data, summary, 0)["dataset"]
    moved = seal(data | {"files": data["files"][::-1]})
    assert variant_of(moved, summary, 0)["dataset"] == name
    parts = {"labeled": "unlabeled", "unlabeled": "unlabeled", "test": "test"}
    drawn = seal(data | {"files": [[*f[:3], parts[f[3]]] for f in data["files"]]})
    assert content_hash(drawn) == content_hash(data)
    assert judged_hash(drawn, 0) == judged_hash(data, 0)
    assert variant_of(drawn, summary, 0)["dataset"] == name
    judged = [[*f[:3], "unused" if f[0] == "test/00.png" else f[3]] for f in data["files"]]
    for other in (
        data | {"files": judged},
        data | {"labels": "fedcba9876543210"},
        data | {"classes": ["a", "b", "c"]},
        data | {"files": data["files"][1:]},
    ):
        assert variant_of(other, summary, 0)["dataset"] != name
    assert variant_of(data, summary, 5)["dataset"] != name


@pytest.mark.parametrize("name", ["CIFAR-10", "CIFAR-10, 4000 Labels", "cifar10", "digits (8×8)"])
def test_no_name_brings_a_run_onto_a_board_of_another_data_set(name: str, tmp_path: Path) -> None:
    run = write_board_run(tmp_path / "run", dataset=name)
    spoil(run, DATA, name=name)
    dataset = read_submission(run).dataset
    assert dataset.startswith(f"{name} (")
    published = {d["dataset"] for task in shipped("published.json") for d in task["datasets"]}
    known = tuple(each["name"] + "," for each in shipped("data_sets.json"))
    assert dataset not in published
    assert not dataset.startswith(known)


def test_known_content_has_its_name_and_other_judged_images_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_board_run(tmp_path / "run")
    data, summary = read_json(run / DATA), read_summary(run)
    known = {"content": content_hash(data), "judged": judged_hash(data, 0)}
    entry = known | {"name": "Pets (JPEG 75)", "description": "", "links": []}
    monkeypatch.setattr("dmt.insight.board.variants.shipped", lambda name: [entry])
    assert variant_of(data, summary, 0)["dataset"] == "Pets (JPEG 75), 6 labels"
    folded = variant_of(data, summary, 2)["dataset"]
    assert folded == f"Pets (JPEG 75), judged on {judged_hash(data, 2)[:8]}, 2 folds, 6 labels"
    entry["judged"] = "0"
    name = variant_of(data, summary, 0)["dataset"]
    assert name == f"Pets (JPEG 75), judged on {judged_hash(data, 0)[:8]}, 6 labels"


def test_the_mean_iou_is_what_its_matrix_gives(tmp_path: Path) -> None:
    scenes = read_summary(write_sample_segmentation(tmp_path / "scenes"))
    for confusion in scenes.confusion:
        told = {**scenes.peers, "ensemble": scenes.ensemble, "supervised": scenes.supervised,
                "oracle": scenes.oracle}[confusion.model]  # fmt: skip
        assert metric_of(scenes, confusion) == pytest.approx(told, abs=1e-9)
