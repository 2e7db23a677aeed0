"""The store of shared stages: found by all that a stage depends on, and by nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dmt.engine.fit import FitSpec
from dmt.engine.shared_stages import SharedStages, is_shareable
from dmt.engine.stage import Preprocessing, TrainStage, Weights

STAGE = TrainStage(
    name="round0/a",
    role="round",
    round=0,
    peer="a",
    fold=None,
    needs=(),
    fit=FitSpec(num_steps=3, batch_size=4, num_labeled=4, lr=0.1),
    model="wrn_10_1",
    weights="none",
)
CONTEXT: dict[str, Any] = {"data": "abc", "seed": 0, "versions": {"torch": "2"}}
EVENTS = [
    {"event": "started", "time": 1.0, "stage": "round0/a", "num_steps": 3},
    {"event": "started", "time": 1.0, "stage": "round0/b", "num_steps": 3},
    {"event": "alarm", "time": 2.0, "stage": "round0/a", "kind": "k", "message": "m",
     "remedy": "r"},
    {"event": "finished", "time": 3.0, "stage": "round0/a", "seconds": 0.1 + 0.2},
]  # fmt: skip


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"tensors")
    return path


def kept(tmp_path: Path, weights: Path) -> SharedStages:
    store = SharedStages(tmp_path / "shared", "first", CONTEXT)
    store.put(STAGE, weights, EVENTS)
    return store


def test_network_and_lines_come_back_to_the_bit(tmp_path: Path, weights: Path) -> None:
    kept(tmp_path, weights)
    target = tmp_path / "other.safetensors"
    context = dict(reversed(CONTEXT.items()))
    for run, more in (("first", {}), ("other", {"shared": True})):
        lines = SharedStages(tmp_path / "shared", run, context).take(STAGE, target)
        assert target.read_bytes() == b"tensors"
        assert lines == [
            {"event": "started", "stage": "round0/a", "num_steps": 3} | more,
            {"event": "finished", "stage": "round0/a", "seconds": 0.1 + 0.2} | more,
        ]


@pytest.mark.parametrize(
    "other",
    [
        replace(STAGE, name="round0/b", peer="b"),
        replace(STAGE, role="baseline"),
        replace(STAGE, fold=1),
        replace(STAGE, fit=replace(STAGE.fit, num_steps=4)),
        replace(STAGE, fit=replace(STAGE.fit, lr_span=(0, 9))),
        replace(STAGE, fit=replace(STAGE.fit, lr=0.1000001)),
        replace(STAGE, model="wrn_16_1"),
        replace(STAGE, preprocessing=Preprocessing(channel_order="bgr")),
        replace(STAGE, sees="dms"),
    ],
)
def test_any_other_field_is_another_stage(tmp_path: Path, weights: Path, other) -> None:
    target = tmp_path / "other.safetensors"
    assert kept(tmp_path, weights).take(other, target) is None
    assert not target.exists()


@pytest.mark.parametrize(
    "more", [{"data": "abd"}, {"seed": 1}, {"versions": {"torch": "3"}}, {"precision": "bf16"}]
)
def test_any_other_context_is_another_stage(tmp_path: Path, weights: Path, more) -> None:
    kept(tmp_path, weights)
    store = SharedStages(tmp_path / "shared", "first", CONTEXT | more)
    assert store.take(STAGE, tmp_path / "other.safetensors") is None


def test_weights_from_a_file_count_by_their_content(tmp_path: Path, weights: Path) -> None:
    first, second = tmp_path / "first.pt", tmp_path / "second.pt"
    first.write_bytes(b"1")
    store = SharedStages(tmp_path / "shared", "first", CONTEXT)
    store.put(replace(STAGE, weights=str(first)), weights, EVENTS)
    second.write_bytes(b"1")
    same = replace(STAGE, weights=str(second))
    assert store.take(same, tmp_path / "other.safetensors") is not None
    second.write_bytes(b"2")
    assert store.take(same, tmp_path / "other.safetensors") is None


def test_what_depends_on_the_run_is_not_shared(tmp_path: Path, weights: Path) -> None:
    store = SharedStages(tmp_path / "shared", "first", CONTEXT)
    for stage in (
        replace(STAGE, pseudo="round1/label/b"),
        replace(STAGE, start="round0/a"),
        replace(STAGE, weighting=Weights("dmt", 4, 4)),
    ):
        assert not is_shareable(stage)
        store.put(stage, weights, EVENTS)
        assert store.take(stage, tmp_path / "other.safetensors") is None
    assert not (tmp_path / "shared").exists()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def spoil_line(path: Path) -> None:
    content = json.loads(path.read_text())
    content["lines"][-1]["seconds"] = "long"
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("which", "spoil"),
    [
        ("*.safetensors", cut),
        ("*.safetensors", Path.unlink),
        ("*.json", cut),
        ("*.json", Path.unlink),
        ("*.json", spoil_line),
    ],
)
def test_what_is_damaged_is_not_there_and_may_be_put_again(
    tmp_path: Path, weights: Path, which: str, spoil
) -> None:
    store = kept(tmp_path, weights)
    (path,) = (tmp_path / "shared").glob(which)
    spoil(path)
    target = tmp_path / "other.safetensors"
    assert store.take(STAGE, target) is None
    assert not target.exists()
    store.put(STAGE, weights, EVENTS)
    assert store.take(STAGE, target) is not None
