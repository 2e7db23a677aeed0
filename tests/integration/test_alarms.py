"""Alarms of whole runs: each comes on a run built for it, is told everywhere, and comes once.

That healthy runs are silent: `test_alarms_healthy`. The rules on made-up events:
`tests/unit/engine/test_health.py`.
"""

from __future__ import annotations

import html
import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dmt.api import Run, resume, train
from dmt.engine.listener import Quiet
from dmt.records import Alarm
from trees import write_image_masks

DIGITS: dict[str, Any] = {
    "model": "wrn_10_1", "batch_size": 16, "device": "cpu", "baseline": "none", "rounds": 1,
    "initial.mixup": 0, "student.mixup": 0,
}  # fmt: skip
SCENES: dict[str, Any] = {
    "model": "deeplab_v2:wrn_10_1:1-3", "batch_size": 4, "device": "cpu", "baseline": "none",
    "rounds": 1, "data.crop": 32,
}  # fmt: skip
OF_TASK: dict[str, tuple[str, dict[str, Any]]] = {
    "classification": ("digits", DIGITS), "segmentation": ("shapes:32", SCENES),
}  # fmt: skip


SLOW_SCENES = ("classification", pytest.param("segmentation", marks=pytest.mark.slow))


def alarms(run: Run) -> dict[str, list[Alarm]]:
    """Of a run, by kind."""
    found: dict[str, list[Alarm]] = {}
    for alarm in run.summary.alarms:
        found.setdefault(alarm.kind, []).append(alarm)
    return found


@pytest.fixture
def fit(tmp_path: Path) -> Callable[..., Run]:
    """Train on a task's data with its tiny settings and those given."""
    numbers = iter(range(100))

    def call(task: str, data: Path | None = None, **settings: Any) -> Run:
        name, own = OF_TASK[task]
        return train(data or name, out=tmp_path / f"run{next(numbers)}", **own | settings)

    return call


# Training ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        ("classification", {"initial.lr": 30, "initial.ema_decay": 0}),
        ("segmentation", {"initial.lr": 3, "labels": 16}),
    ],
)
def test_an_absurd_but_finite_learning_rate(task: str, settings: dict[str, Any], fit) -> None:
    found = alarms(fit(task, method="supervised", steps=40, **settings))
    (alarm,) = found["diverging"]
    assert alarm.stage == "round0/a"
    assert alarm.remedy.startswith("Lower initial.lr")


@pytest.mark.parametrize("task", OF_TASK)
def test_a_student_that_does_not_move(task: str, fit) -> None:
    still = {"initial.share": 0.9, "student.lr": 1e-9, "student.lr_span": "stage"}
    run = fit(task, schedule="chain", steps=40, **still)
    (alarm,) = alarms(run)["no-agreement"]
    assert alarm.stage == "round1/a"
    assert "it does not learn from them" in alarm.message


@pytest.mark.parametrize("task", SLOW_SCENES)
def test_peers_that_are_copies_of_one_network(task: str, fit) -> None:
    first = fit(task, method="supervised", steps=60)
    weights = first.path / "rounds" / "0" / "a" / "model.safetensors"
    still = {"initial.lr": 1e-9, "student.lr": 1e-9, "steps": 4}
    (alarm,) = alarms(fit(task, weights=str(weights), **still))["peers-alike"]
    assert alarm.stage.startswith("round1/label/")
    assert "peers-alike" not in alarms(fit(task, **still)), "untrained, but not the same"


@pytest.mark.parametrize("task", SLOW_SCENES)
def test_a_round_that_destroys_what_was_learned(task: str, fit) -> None:
    val = {"classification": {"data.val_per_class": 10, "labels_per_class": 20},
           "segmentation": {"data.val_images": 100, "labels": 32}}  # fmt: skip
    settings = {"classification": {"student.lr": 30}, "segmentation": {"student.lr": 1}}
    found = alarms(
        fit(task, method="self-training", steps=120, rounds=2,
            **{"initial.share": 0.8, "student.ema_decay": 0} | val[task] | settings[task])
    )  # fmt: skip
    assert found["worse-round"][0].stage == "round1/a"
    assert found["falling-accuracy"][0].stage == "round2/label/a"


# Classes -----------------------------------------------------------------------------------------


def test_a_class_that_no_unlabeled_image_shows(fit, tmp_photos) -> None:
    photos = tmp_photos(classes=("blue", "green", "red"), labeled=8, unlabeled=30, test=2)
    for number in range(2, 90, 3):  # those of the third class
        (photos / "unlabeled" / f"{number:04d}.png").unlink()
    run = fit("classification", photos, steps=60, **{"data.image_size": 16})
    (alarm, *_) = alarms(run)["vanished-class"]
    assert alarm.about == ["red"]
    assert alarm.stage.startswith("round1/label/")


@pytest.mark.slow
def test_classes_that_a_network_calls_nowhere(fit) -> None:
    found = alarms(fit("segmentation", steps=2))["vanished-class"]
    assert all(alarm.about for alarm in found)
    assert len(found) <= 2, "one statement a peer"


def test_a_validation_part_with_its_labels_mixed_up(fit, tmp_photos) -> None:
    photos = tmp_photos(labeled=10, unlabeled=10, val=15, test=2)
    (photos / "val" / "blue").rename(photos / "val" / "x")
    (photos / "val" / "green").rename(photos / "val" / "blue")
    (photos / "val" / "x").rename(photos / "val" / "green")
    found = alarms(fit("classification", photos, steps=60, **{"data.image_size": 16}))
    assert {each.stage for each in found["overfitting"]} == {"round1/a", "round1/b"}
    assert found["missed-class"][0].about == ["blue", "green"]


@pytest.mark.slow
def test_validation_masks_that_are_mixed_up(fit, tmp_path: Path) -> None:
    scenes = write_image_masks(tmp_path / "scenes", 12, 8, num_val=20, num_test=2)
    for path in (scenes / "val" / "masks").iterdir():
        with Image.open(path) as image:
            mask = np.array(image)
        swapped = np.choose(mask % 3, [1, 2, 0]).astype(np.uint8)
        Image.fromarray(np.where(mask == 255, mask, swapped).astype(np.uint8)).save(path)
    found = alarms(fit("segmentation", scenes, steps=60, **{"initial.share": 0.6}))
    assert {each.stage for each in found["overfitting"]} == {"round1/a", "round1/b"}
    assert "missed-class" in found


# Data --------------------------------------------------------------------------------------------


def spoil(root: Path, labeled: Path, pool: Path, test: Path) -> None:
    """Copies across parts, and an unlabeled pool that is bluer."""
    for path in pool.iterdir():
        with Image.open(path) as image:
            pixels = np.array(image.convert("RGB")).astype(np.int64) // 2 + [0, 0, 120]
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    one, two = sorted(labeled.iterdir())[:2]
    shutil.copy(one, pool / f"copy{one.suffix}")
    fitting = [path for path in sorted(test.iterdir()) if _size(path) == _size(two)]
    shutil.copy(two, fitting[0])


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def spoiled_photos(root: Path, tmp_photos: Callable[..., Path]) -> Path:
    photos = tmp_photos(labeled=8, unlabeled=10, test=4)
    labeled = photos / "labeled" / "blue"
    spoil(photos, labeled, photos / "unlabeled", photos / "test" / "blue")
    shutil.copy(sorted(labeled.iterdir())[2], photos / "labeled" / "green" / "copy.png")
    return photos


def spoiled_scenes(root: Path, tmp_photos: Callable[..., Path]) -> Path:
    scenes = write_image_masks(root / "scenes", 10, 0, num_test=4)
    pool = write_image_masks(root / "more", 0, 10) / "images"
    spoil(scenes, scenes / "images", pool, scenes / "test" / "images")
    for path in pool.iterdir():
        shutil.copy(path, scenes / "images" / f"pool{path.name}")
    shutil.copy(scenes / "images" / "0002.jpg", scenes / "images" / "copy.jpg")
    with Image.open(scenes / "masks" / "0002.png") as mask:
        mask.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(scenes / "masks" / "copy.png")
    return scenes


BUILD = {"classification": spoiled_photos, "segmentation": spoiled_scenes}
KINDS = {"duplicate-held-out", "duplicate-unlabeled", "duplicate-labels", "unlike-unlabeled"}


class Recorder(Quiet):
    """Keeps the alarms it is told of; may die at one of them."""

    def __init__(self, die_at: int | None = None) -> None:
        self.told: list[str] = []
        self._die_at = die_at

    def on_event(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "alarm":
            if len(self.told) == self._die_at:
                raise Crash
            self.told.append(event["message"])


class Crash(BaseException):
    """Stands for the process dying: nothing of ours catches it."""


@pytest.mark.parametrize("task", OF_TASK)
def test_alarms_about_data_are_told_everywhere_once(task: str, tmp_path, tmp_photos, dmt) -> None:
    data, own = BUILD[task](tmp_path, tmp_photos), OF_TASK[task][1]
    words = [f"{key}={value}" for key, value in own.items()]
    size = ["data.image_size=16"] if task == "classification" else []
    outcome = dmt("train", data, *words, *size, "steps=4", f"out={tmp_path / 'run'}")
    assert outcome.code == 0, outcome.err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    about_data = [each for each in summary["alarms"] if each["stage"] == "data"]
    assert {each["kind"] for each in about_data} == KINDS
    page = html.unescape((tmp_path / "run" / "report.html").read_text())
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    recorded = Counter(e["message"] for e in map(json.loads, lines) if e["event"] == "alarm")
    for alarm in summary["alarms"]:
        assert recorded[alarm["message"]] == 1
        assert page.count(alarm["message"]) == 1
        assert page.count(alarm["remedy"]) >= 1
        assert outcome.err.count(f"ALARM {alarm['message']}\n      {alarm['remedy']}\n") == 1
        assert outcome.out.count(f"ALARM {alarm['message']} {alarm['remedy']}\n") == 1
    found = dmt("check", data, "--json").value["problems"]
    assert {each["kind"] for each in found} >= KINDS


# Going on ----------------------------------------------------------------------------------------


def test_a_run_that_dies_at_an_alarm_says_the_same_in_the_end(
    tmp_path: Path, tmp_photos, monkeypatch: pytest.MonkeyPatch, outcome_of
) -> None:
    photos = spoiled_photos(tmp_path, tmp_photos)
    settings = DIGITS | {"steps": 9, "rounds": 2, "data.image_size": 16, "initial.lr": 30}
    monkeypatch.chdir(tmp_path)
    recorder = Recorder()
    train(photos, out="whole/run", listener=recorder, **settings)
    expected = outcome_of(Path("whole/run"))
    total = len(recorder.told)
    assert total > len(KINDS), "some come in training"
    assert len(set(recorder.told)) == total
    for at in (0, len(KINDS), total - 1):
        folder = tmp_path / f"at{at}"
        folder.mkdir()
        monkeypatch.chdir(folder)
        with pytest.raises(Crash):
            train(photos, out="whole/run", listener=Recorder(at), **settings)
        resume("whole/run")
        assert outcome_of(Path("whole/run")) == expected
