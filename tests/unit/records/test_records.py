"""The run folder's records: writes that are whole or absent, reads that explain what is wrong."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dmt import records
from dmt.errors import RunError
from dmt.records import Difference, ImagesSeen, RoundRecord, Summary


def summary(**changes: Any) -> Summary:
    fields: dict[str, Any] = {
        "status": "finished",
        "task": "classification",
        "dataset": "Größe",
        "method": "dmt",
        "schedule": "chain",
        "metric": "error",
        "held_out": "the 357 images of test/",
        "num_held_out": 357,
        "supervised": 12.5,
        "supervised_ensemble": None,
        "peers": {"a": 8.25, "b": None},
        "ensemble": None,
        "headline": "a",
        "oracle": None,
        "gap_closed": None,
        "verdict": "helped",
        "sentence": "The unlabeled images helped.",
        "interval": Difference(value=-4.25, low=-7.0, high=-1.5, p_value=0.01, num_images=357),
        "images_seen": ImagesSeen(trained=10, forward_only=20, baseline=10, oracle=0),
        "rounds": [
            RoundRecord(
                round=1,
                label_fraction=0.2,
                selected=280,
                pseudo_label_accuracy=0.98,
                peers={"a": 9.0, "b": None},
            )
        ],
        "classes": ["0", "1"],
        "confusion": [records.Confusion(model="a", split="test", counts=[[3, 1], [0, 4]])],
        "seconds": 61.5,
        "images_per_second": 900.0,
        "labeled": 40,
        "unlabeled": 1400,
        "seed": 0,
        "versions": {"torch": "2.13.0"},
        "hardware": "2 cores",
        "command": "dmt train digits",
    }
    return Summary(**{**fields, **changes})


def finished_run(folder: Path, content: Summary | str) -> Path:
    (folder / records.CONFIG).write_text("method: dmt\n")
    path = folder / records.SUMMARY
    if isinstance(content, str):
        path.write_text(content)
    else:
        records.write_json(path, content)
    return folder


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "summary.json"
    records.write_text(path, "old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), full)
    with pytest.raises(RunError, match=r"summary\.json: No space left on device; free some space"):
        records.write_text(path, "new" * 1000)
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["summary.json"]


def test_a_write_into_no_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot write .*No such file or directory"):
        records.write_text(tmp_path / "gone" / "x.json", "{}")


def test_a_write_replaces_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    for value in ({"name": "ü"}, {"name": "short"}):
        records.write_json(path, value)
        assert records.read_json(path) == value
    assert "short" in path.read_text(encoding="utf-8")
    assert [each.name for each in tmp_path.iterdir()] == ["data.json"]


def test_json_without_a_number_s_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        records.write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert not (tmp_path / "x.json").exists()


def test_metrics_come_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / records.METRICS
    events = [{"event": "started", "loss": 0.5, "stage": "größe"}, {"event": "finished"}]
    for event in events:
        records.append_metrics(path, event)
    assert list(records.read_metrics(path)) == events


def test_no_metrics_is_no_events(tmp_path: Path) -> None:
    assert list(records.read_metrics(tmp_path / records.METRICS)) == []


@pytest.mark.parametrize("cut", [1, 2, 5, 9])
def test_a_last_line_cut_by_a_crash_is_left_out(tmp_path: Path, cut: int) -> None:
    path = tmp_path / records.METRICS
    records.append_metrics(path, {"event": "started"})
    records.append_metrics(path, {"event": "ende ä"})
    path.write_bytes(path.read_bytes()[:-cut])
    assert list(records.read_metrics(path)) == [{"event": "started"}]


def test_a_line_cut_in_the_middle_of_a_letter_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / records.METRICS
    records.append_metrics(path, {"event": "started"})
    path.write_bytes(path.read_bytes() + '{"name": "ä'.encode()[:-1])
    assert list(records.read_metrics(path)) == [{"event": "started"}]


def test_what_follows_a_cut_line_is_read(tmp_path: Path) -> None:
    path = tmp_path / records.METRICS
    records.append_metrics(path, {"event": "started"})
    path.write_bytes(path.read_bytes() + b'{"event": "ste')
    records.append_metrics(path, {"event": "resumed"})
    assert list(records.read_metrics(path)) == [{"event": "started"}, {"event": "resumed"}]


def test_a_summary_comes_back_as_it_was(tmp_path: Path) -> None:
    written = summary()
    assert records.read_summary(finished_run(tmp_path, written)) == written


def test_records_refuse_unknown_fields_and_changes() -> None:
    with pytest.raises(ValidationError, match="mystery"):
        summary(mystery=1)
    with pytest.raises(ValidationError, match="frozen"):
        summary().seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "holds no summary.json: is it a finished run"),
        ("{", "cannot be read as JSON"),
        ("{}", "does not fit this version of dmt"),
        ("[]", "does not fit this version of dmt"),
        (json.dumps({**summary().model_dump(), "mystery": 1}), "does not fit this version of dmt"),
        (json.dumps({**summary().model_dump(), "version": 2}), "does not fit this version of dmt"),
    ],
)
def test_a_run_without_a_good_summary_is_explained(
    tmp_path: Path, content: str | None, sentence: str
) -> None:
    finished_run(tmp_path, content or "")
    if content is None:
        (tmp_path / records.SUMMARY).unlink()
    with pytest.raises(RunError, match=sentence) as caught:
        records.read_summary(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_run_is_explained(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "gone"):
        with pytest.raises(RunError, match=r"is no run: it has no config\.yaml"):
            records.read_summary(folder)


def label_event(round_: int, teacher: str, accuracy: float | None) -> dict[str, Any]:
    return {
        "event": "label",
        "stage": f"round{round_}/label/{teacher}",
        "round": round_,
        "teacher": teacher,
        "student": "b" if teacher == "a" else "a",
        "label_fraction": round_ / 2,
        "selected": 500 * round_,
        "pseudo_label_accuracy": accuracy,
    }


def test_rounds_are_put_together_from_the_events() -> None:
    step = {"event": "step", "round": 0, "stage": "round0/a", "peer": "a"}
    evaluated = {**step, "event": "evaluate", "split": "val", "value": 9.0}
    events = [
        step,
        {**step, "stage": "round0/b", "peer": "b"},
        evaluated,
        {"event": "finished", "stage": "round0/a", "seconds": 1.0},
        label_event(1, "b", 0.8),
        label_event(1, "a", 0.9),
        {**step, "round": 1, "stage": "round1/a"},
        {**evaluated, "round": 1, "stage": "round1/a", "value": 8.0},
        {**evaluated, "stage": "fold0/round0/a", "value": 99.0},
        {**step, "stage": "baseline/a"},
    ]
    first, second = records.round_records(events)
    assert (first.round, first.label_fraction, first.selected) == (0, None, 0)
    assert first.pseudo_label_accuracy is None
    assert first.peers == {"a": 9.0, "b": None}
    assert (second.round, second.label_fraction, second.selected) == (1, 0.5, 500)
    assert second.pseudo_label_accuracy == pytest.approx(0.85)
    assert second.peers == {"a": 8.0}
    (in_fold,) = records.round_records(events, fold="0")
    assert in_fold.peers == {"a": 99.0}


def test_a_labeling_done_again_counts_once() -> None:
    events = [label_event(1, "a", 0.5), label_event(1, "b", 0.8), label_event(1, "a", 0.9)]
    (record,) = records.round_records(events)
    assert record.pseudo_label_accuracy == pytest.approx(0.85)
    assert record.unit == "images"


def test_pixels_are_said_to_be_pixels() -> None:
    (record,) = records.round_records([{**label_event(1, "a", None), "unit": "pixels"}])
    assert (record.unit, record.selected) == ("pixels", 500)


def test_what_found_errors_is_by_teacher() -> None:
    found = {"num_images": 4, "num_blocks": 4, "num_labels": 4, "num_wrong": 1, "num_selected": 2,
             "num_selected_wrong": 0, "scores": {"entropy": {"ap": 0.5}}, "gains": {}}  # fmt: skip
    events = [
        {**label_event(1, teacher, 0.9), "event": event, **(found | {"num_wrong": number})}
        for event in ("label", "error_detection")
        for number, teacher in enumerate("aba")
    ]
    (record,) = records.round_records(events)
    assert {name: each.num_wrong for name, each in record.error_detection.items()} == {
        "a": 2, "b": 1
    }  # fmt: skip
    assert record.error_detection["a"].scores["entropy"].ap == 0.5


def test_unknown_accuracies_stay_unknown() -> None:
    (record,) = records.round_records([label_event(1, "a", None), label_event(1, "b", None)])
    assert record.pseudo_label_accuracy is None


def test_a_summary_of_before_segmentation_is_still_read(tmp_path: Path) -> None:
    new = {"scores", "unlabeled_classes"}
    old = {key: value for key, value in summary().model_dump(mode="json").items() if key not in new}
    assert records.read_summary(finished_run(tmp_path, json.dumps(old))).scores == []
