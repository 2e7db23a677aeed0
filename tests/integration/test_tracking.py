"""`track.to=`: what arrives in TensorBoard, MLflow and W&B, and that a run never depends on it."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commands import refused
from dmt.track import trackers, tracking
from dmt.track.tracking import Figure, figures_of

SHORT = ("steps=6", "rounds=1", "model=wrn_10_1", "batch_size=16", "device=cpu", "baseline=none")
STEP = {"event": "step", "stage": "round1/a", "step": 4, "loss": 0.5, "agreement": None}


class Listening:
    """A tracker that keeps what it is given; it fails or waits where it is told to."""

    def __init__(self, fails: str = "", waits: float = 0.0) -> None:
        self.figures: list[Figure] = []
        self.notes: list[str] = []
        self.status = ""
        self._fails, self._waits = fails, waits
        if fails == "begin":
            raise ConnectionError("no server\nat all")

    def add(self, figures: list[Figure]) -> None:
        time.sleep(self._waits)
        if self._fails == "add":
            raise ValueError("will not")
        self.figures += figures

    def note(self, text: str) -> None:
        self.notes.append(text)

    def close(self, status: str) -> None:
        self.status = status


@pytest.fixture
def fake(monkeypatch) -> Any:
    """Puts `Listening` in MLflow's place; what it made is in `made`."""
    made: list[Listening] = []

    def use(**how: Any) -> list[Listening]:
        def begin(path: Path, settings: Any) -> Listening:
            made.append(Listening(**how))
            return made[-1]

        monkeypatch.setattr(tracking, "MLflow", begin)
        monkeypatch.setattr(tracking, "require", lambda name: None)
        return made

    return use


def test_points_of_events() -> None:
    assert figures_of(STEP) == [Figure("round1/a/loss", 0.5, 4)]
    label = {"event": "label", "stage": "fold2/round1/label/b", "round": 1, "teacher": "b",
             "pool": 8, "selected": 2, "pool_accuracy": 0.25}  # fmt: skip
    assert figures_of(label) == [
        Figure("fold2/labels/b/pool_accuracy", 0.25, 1),
        Figure("fold2/labels/b/selected", 0.25, 1),
    ]
    score = {"event": "evaluate", "stage": "round1/a", "peer": "a", "split": "val", "round": 1,
             "metric": "error", "value": 3.0}  # fmt: skip
    assert figures_of(score) == [Figure("val/a/error", 3.0, 1)]
    assert figures_of(score | {"stage": "baseline/a"}) == [Figure("val/baseline/a/error", 3.0, 1)]
    assert figures_of({"event": "finished", "stage": "round1/a", "seconds": 1.0}) == []


def test_all_that_is_recorded_is_tracked(tmp_path: Path, dmt, fake) -> None:
    made = fake()
    outcome = dmt("train", "digits", *SHORT, f"out={tmp_path / 'run'}", "track.to=mlflow")
    assert outcome.code == 0, outcome.err
    (tracker,) = made
    assert tracker.status == "finished"
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    expected = [figure for line in lines for figure in figures_of(json.loads(line))]
    assert expected
    assert tracker.figures[: len(expected)] == expected
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert Figure("final/a", summary["peers"]["a"], 0) in tracker.figures
    assert tracker.notes[-1] == summary["sentence"]


@pytest.mark.parametrize("fails", ["begin", "add"])
def test_a_tracker_that_fails_is_one_note(
    fails: str, tmp_path: Path, dmt, fake, outcome_of
) -> None:
    assert dmt("train", "digits", *SHORT, f"out={tmp_path / 'plain'}").code == 0
    fake(fails=fails)
    outcome = dmt("train", "digits", *SHORT, f"out={tmp_path / 'run'}", "track.to=mlflow")
    assert outcome.code == 0, outcome.err
    assert outcome.err.count("track.to=mlflow failed") == 1
    assert "Traceback" not in outcome.err
    plain, tracked = (outcome_of(tmp_path / name) for name in ("plain", "run"))
    assert plain[:2] == tracked[:2]
    assert {k: v for k, v in plain[2].items() if k != "command"} == {
        k: v for k, v in tracked[2].items() if k != "command"
    }


def test_a_slow_tracker_holds_nothing_up(monkeypatch, fake) -> None:
    made = fake(waits=60.0)
    monkeypatch.setattr(tracking, "_LAST_SECONDS", 0.2)
    notes: list[str] = []
    each = tracking.Tracked(_Notes(notes), "mlflow", lambda: tracking.MLflow(Path(), {}))
    began = time.perf_counter()
    each.on_plan([])
    for _ in range(20_000):
        each.on_event(STEP)
    each.close()
    assert time.perf_counter() - began < 20
    assert len(made) == 1
    assert len(notes) == 1
    assert "track.to=mlflow failed" in notes[0]


class _Notes:
    def __init__(self, notes: list[str]) -> None:
        self._notes = notes

    def on_note(self, text: str) -> None:
        self._notes.append(text)

    def on_plan(self, stages: Any) -> None: ...
    def on_event(self, event: Any) -> None: ...
    def on_step(self, stage: Any, step: int, num_steps: int, done: float) -> None: ...


@pytest.mark.parametrize(
    ("name", "extra"), [("tensorboard", "track"), ("mlflow", "mlflow"), ("wandb", "wandb")]
)
def test_missing_package_names_its_extra(
    name: str, extra: str, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    out = tmp_path / "run"
    refused("train", ["digits", *SHORT, f"out={out}", f"track.to={name}"], f"dmt[{extra}]")
    assert not out.exists()


def test_a_resumed_run_does_without_a_missing_package(monkeypatch) -> None:
    from dmt.config import resolve

    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    settings = resolve({"track.to": "wandb"}, dataset=None, default_recipe=None)
    notes: list[str] = []
    with tracking.tracked(_Notes(notes), settings, Path(), is_writer=True, is_new=False) as each:
        each.on_plan([])
        each.on_event(STEP)
    assert len(notes) == 1
    assert "goes on untracked" in notes[0]


@pytest.mark.filterwarnings("ignore")
def test_tensorboard(tmp_path: Path, dmt) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    outcome = dmt("train", "digits", *SHORT, f"out={run}", "track.to=tensorboard")
    assert outcome.code == 0, outcome.err
    assert "failed" not in outcome.err
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in steps if line["event"] == "step" and line["stage"] == "round1/b"]
    found = events.Scalars("round1/b/loss")
    assert [each.step for each in found] == [line["step"] for line in steps]
    assert [each.value for each in found] == pytest.approx([line["loss"] for line in steps])
    summary = json.loads((run / "summary.json").read_text())
    assert events.Scalars("final/a")[0].value == pytest.approx(summary["peers"]["a"])


@pytest.fixture
def mlflow_server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A local server with a store in SQLite: its address and the store."""
    pytest.importorskip("mlflow")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    store = tmp_path / "store.db"
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{store}",
         "--artifacts-destination", str(tmp_path / "artifacts"), "--host", "127.0.0.1",
         "--port", str(port), "--workers", "1"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5)
                break
            except OSError:
                assert server.poll() is None, "the server ended"
                time.sleep(0.2)
        yield address, store
    finally:
        import os
        import signal

        os.killpg(server.pid, signal.SIGTERM)  # it has workers of its own
        server.wait()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_server(mlflow_server, tmp_path: Path, dmt, monkeypatch) -> None:
    address, store = mlflow_server
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    run = tmp_path / "run"
    outcome = dmt("train", "digits", *SHORT, f"out={run}", "track.to=mlflow")
    assert outcome.code == 0, outcome.err
    assert "failed" not in outcome.err
    id_ = json.loads((run / "tracking.json").read_text())["id"]
    summary = json.loads((run / "summary.json").read_text())
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in steps if line["event"] == "step" and line["stage"] == "round1/a"]
    with sqlite3.connect(store) as base:
        (status,) = base.execute("select status from runs where run_uuid = ?", [id_]).fetchone()
        ask = "select step, value from metrics where run_uuid = ? and key = ? order by step"
        losses = base.execute(ask, [id_, "round1/a/loss"]).fetchall()
        ((_, final),) = base.execute(ask, [id_, "final/a"]).fetchall()
        ask = "select value from params where run_uuid = ? and key = 'model'"
        assert base.execute(ask, [id_]).fetchone() == ("wrn_10_1",)
    base.close()
    assert status == "FINISHED"
    assert losses == [(line["step"], pytest.approx(line["loss"])) for line in steps]
    assert final == pytest.approx(summary["peers"]["a"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_server_that_is_not_there(tmp_path: Path, dmt, monkeypatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    outcome = dmt("train", "digits", *SHORT, f"out={tmp_path / 'run'}", "track.to=mlflow")
    assert outcome.code == 0, outcome.err
    assert outcome.err.count("track.to=mlflow failed") == 1
    assert (tmp_path / "run" / "summary.json").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_wandb_offline(tmp_path: Path, dmt, monkeypatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    run = tmp_path / "run"
    outcome = dmt("train", "digits", *SHORT, f"out={run}", "track.to=wandb")
    assert outcome.code == 0, outcome.err
    assert "failed" not in outcome.err
    (kept,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    content = kept.read_bytes()
    assert b"round1/a/loss" in content
    assert b"final/" in content
    assert dmt("report", run).code == 0  # none of its links lies there
