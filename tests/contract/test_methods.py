"""Every method and every way of arranging a run, end to end on tiny data: what all must keep to."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from dmt.api import Run, load, train
from dmt.records import read_metrics

TINY: dict[str, Any] = {
    "steps": 6, "rounds": 2, "model": "wrn_10_1", "batch_size": 16, "device": "cpu"
}  # fmt: skip
METHODS = {  # how many models it trains in a round of a pair
    "supervised": 1, "self-training": 1, "dst": 1, "mutual": 2, "naive": 2, "flip": 2, "dmt": 2,
}  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


Fit = Callable[..., Run]


@pytest.fixture
def fit(tmp_path: Path) -> Fit:
    """Train on digits with tiny settings and check what every finished run must keep to."""

    def run(data: str | Path = "digits", **settings: Any) -> Run:
        made = train(data, out=tmp_path / "run", **(TINY | settings))
        check_run(made)
        return made

    return run


def check_run(run: Run) -> None:
    summary = run.summary
    assert json.loads((run.path / "summary.json").read_text()) == summary.model_dump(mode="json")
    assert (run.path / "report.html").stat().st_size > 1000
    values = [summary.supervised, *summary.peers.values(), summary.ensemble, summary.oracle]
    assert all(value is None or 0 <= value <= 100 for value in values)
    events = list(read_metrics(run.path / "metrics.jsonl"))
    steps = [event for event in events if event["event"] == "step"]
    assert all(math.isfinite(event["loss"]) for event in steps)
    for event in steps:
        has_pseudo = "round" in event["stage"] and event["round"] > 0
        assert (event["agreement"] is not None) <= has_pseudo
        if event["agreement"] is not None:
            assert 0 <= event["agreement"] <= 1
            assert 0 <= event["mean_weight"] <= 1
    assert len(load(run.path, device="cpu").predict(torch.zeros(2, 8, 8, 3).byte()).label) == 2


@pytest.mark.parametrize(("method", "num_models"), METHODS.items())
def test_method(method: str, num_models: int, fit: Fit) -> None:
    summary = fit(method=method).summary
    assert summary.method == method
    names = {name for name, value in summary.peers.items() if value is not None}
    assert names == set("ab"[:num_models])
    assert summary.headline == ("ensemble" if num_models == 2 else "a")
    assert (summary.ensemble is not None) == (num_models == 2)
    assert summary.images_seen.trained == num_models * 6 * 16
    if method == "supervised":
        assert summary.verdict == "none"
        assert summary.supervised == summary.peers["a"]
        assert summary.images_seen.baseline == 0
    else:
        assert summary.images_seen.baseline == 6 * 16
        assert summary.verdict in {"helped", "hurt", "unclear"}
        assert [each.round for each in summary.rounds] == [0, 1, 2]


def test_supervised_does_not_deny_the_unlabeled_images(fit: Fit) -> None:
    summary = fit(method="supervised", steps=2).summary
    assert summary.unlabeled == 1400
    assert "no unlabeled images" not in summary.sentence


@pytest.mark.parametrize("method", ["supervised", "self-training", "flip", "dmt"])
def test_method_without_mixup(method: str, fit: Fit) -> None:
    student = {"mixup": 0, "ema_decay": 0}
    fit(method=method, student=student, initial=student, steps=3, rounds=1, baseline="none")


def test_weights_of_one_are_one_and_dynamic_ones_are_not(fit: Fit, tmp_path: Path) -> None:
    def mean_weights(method: str) -> list[float]:
        made = train(
            "digits", out=tmp_path / method, **(TINY | {"method": method, "baseline": "none"})
        )
        events = read_metrics(made.path / "metrics.jsonl")
        return [e["mean_weight"] for e in events if e.get("mean_weight") is not None]

    # Where every weight is one, mixup needs none and none is recorded.
    assert all(weight == 1 for weight in mean_weights("mutual"))
    assert all(weight < 1 for weight in mean_weights("dmt"))


def test_chain_is_one_model_and_its_generations(fit: Fit) -> None:
    run = fit(schedule="chain")
    assert run.summary.peers["b"] is None
    assert run.summary.headline == "a"
    assert run.summary.images_seen.trained == 6 * 16
    assert not (run.path / "rounds" / "1" / "b").exists()
    found = run.load().predict(torch.zeros(1, 8, 8, 3).byte())
    assert found.agreement is not None, "of the last two generations"
    assert 0 <= found.agreement[0] <= 1


def test_oracle_closes_the_gap_or_says_nothing(fit: Fit) -> None:
    summary = fit(oracle=True).summary
    assert summary.oracle is not None
    assert summary.images_seen.oracle == 6 * 16
    assert summary.gap_closed is None or math.isfinite(summary.gap_closed)


@pytest.mark.parametrize(
    ("baseline", "has_value", "num_seen", "has_pair"),
    [("equal", True, 96, False), ("pair", True, 192, True), ("round0", True, 0, True),
     ("none", False, 0, False)],
)  # fmt: skip
def test_baseline(baseline: str, has_value: bool, num_seen: int, has_pair: bool, fit: Fit) -> None:
    summary = fit(baseline=baseline).summary
    assert (summary.supervised is not None) == has_value
    assert (summary.supervised_ensemble is not None) == has_pair
    assert summary.images_seen.baseline == num_seen
    assert (summary.verdict == "none") == (not has_value)
    if baseline == "round0":
        assert "The baseline saw 1/3 of the images" in summary.sentence


def test_baseline_and_peer_a_begin_with_the_same_weights(fit: Fit) -> None:
    """One step at a rate of nearly nothing, so that the two differ by what they began with."""
    still = {"lr": 1e-12, "mixup": 0, "ema_decay": 0, "weight_decay": 0}
    run = fit(steps=2, rounds=1, initial=still, student={**still, "start": "continue"})
    from safetensors.torch import load_file

    one, two, other = (
        load_file(run.path / name / "model.safetensors")
        for name in ("rounds/0/a", "baseline/a", "rounds/0/b")
    )
    weight = next(name for name in one if name.startswith("module.") and one[name].ndim == 4)
    torch.testing.assert_close(one[weight], two[weight], atol=1e-6, rtol=0)
    assert not torch.allclose(one[weight], other[weight], atol=1e-3)


@pytest.mark.parametrize("start", ["fresh", "continue"])
def test_students_start(start: str, fit: Fit) -> None:
    fit(student={"start": start}, steps=3, rounds=1, baseline="none")


def test_peers_with_different_models(fit: Fit) -> None:
    from safetensors import safe_open

    run = fit(**{"peers.b.model": "wrn_16_1"})
    sizes = [
        len(safe_open(run.path / f"rounds/2/{peer}/model.safetensors", "pt").keys())
        for peer in "ab"
    ]
    assert sizes[0] < sizes[1]


def test_difference_maximised_sampling(fit: Fit) -> None:
    fit(**{"peers.labeled_subset": "dms"}, steps=3, rounds=1)


@pytest.mark.parametrize(
    "settings",
    [
        {"student.optimizer": "adamw", "initial.optimizer": "adamw", "student.lr": 1e-3},
        {"student.lr_schedule": "poly", "initial.lr_schedule": "constant", "student.warmup": 1},
        {"selection.kind": "class-balanced"},
        {"selection.fractions": [0.3, 0.6]},
        {"weighting.ramp": False, "weighting.agreement_gamma": 0},
        {"initial.epochs": 2, "student.epochs": 0.05},
        {"student.labeled_share": 1.0},
        {"student.labeled_share": 0.001},
        {"labels": 0.1},
        {"labels": 33},
        {"batch_size": 2},
        {"batch_size": 33},
        {"rounds": 1, "steps": 1},
        {"data.val_per_class": 3},
    ],
    ids=lambda settings: ",".join(f"{key}={value}" for key, value in settings.items()),
)
def test_setting(settings: dict[str, Any], fit: Fit) -> None:
    fit(**({"baseline": "none", "steps": 3} | settings))


@pytest.mark.slow
def test_bf16(fit: Fit) -> None:
    """Emulated on most CPUs, so it may be slow; `auto` does not choose it there."""
    fit(precision="bf16", steps=3, rounds=1, baseline="none")


def test_validation_part_is_looked_at_after_every_round(fit: Fit) -> None:
    run = fit(**{"data.val_per_class": 3})
    for each in run.summary.rounds:
        assert set(each.peers) == {"a", "b"}
        assert all(0 <= value <= 100 for value in each.peers.values())


_FACTORY = """
import torch
def build(num_classes):
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(),
        torch.nn.Dropout(0.5), torch.nn.Flatten(), torch.nn.Linear(4 * 36, num_classes))
"""


def test_factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    (tmp_path / "my_model.py").write_text(_FACTORY)
    monkeypatch.chdir(tmp_path)
    try:
        run = train("digits", out="run", **(TINY | {"model": "my_model:build"}))
        assert load(run.path, trust_code=True).classes == tuple("0123456789")
        same = train("digits", out="same", **(TINY | {"model": "my_model:build"}))
    finally:
        sys.modules.pop("my_model", None)
    name = "rounds/2/b/model.safetensors"
    assert (run.path / name).read_bytes() == (same.path / name).read_bytes(), "dropout is seeded"
