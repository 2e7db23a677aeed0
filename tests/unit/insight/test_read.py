"""Reading a run's folder: resumed runs, folds, half-finished runs, and folders that are no run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sample_run import NUM_STEPS, write_sample_run

from dmt.errors import RunError
from dmt.insight.read import SUPERVISED, read_run
from dmt.records import CONFIG, METRICS, SUMMARY, append_metrics, write_text


def step(stage: str, number: int, peer: str, at: int, seen: int, loss: float) -> dict[str, Any]:
    return {
        "event": "step", "time": 1.0, "stage": stage, "round": number, "peer": peer, "step": at,
        "num_steps": 20, "images_seen": seen, "loss": loss, "agreement": None,
        "mean_weight": None, "gamma": 0.0, "lr": 0.1, "images_per_second": 1.0, "seconds": 1.0,
    }  # fmt: skip


def bare_run(run: Path, events: list[dict[str, Any]]) -> Path:
    run.mkdir()
    write_text(run / CONFIG, "seed: 1\n")
    for event in events:
        append_metrics(run / METRICS, event)
    return run


def test_a_resumed_step_counts_once_and_the_later_line_wins(tmp_path: Path) -> None:
    events = [
        step("round0/a", 0, "a", at, 10 * at, loss)
        for at, loss in ((10, 3.0), (20, 2.0), (20, 1.5))
    ]
    view = read_run(bare_run(tmp_path / "run", events))
    assert view.curves["loss"]["a"] == [(100, 3.0), (200, 1.5)]


@pytest.mark.parametrize("starts_again", [True, False])
def test_stages_are_laid_end_to_end(tmp_path: Path, starts_again: bool) -> None:
    offset = 0 if starts_again else 200
    events = [step("round0/a", 0, "a", at, 10 * at, 1.0) for at in (10, 20)]
    events += [step("round1/a", 1, "a", at, offset + 10 * at, 1.0) for at in (10, 20)]
    view = read_run(bare_run(tmp_path / "run", events))
    assert [x for x, _ in view.curves["loss"]["a"]] == [100, 200, 300, 400]
    assert view.boundaries["a"] == [(0, 0), (1, 200)]


def test_the_run_without_a_fold_is_shown_before_a_fold(tmp_path: Path) -> None:
    events = [step("fold1/round0/a", 0, "a", 10, 100, 9.0), step("round0/a", 0, "a", 10, 100, 1.0)]
    view = read_run(bare_run(tmp_path / "run", events))
    assert view.fold == ""
    assert view.curves["loss"]["a"] == [(100, 1.0)]
    only = read_run(bare_run(tmp_path / "other", events[:1]))
    assert only.fold == "1"
    assert only.curves["loss"]["a"] == [(100, 9.0)]


def test_the_baseline_is_a_curve_of_its_own(tmp_path: Path) -> None:
    view = read_run(write_sample_run(tmp_path / "run"))
    assert set(view.curves["loss"]) == {"a", "b", SUPERVISED}
    assert set(view.curves["agreement"]) == {"a", "b"}
    assert view.supervised_val == 11.6
    assert [number for number, _ in view.boundaries["b"]] == [0, 1, 2, 3, 4, 5]


def test_a_half_finished_run_tells_its_rounds_from_its_events(tmp_path: Path) -> None:
    view = read_run(write_sample_run(tmp_path / "run", finished=False))
    assert view.summary is None
    assert view.last is not None
    assert (view.last["stage"], view.last["step"]) == ("round2/b", NUM_STEPS // 2)
    assert [record.round for record in view.rounds] == [0, 1, 2]
    assert view.rounds[1].peers == pytest.approx({"a": 11.3, "b": 11.7})
    assert view.rounds[2].peers == pytest.approx({"a": 12.2, "b": None})
    assert view.rounds[1].label_fraction == pytest.approx(0.2)
    assert view.rounds[0].pseudo_label_accuracy is None


def test_an_alarm_of_the_events_keeps_its_remedy_and_is_not_repeated(tmp_path: Path) -> None:
    for finished in (True, False):
        (alarm,) = read_run(write_sample_run(tmp_path / f"{finished}", finished=finished)).alarms
        assert (alarm.kind, alarm.stage) == ("vanished-class", "round2/label/b")
        assert alarm.remedy.startswith("Try selection.kind")


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no run"):
        read_run(tmp_path)
    with pytest.raises(RunError, match="is no run"):
        read_run(tmp_path / "missing")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (METRICS, '{"event": "step"\n{}\n'),
        (CONFIG, "a: [1\n"),
        (SUMMARY, "{}"),
        (SUMMARY, "not json"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, name: str, content: str) -> None:
    run = write_sample_run(tmp_path / "run")
    write_text(run / name, content)
    with pytest.raises(RunError, match=name):
        read_run(run)


def test_a_last_line_cut_short_is_no_fault(tmp_path: Path) -> None:
    run = write_sample_run(tmp_path / "run", finished=False)
    with (run / METRICS).open("a") as file:
        file.write('{"event": "st')
    assert read_run(run).last is not None
