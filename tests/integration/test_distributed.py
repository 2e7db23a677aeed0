"""Two processes that train together on the CPU: one result, one writer, one voice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from dmt.core import error_scores, predict
from dmt.data.decode import fit_square
from dmt.data.hidden import HiddenLabels
from dmt.data.layouts import open_catalog
from dmt.data.pseudo_labels import ImageLabels
from dmt.engine.likeness import spread
from dmt.metrics.error_detection import detect_in_images
from dmt.models.weights import restore

pytestmark = pytest.mark.distributed


def torchrun(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         "-m", "dmt", *words],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    folder = tmp_path_factory.mktemp("ranks")
    done = torchrun(
        folder, "train", "digits", "steps=6", "rounds=1", "model=wrn_10_1", "batch_size=16",
        "student.labeled_share=0.25", "device=cpu", "precision=fp32", "out=run", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "run", done.stdout, done.stderr


def test_one_voice_and_one_record(two_ranks) -> None:
    run, out, _ = two_ranks
    assert json.loads(out)["hardware"].endswith("2 processes")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    keys = [(line["event"], line["stage"], line.get("step"), line.get("kind")) for line in lines]
    assert len(keys) == len(set(keys))
    assert json.loads((run / "summary.json").read_text())["images_seen"]["trained"] == 2 * 6 * 16
    assert (run / "report.html").is_file()


def test_labels_of_two_ranks_are_those_of_one(two_ranks) -> None:
    """The same weights label the same pool: every label, and nearly every confidence, agrees."""
    run, _, _ = two_ranks
    network = restore(run / "rounds/0/a/model.safetensors").eval()
    catalog = open_catalog("digits")
    store = ImageLabels(run / "rounds/1/a/pseudo_labels")
    assert len(store) == 1400
    assert catalog.images is not None
    pool = torch.stack([
        torch.from_numpy(fit_square(catalog.images[row], 8)).permute(2, 0, 1)
        for row in store.ids.tolist()
    ])  # fmt: skip
    with torch.no_grad():
        alone = predict(network(pool))
    assert (alone.label == store.label).float().mean() > 0.999
    assert (alone.code - store.code).abs().float().median() <= 2


def test_first_weights_are_those_of_one_process(two_ranks, tmp_path: Path, dmt) -> None:
    """Ranks draw the same samples: a loss without batch statistics would be equal, this is near."""
    run, _, _ = two_ranks
    words = ["steps=6", "rounds=1", "model=wrn_10_1", "batch_size=16", "device=cpu",
             "student.labeled_share=0.25", f"out={tmp_path / 'one'}"]  # fmt: skip
    assert dmt("train", "digits", *words).code == 0

    def first_loss(folder: Path) -> float:
        lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        return next(line["loss"] for line in lines if line["event"] == "step")

    assert first_loss(run) == pytest.approx(first_loss(tmp_path / "one"), rel=0.1)


def test_what_finds_errors_is_what_one_process_finds(two_ranks) -> None:
    run, _, _ = two_ranks
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    (told,) = (e for e in lines if e["event"] == "error_detection" and e["teacher"] == "a")
    catalog, store = open_catalog("digits"), ImageLabels(run / "rounds/1/a/pseudo_labels")
    assert catalog.images is not None
    rows = spread(len(store), told["num_labels"])
    ids, label, kept = (each[rows] for each in (store.ids, store.label, store.is_selected))
    images = torch.stack([
        torch.from_numpy(fit_square(catalog.images[row], 8)).permute(2, 0, 1)
        for row in ids.tolist()
    ])  # fmt: skip
    with torch.no_grad():
        teacher, other = (
            restore(run / f"rounds/0/{peer}/model.safetensors").eval()(images) for peer in "ab"
        )
    scores = error_scores(teacher, other, label, 2.0, 2.0)
    alone = detect_in_images(
        ids.numpy(), label.numpy(), kept.numpy(),
        {name: each.numpy() for name, each in scores.items()},
        HiddenLabels(ids.numpy(), catalog.labels[ids]),
    )  # fmt: skip
    assert (told["num_labels"], told["num_wrong"]) == (1000, alone.num_wrong)
    for name, score in alone.scores.items():
        assert told["scores"][name]["auroc"] == pytest.approx(score.auroc, abs=1e-3), name
        assert told["scores"][name]["ap"] == pytest.approx(score.ap, abs=1e-3), name


@pytest.mark.slow
def test_batches_that_cannot_be_spread_are_refused(tmp_path: Path) -> None:
    done = torchrun(
        tmp_path, "train", "digits", "steps=4", "rounds=1", "model=wrn_10_1", "batch_size=15",
        "device=cpu", "out=run",
    )  # fmt: skip
    assert done.returncode != 0
    assert "cannot be spread over 2 ranks; make both numbers multiples of it" in done.stderr


@pytest.mark.parametrize(
    "method", ["dmt-online", pytest.param("freematch", marks=pytest.mark.slow)]
)
def test_two_ranks_learn_online_as_one_process_does(method: str, tmp_path: Path, dmt) -> None:
    """The same samples and labels; FreeMatch's thresholds and fairness are those of all ranks."""
    words = ["train", "digits", f"method={method}", "steps=4", "model=wrn_10_1", "batch_size=16",
             "student.labeled_share=0.25", "baseline=none", "device=cpu"]  # fmt: skip
    done = torchrun(tmp_path, *words, "out=two")
    assert done.returncode == 0, done.stderr
    assert dmt(*words, f"out={tmp_path / 'one'}").code == 0

    def first_step(folder: Path) -> dict[str, Any]:
        lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        return next(line for line in lines if line.get("predicted"))

    two, one = (first_step(tmp_path / name) for name in ("two", "one"))
    assert two["loss"] == pytest.approx(one["loss"], rel=0.1)
    assert two.keys() == one.keys()
    assert two["given"] == one["given"]
    assert sum(two["predicted"]) == sum(one["predicted"]) == 12
    assert two["mean_weight"] == pytest.approx(one["mean_weight"], rel=0.2)
