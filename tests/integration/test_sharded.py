"""A network in training whose weights lie in parts on two ranks: the steps of two whole copies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from commands import refused
from rank_zygote import Ranks, said

pytestmark = pytest.mark.distributed

WORDS = ("digits", "rounds=1", "steps=8", "model=wrn_10_1", "batch_size=16", "device=cpu",
         "student.labeled_share=0.25", "baseline=none", "data.val_per_class=2",
         "checkpoint_every=1e-9", "precision=fp32")  # fmt: skip


def trained(ranks: Ranks, folder: Path, num: int, *words: str) -> Path:
    """The run of some ranks."""
    folder.mkdir()
    ended = ranks(folder, num, "train", *WORDS, *words, "out=run")
    assert [code for code, _ in ended] == [0] * num, ended
    return folder / "run"


def losses(run: Path) -> list[float]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if line["event"] == "step"]


def assert_near(run: Path, other: Path, atol: float = 1e-5) -> None:
    """The same files with weights that differ by rounding alone, the same losses."""
    files = sorted(other.rglob("model.safetensors"))
    assert files
    for path in files:
        ours, theirs = load_file(run / path.relative_to(other)), load_file(path)
        assert ours.keys() == theirs.keys()
        for name, tensor in theirs.items():
            torch.testing.assert_close(ours[name], tensor, rtol=1e-4, atol=atol)
    assert losses(run) == pytest.approx(losses(other), rel=1e-3)


@pytest.mark.parametrize(
    "words",
    [
        (),
        pytest.param(("student.optimizer=adamw", "student.lr=0.001"), marks=pytest.mark.slow),
        pytest.param(("method=dmt-online",), marks=pytest.mark.slow),
        pytest.param(("method=mixmatch",), marks=pytest.mark.slow),
        pytest.param(("method=freematch",), marks=pytest.mark.slow),
        pytest.param(("method=mean-teacher",), marks=pytest.mark.slow),
    ],
    ids=["dmt", "adamw", "dmt-online", "mixmatch", "freematch", "mean-teacher"],
)
def test_parts_learn_what_whole_copies_do(
    words: tuple[str, ...], ranks: Ranks, tmp_path: Path
) -> None:
    whole = trained(ranks, tmp_path / "whole", 2, *words)
    # AdamW divides a gradient by its own size: one that is nothing but rounding moves by up to lr.
    atol = 1e-3 if "student.optimizer=adamw" in words else 1e-5
    assert_near(trained(ranks, tmp_path / "parts", 2, *words, "shard=true"), whole, atol)


@pytest.mark.slow
@pytest.mark.parametrize("num", [1, 2])
def test_a_checkpoint_of_parts_is_whole(num: int, ranks: Ranks, tmp_path: Path) -> None:
    """Begun in parts, stopped, gone on with in parts or by one process with a whole network."""
    words = ["train", *WORDS, "method=dst", "out=run"]
    plan: dict[str, Any] = {"0": {6: "SIGTERM"}}
    stopped = ranks(tmp_path, 2, *words, "shard=true", plan=plan)
    assert [code for code, _ in stopped] == [143, 143], stopped
    state = torch.load(tmp_path / "run/checkpoint/state.pt", weights_only=True)
    (learner,) = state["learners"].values()
    whole = trained(ranks, tmp_path / "whole", 2, "method=dst")
    like = load_file(whole / "rounds/1/a/model.safetensors")
    for kept in (learner["net"], learner["ema"]["module"]):
        assert {name: each.shape for name, each in kept.items()} == {
            name: each.shape for name, each in like.items()
        }
    momentum = [each["momentum_buffer"] for each in learner["optimizer"]["state"].values()]
    assert {each.shape for each in momentum} <= {each.shape for each in like.values()}
    ended = ranks(tmp_path, num, "resume", "run")
    assert [code for code, _ in ended] == [0] * num, ended
    if num == 2:
        assert_near(tmp_path / "run", whole)
    else:  # whose BatchNorm sees other batches
        assert losses(tmp_path / "run") == pytest.approx(losses(whole), rel=0.3)


def test_what_parts_cannot_do_is_refused() -> None:
    refused("train", [*WORDS, "shard=true", "precision=fp16"], "shard=true is for bf16 and fp32")
    for other in ("sync_batch_norm=true", "parallel_peers=true"):
        refused("train", [*WORDS, "shard=true", other], "not tried together")


@pytest.mark.slow
def test_a_gradient_that_is_no_number_in_one_part_stops_all(ranks: Ranks, tmp_path: Path) -> None:
    ended = ranks(tmp_path, 2, "train", *WORDS, "shard=true", "initial.lr=1e30", "out=run")
    assert [code for code, _ in ended] == [2, 2], ended
    assert len(set(said(ended))) == 1
    assert "is not finite at step" in said(ended)[0]
