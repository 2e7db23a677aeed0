"""`dmt train photos/` with nothing but a budget: it chooses, says what, and writes it down."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from dmt.engine.budget import Rates
from dmt.runs import sizing as dmt_sizing


def _check(run: Path, err: str, largest: int) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"] != "auto"
    assert config["weights"] in {"none", "pretrained"}
    assert config["steps"] > 0
    assert config["steps"] % (config["rounds"] + 1) == 0
    assert 8 <= config["data"]["image_size"] <= largest
    said = err.index(f"{config['steps']} steps of {config['batch_size']} images")
    assert said < err.index("round0/a done"), "said before it starts"
    size = config["data"]["image_size"]
    assert f"{config['model']} at {size}×{size}" in err[:said]


def test_choices_are_said_and_written(tmp_photos, tmp_path: Path, dmt, monkeypatch) -> None:
    """On a machine of a given pace, so that nothing hangs on that of the one that tests."""
    monkeypatch.setattr(dmt_sizing, "measure", lambda *_: Rates(300.0, 250.0, 2000.0))
    photos = tmp_photos(labeled=4, unlabeled=6, test=3, size=16)
    words = [photos, "budget=6s", "rounds=1", "batch_size=8", "device=cpu"]
    outcome = dmt("train", *words, f"out={tmp_path / 'run'}")
    assert outcome.code == 0, outcome.err
    _check(tmp_path / "run", outcome.err, 16)
    again = dmt("train", photos, f"recipe={tmp_path / 'run' / 'config.yaml'}", "--print-config")
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    repeated = yaml.safe_load(again.out)
    for key in ("model", "weights", "steps", "data", "rounds", "batch_size"):
        assert repeated[key] == config[key]


@pytest.mark.slow
def test_budget_of_twenty_seconds(tmp_photos, tmp_path: Path, start) -> None:
    photos = tmp_photos(labeled=10, unlabeled=30, test=10, size=48)
    began = time.perf_counter()
    process = start(["train", photos, "budget=20s", "data.image_size=16", "out=run"], tmp_path)
    out, err = process.communicate(timeout=300)
    print(f"budget=20s took {time.perf_counter() - began:.1f} s with start-up\n{err}")
    assert process.returncode == 0, err
    _check(tmp_path / "run", err, 16)
    assert "report: run/report.html" in out
