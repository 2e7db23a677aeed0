"""What every method keeps to, on both built-ins: it learns, it resumes exactly, it writes the same
records, and it cannot read a hidden label.

Each method is trained twice: once undisturbed, and once stopped in the middle of a stage and
resumed, with every hidden label replaced by a wrong one. Both must end with the same weights.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from dmt.api import Run, resume, train
from dmt.data.hidden import HiddenLabels, HiddenMasks
from dmt.engine.listener import Quiet
from dmt.engine.plan import PRESETS
from dmt.engine.stage import Stage
from dmt.errors import Interrupted
from dmt.runs.setting_checks import foreign_keys

_COMMON: dict[str, Any] = {
    "rounds": 1, "selection.fractions": [0.75], "device": "cpu", "precision": "fp32",
    "baseline": "none", "workers": 0, "data.scale": [1, 1],
    "initial.ema_decay": 0.5, "student.ema_decay": 0.5, "student.labeled_share": 0.5,
}  # fmt: skip
_DATA: dict[str, tuple[str, dict[str, Any]]] = {
    "digits": ("digits", {
        "model": "wrn_10_1", "steps": 32, "batch_size": 32, "labels_per_class": 20,
        "data.val_per_class": 2, "initial.mixup": 0, "data.rotate": 0, "data.shift": 0,
        "online.randaugment": 0, "online.cutout": 0,
    }),
    "shapes": ("shapes:32", {
        "model": "deeplab_v2:wrn_10_1:1-3", "steps": 24, "batch_size": 4, "data.crop": 32,
        "labels": 64, "data.val_images": 2, "online.unlabeled_weight": 0.3,
    }),
}  # fmt: skip
# A network that guesses has 90 % error on ten classes, and one that calls all background 12 % IoU.
_AT_LEAST = {"digits": -60.0, "shapes": 13.5}

_FIELDS = {
    "started": {"event", "time", "stage", "num_steps"},
    "step": {
        "event", "time", "stage", "round", "peer", "step", "num_steps", "images_seen", "loss",
        "agreement", "mean_weight", "gamma", "lr", "images_per_second", "seconds", "given",
        "predicted",
    },
    "evaluate": {
        "event", "time", "stage", "round", "peer", "split", "metric", "value", "num_images",
        "training", "recall", "truth", "classes",
    },
    "finished": {"event", "time", "stage", "seconds"},
}  # fmt: skip


class Whole(NamedTuple):
    """An undisturbed run, and what it was trained with."""

    method: str
    data: str
    settings: dict[str, Any]
    run: Run


def settings_of(method: str, data: str) -> dict[str, Any]:
    """Those that mean something to the method."""
    found = _COMMON | _DATA[data][1] | {"method": method}
    unknown = foreign_keys(method, found)
    return {key: value for key, value in found.items() if key not in unknown}


def is_quick(method: str, data: str) -> bool:
    """One of each kind; what else there is to the rounds is tested in `tests/contract`."""
    if data == "shapes":
        return method in {"fixmatch", "mean-teacher", "dmt-online"}
    return PRESETS[method].online is not None or method == "dmt"


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(
            (method, data),
            id=f"{method}-{data}",
            marks=[] if is_quick(method, data) else [pytest.mark.slow],
        )
        for data in _DATA
        for method, preset in PRESETS.items()
        if data == "digits" or "segmentation" in preset.tasks
    ],
)
def whole(request, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    method, data = request.param
    settings = settings_of(method, data)
    folder = tmp_path_factory.mktemp("whole")
    return Whole(method, data, settings, train(_DATA[data][0], out=folder / "run", **settings))


def weights_of(run: Path) -> dict[str, bytes]:
    return {str(p.relative_to(run)): p.read_bytes() for p in sorted(run.rglob("*.safetensors"))}


def lines_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def steps_of(run: Path) -> list[dict[str, Any]]:
    clock = {"time", "seconds", "images_per_second"}
    steps = [line for line in lines_of(run) if line["event"] == "step"]
    return [{key: line[key] for key in line if key not in clock} for line in steps]


def test_it_learns(whole: Whole) -> None:
    summary = whole.run.summary
    sign = 1 if summary.metric == "miou" else -1
    for peer, value in summary.peers.items():
        if peer == "a" or PRESETS[whole.method].num_peers == 2:
            assert value is not None
            assert sign * value > _AT_LEAST[whole.data]


def test_it_writes_the_same_records(whole: Whole) -> None:
    """Every kind of line has the same fields; every peer of a round has its own lines."""
    lines = lines_of(whole.run.path)
    trained = [line for line in lines if "label" not in line["stage"]]
    for line in trained:
        if line["event"] != "alarm":
            assert line.keys() == _FIELDS[line["event"]]
    stages = list(dict.fromkeys(line["stage"] for line in trained if line["event"] != "alarm"))
    for stage in stages:
        events = [line["event"] for line in trained if line["stage"] == stage]
        assert {event: events.count(event) for event in ("started", "evaluate", "finished")} == {
            "started": 1, "evaluate": 1, "finished": 1
        }  # fmt: skip
        assert (whole.run.path / "rounds" / stage[5] / stage[-1] / "model.safetensors").is_file()
    preset = PRESETS[whole.method]
    is_online, num_peers = preset.online is not None, preset.num_peers
    has_one_round = whole.method == "supervised" or (is_online and not preset.has_first_round)
    assert len(stages) == num_peers * (1 if has_one_round else 2)
    steps = [line for line in lines if line["event"] == "step"]
    assert all(np.isfinite(line["loss"]) for line in steps)
    own = [line for line in steps if is_online and line["round"] == preset.has_first_round]
    assert all(line["predicted"] is line["given"] is None for line in steps if line not in own)
    assert bool(own) == is_online
    if is_online:
        assert all(0 <= line["agreement"] <= 1 for line in own)
        num_classes = len(whole.run.summary.classes)
        for name in ("given", "predicted"):
            assert all(len(line[name]) == num_classes and sum(line[name]) for line in own)
        assert all(0 <= line["mean_weight"] <= 1 for line in own)
        assert {line["event"] for line in lines} <= {*_FIELDS, "alarm"}, "no labeling"
        kinds = {line["kind"] for line in lines if line["event"] == "alarm"}
        assert kinds <= {"no-agreement", "vanished-class", "missed-class"}, (
            "nothing is wrong but that it is short"
        )


def test_it_sees_as_many_images_as_any_other(whole: Whole) -> None:
    settings, summary = whole.settings, whole.run.summary
    num_peers = PRESETS[whole.method].num_peers
    seen = summary.images_seen.trained
    assert seen == num_peers * settings["steps"] * settings["batch_size"]
    assert summary.rounds[0].round == 0


class StopAt(Quiet):
    """Sends SIGTERM at the `at`-th step."""

    def __init__(self, at: int) -> None:
        self._left = at

    def on_step(self, stage: Stage, step: int, num_steps: int, done: float) -> None:
        self._left -= 1
        if not self._left:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def ruined(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every hidden label is another one; how many there were."""
    counts: list[int] = []
    of_labels, of_masks = HiddenLabels.__init__, HiddenMasks.__init__

    def labels(self: Any, ids: Any, values: Any) -> None:
        counts.append(len(ids))
        of_labels(self, ids, (np.asarray(values) + 1) % 10)

    def masks(self: Any, ids: Any, read: Any) -> None:
        counts.append(len(ids))
        of_masks(self, ids, lambda id_: np.where(read(id_) == 255, 255, 3).astype(np.uint8))

    monkeypatch.setattr(HiddenLabels, "__init__", labels)
    monkeypatch.setattr(HiddenMasks, "__init__", masks)
    return counts


def test_it_resumes_exactly_and_cannot_read_a_hidden_label(
    whole: Whole, ruined: list[int], tmp_path: Path
) -> None:
    preset = PRESETS[whole.method]
    has_rounds = preset.online is None or preset.has_first_round
    # Inside the last stage of peer a, which comes after a round 0 of every peer.
    at = (preset.num_peers if has_rounds else 1) * (whole.settings["steps"] // 2) + 3
    with pytest.raises(Interrupted):
        train(_DATA[whole.data][0], out=tmp_path / "run", listener=StopAt(at), **whole.settings)
    again = resume(tmp_path / "run")
    assert max(ruined) > 100, "of the pool"
    assert again.summary.peers != whole.run.summary.peers, "judged by the wrong labels"
    assert weights_of(again.path) == weights_of(whole.run.path)
    assert steps_of(again.path) == steps_of(whole.run.path)
