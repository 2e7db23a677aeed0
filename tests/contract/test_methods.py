"""Every method and every way of arranging a run, end to end on tiny data of either task.

What every finished run must keep to is checked by `fit`; single settings are in `test_settings`.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tiny_runs import Case, Fit, agreement_of

from dmt.records import read_metrics

METHODS = {  # how many models it trains in a round of a pair
    "supervised": 1, "self-training": 1, "dst": 1, "mutual": 2, "naive": 2, "flip": 2, "dmt": 2,
}  # fmt: skip


@pytest.mark.parametrize(("method", "num_models"), METHODS.items())
def test_method(method: str, num_models: int, fit: Fit, case: Case) -> None:
    run = fit(method=method)
    summary = run.summary
    assert summary.method == method
    assert (summary.unlabeled, len(summary.classes)) == (case.num_unlabeled, case.num_classes)
    names = {name for name, value in summary.peers.items() if value is not None}
    assert names == set("ab"[:num_models])
    assert summary.headline == ("ensemble" if num_models == 2 else "a")
    assert (summary.ensemble is not None) == (num_models == 2)
    assert summary.images_seen.trained == num_models * 6 * case.batch_size
    if method == "supervised":
        assert summary.verdict == "none"
        assert summary.supervised == summary.peers["a"]
        assert summary.images_seen.baseline == 0
        assert "no unlabeled images" not in summary.sentence, "they are there, but not used"
    else:
        assert summary.images_seen.baseline == 6 * case.batch_size
        assert summary.verdict in {"helped", "hurt", "unclear"}
        assert [each.round for each in summary.rounds] == [0, 1, 2]
        # Of the last round everything is kept.
        assert summary.rounds[2].selected == case.pool
        # Where every weight is one, mixup needs none and none is recorded.
        events = read_metrics(run.path / "metrics.jsonl")
        weights = [e["mean_weight"] for e in events if e.get("mean_weight") is not None]
        has_ones = method in ("self-training", "mutual")
        assert all((weight == 1) == has_ones for weight in weights)
        assert weights or has_ones


@pytest.mark.parametrize("method", ["supervised", "self-training", "flip", "dmt"])
def test_method_with_the_other_mixup(method: str, fit: Fit, case: Case) -> None:
    """Images have it by default and scenes have not."""
    student = {"mixup": 0 if case.task == "classification" else 0.75, "ema_decay": 0}
    fit(method=method, initial=student, steps=3, rounds=1, baseline="none",
        **{f"student.{key}": value for key, value in student.items()})  # fmt: skip


def test_chain_is_one_model_and_its_generations(fit: Fit, case: Case) -> None:
    run = fit(schedule="chain")
    assert run.summary.peers["b"] is None
    assert run.summary.headline == "a"
    assert run.summary.images_seen.trained == 6 * case.batch_size
    assert not (run.path / "rounds" / "1" / "b").exists()
    agreement = agreement_of(run)
    assert agreement is not None, "of the last two generations"
    assert (np.asarray(agreement) >= 0).all()
    assert (np.asarray(agreement) <= 1).all()


def test_lasting_single_model_has_no_second_opinion(fit: Fit) -> None:
    assert agreement_of(fit(method="dst", steps=3, rounds=1, baseline="none")) is None


def test_oracle_closes_the_gap_or_says_nothing(fit: Fit, case: Case) -> None:
    labels = {} if case.task == "classification" else {"labels": 3}
    summary = fit(oracle=True, **labels).summary
    assert summary.oracle is not None
    assert summary.images_seen.oracle == 6 * case.batch_size
    assert summary.gap_closed is None or math.isfinite(summary.gap_closed)


@pytest.mark.parametrize(
    ("baseline", "has_value", "num_models", "has_pair"),
    [("equal", True, 1, False), ("pair", True, 2, True), ("round0", True, 0, True),
     ("none", False, 0, False)],
)  # fmt: skip
def test_baseline(
    baseline: str, has_value: bool, num_models: int, has_pair: bool, fit: Fit, case: Case
) -> None:
    summary = fit(baseline=baseline, **{"student.lr_span": "stage"}).summary
    assert (summary.supervised is not None) == has_value
    assert (summary.supervised_ensemble is not None) == has_pair
    assert summary.images_seen.baseline == num_models * 6 * case.batch_size
    assert (summary.verdict == "none") == (not has_value)
    if baseline == "round0":
        assert "The baseline saw 1/3 of the images" in summary.sentence


def test_baseline_and_peer_a_begin_with_the_same_weights(fit: Fit) -> None:
    """One step at a rate of nearly nothing, so that the two differ by what they began with."""
    still = {"lr": 1e-12, "mixup": 0, "ema_decay": 0, "weight_decay": 0}
    run = fit(steps=2, rounds=1, initial=still, student={**still, "start": "continue"})
    one, two, other = (
        load_file(run.path / name / "model.safetensors")
        for name in ("rounds/0/a", "baseline/a", "rounds/0/b")
    )
    weight = next(name for name in one if name.startswith("module.") and one[name].ndim == 4)
    torch.testing.assert_close(one[weight], two[weight], atol=1e-6, rtol=0)
    assert not torch.allclose(one[weight], other[weight], atol=1e-3)


def test_students_that_start_afresh(fit: Fit) -> None:
    fit(**{"student.start": "fresh"}, steps=3, rounds=1, baseline="none")


def test_peers_that_differ_in_everything(fit: Fit, case: Case) -> None:
    own = {"channel_order": "bgr", "mean": [0.4, 0.45, 0.48], "std": [0.004, 0.004, 0.004]}
    run = fit(**{f"peers.a.{key}": value for key, value in own.items()},
              **{"peers.b.model": case.other_model})  # fmt: skip
    files = [run.path / f"rounds/2/{peer}/model.safetensors" for peer in "ab"]
    sizes = [len(safe_open(path, "pt").keys()) for path in files]
    assert sizes[0] < sizes[1]
    a, b = (load_file(path)["mean"].flatten() for path in files)
    torch.testing.assert_close(a, 255 * torch.tensor(own["mean"]))
    assert not torch.allclose(a, b)


def test_difference_maximised_sampling(fit: Fit) -> None:
    fit(**{"peers.labeled_subset": "dms"}, steps=3, rounds=1)


def test_folds(fit: Fit, case: Case) -> None:
    """Two more runs judge every label, and cost what is said."""
    run = fit(folds=2, steps=4, rounds=1)
    summary = run.summary
    assert summary.num_held_out == summary.labeled
    assert summary.images_seen.trained == 3 * 2 * 4 * case.batch_size
    assert summary.images_seen.baseline == 2 * 4 * case.batch_size
    for place in ("rounds/1/a", "fold0/rounds/1/a", "fold1/rounds/1/b", "fold1/baseline/a"):
        assert (run.path / place / "model.safetensors").is_file()
