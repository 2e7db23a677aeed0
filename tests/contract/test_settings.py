"""Single settings, end to end on tiny data of either task."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Case, Fit

from dmt.api import load, train

ONLY_ROUNDS: dict[str, Any] = {"baseline": "none", "steps": 3}


def named(settings: dict[str, Any]) -> str:
    return ",".join(f"{key}={value}" for key, value in settings.items())


@pytest.mark.parametrize(
    "settings",
    [
        {"student.optimizer": "adamw", "initial.optimizer": "adamw", "student.lr": 1e-3,
         "selection.kind": "class-balanced", "weighting.ramp": False},
        {"student.lr_schedule": "poly", "initial.lr_schedule": "constant", "student.warmup": 1,
         "selection.kind": "global", "selection.fractions": [0.3, 0.6]},
        {"initial.epochs": 2, "student.epochs": 0.05, "student.labeled_share": 0.001,
         "weighting.ramp": True, "weighting.agreement_gamma": 0},
        {"student.lr_span": "run", "student.labeled_share": 1.0, "batch_size": 33},
        {"batch_size": 2},
        {"rounds": 1, "steps": 1},
    ],
    ids=named,
)  # fmt: skip
def test_settings(settings: dict[str, Any], fit: Fit) -> None:
    fit(**(ONLY_ROUNDS | settings))


@pytest.mark.parametrize("case", ["classification"], indirect=True)
@pytest.mark.parametrize("settings", [{"labels": 0.1}, {"labels": 33}], ids=named)
def test_settings_of_a_classification(settings: dict[str, Any], fit: Fit) -> None:
    fit(**(ONLY_ROUNDS | settings))


@pytest.mark.parametrize("case", ["segmentation"], indirect=True)
@pytest.mark.parametrize(
    "settings",
    [
        {"labels": 0.5, "data.scale": [0.5, 1.5], "data.flip": False, "data.photometric": 0.5},
        {"labels": 3, "data.crop": (24, 40), "data.window": 24, "data.overlap": 0},
        {"data.max_side": 24, "data.block": 2, "aspp_dilations": [2],
         "model": "deeplab_v2:wrn_10_1"},
    ],
    ids=named,
)  # fmt: skip
def test_settings_of_a_segmentation(settings: dict[str, Any], fit: Fit) -> None:
    fit(**(ONLY_ROUNDS | settings))


@pytest.mark.slow
def test_bf16(fit: Fit) -> None:
    """Emulated on most CPUs, so it may be slow; `auto` does not choose it there."""
    fit(precision="bf16", rounds=1, **ONLY_ROUNDS)


def test_validation_part_is_looked_at_after_every_round(fit: Fit, case: Case) -> None:
    is_dense = case.task == "segmentation"
    run = fit(**({"labels": 3, "data.val_images": 2} if is_dense else {"data.val_per_class": 3}))
    for each in run.summary.rounds:
        assert set(each.peers) == {"a", "b"}
        assert all(0 <= value <= 100 for value in each.peers.values())


_FACTORIES = """
import torch
def classifier(num_classes):
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(),
        torch.nn.Dropout(0.5), torch.nn.Flatten(), torch.nn.Linear(4 * 36, num_classes))
def segmenter(num_classes):  # an eighth of the image's sides
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, 8, 1), torch.nn.BatchNorm2d(4), torch.nn.ReLU(),
        torch.nn.Dropout(0.5), torch.nn.Conv2d(4, num_classes, 1))
"""


def test_factory(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_model.py").write_text(_FACTORIES)
    monkeypatch.chdir(tmp_path)
    name = {"classification": "classifier", "segmentation": "segmenter"}[case.task]
    settings = case.tiny | {"model": f"my_model:{name}", "baseline": "none"}
    try:
        run, same = (train(case.data, out=out, **settings) for out in ("run", "same"))
        classes = load(run.path, trust_code=True).classes
    finally:
        sys.modules.pop("my_model", None)
    assert list(classes) == run.summary.classes
    file = "rounds/2/b/model.safetensors"
    assert (run.path / file).read_bytes() == (same.path / file).read_bytes(), "dropout is seeded"
