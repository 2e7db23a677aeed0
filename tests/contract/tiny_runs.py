"""A tiny run of either task, and what every finished run must keep to. No tests here."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dmt.api import Run, load
from dmt.engine.plan import PRESETS
from dmt.engine.segmenter import Segmenter
from dmt.records import read_metrics

Fit = Callable[..., Run]


@dataclass(frozen=True)
class Case:
    """A task's data, the settings of a tiny run on them, and what is known of both."""

    task: str
    data: str | Path
    tiny: dict[str, Any]
    num_unlabeled: int
    num_classes: int
    pool: int
    """What the label records count: images, or pixels."""
    other_model: str
    """Larger than the one of `tiny`."""

    @property
    def batch_size(self) -> int:
        size: int = self.tiny["batch_size"]
        return size


def check_run(run: Run, case: Case) -> None:
    """What holds for every method, schedule and setting."""
    summary = run.summary
    assert json.loads((run.path / "summary.json").read_text()) == summary.model_dump(mode="json")
    assert (run.path / "report.html").stat().st_size > 1000
    assert (summary.task, summary.metric) == (
        case.task, "error" if case.task == "classification" else "miou"
    )  # fmt: skip
    values = [summary.supervised, *summary.peers.values(), summary.ensemble, summary.oracle]
    assert all(value is None or 0 <= value <= 100 for value in values)
    events = list(read_metrics(run.path / "metrics.jsonl"))
    steps = [event for event in events if event["event"] == "step"]
    assert all(math.isfinite(event["loss"]) for event in steps)
    for event in steps:
        preset = PRESETS[summary.method]
        is_online = preset.online is not None and not preset.has_first_round
        has_pseudo = "round" in event["stage"] and (is_online or event["round"] > 0)
        assert (event["agreement"] is not None) <= has_pseudo
        if event["agreement"] is not None:
            assert 0 <= event["agreement"] <= 1
            assert 0 <= event["mean_weight"] <= 1
    for event in events:
        if event["event"] == "label":
            assert 0 < event["selected"] <= event["pool"]
            assert sum(each["predicted"] for each in event["classes"]) == event["pool"]
            assert sum(each["selected"] for each in event["classes"]) == event["selected"]
    found = load(run.path, device="cpu").predict(torch.zeros(2, 8, 8, 3).byte())
    assert len(found if case.task == "segmentation" else found.label) == 2


def agreement_of(run: Run) -> Any:
    """Of a black image: None where the run's model is a single one."""
    model, image = run.load(device="cpu"), torch.zeros(1, 8, 8, 3).byte()
    if isinstance(model, Segmenter):
        return model.predict(image)[0].agreement
    return model.predict(image).agreement
