"""Segmentation run by run: forward passes counted, stopping and going on, the same bits every way.

And the weights files that a run may begin from.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

import dmt.runs.scene_material
from dmt.api import resume, train
from dmt.data.hidden import HiddenMasks
from dmt.data.mask_splits import MaskSplit, make_mask_split
from dmt.engine.listener import Quiet
from dmt.engine.stage import Stage
from dmt.errors import Interrupted, RunError
from dmt.records.examples import read_examples
from tiny_scenes import KEYS, WORDS, weights_of, write_pairs
from trees import write_image_masks

ROUNDS = KEYS | {"rounds": 2, "steps": 6, "baseline": "none"}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of several sizes: 6 labeled, 5 without a mask, 2 of the test part."""
    root = tmp_path_factory.mktemp("scenes") / "scenes"
    return write_image_masks(root, 6, 5, num_test=2, size=(32, 40))


# Forward passes ---------------------------------------------------------------------------------


class Counting(nn.Module):
    """Remembers what passes through any of its copies, by whether a gradient is kept."""

    seen: ClassVar[dict[tuple[bool, bool], list[float]]] = {}

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        # The builder's own trials are black images, all of one colour after normalisation.
        if not bool((images == images[:, :, :1, :1]).all()):
            key = torch.is_grad_enabled(), self.training
            self.seen.setdefault(key, []).extend(images.double().sum(dim=(1, 2, 3)).tolist())
        logits: Tensor = self.layer(images)
        return logits

    @classmethod
    def num(cls, has_gradient: bool, is_training: bool) -> int:
        return len(cls.seen.get((has_gradient, is_training), []))


class Labelings(Quiet):
    """What passed through a network during each labeling, and to see what finds its errors."""

    def __init__(self) -> None:
        self.passed: dict[str, list[float]] = {}
        self.checked: list[list[float]] = []
        self._before = 0

    def on_event(self, event: Mapping[str, Any]) -> None:
        if "label" in event["stage"] and event["event"] == "started":
            self._before = Counting.num(False, False)
        elif event["event"] == "label":
            self.passed[event["stage"]] = Counting.seen[False, False][self._before :]
            self._before = Counting.num(False, False)
        elif event["event"] == "error_detection":
            self.checked.append(Counting.seen[False, False][self._before :])


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "counting_scenes", sys.modules[__name__])
    Counting.seen.clear()
    yield
    Counting.seen.clear()


@pytest.mark.parametrize(
    ("settings", "num_labelings"),
    [
        ({"baseline": "equal"}, 4),
        ({"method": "dst", "labels": 3}, 2),
        ({"method": "mutual", "student.mixup": 0.75}, 4),
        ({"schedule": "chain", "oracle": True, "student.lr_span": "stage"}, 2),
        ({"method": "dst"}, 2),
        ({"method": "supervised"}, 0),
        ({"labels": 2, "data.val_images": 2, "data.memory_limit": 0, "workers": 1}, 4),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else ",".join(map(str, value)),
)
def test_one_forward_pass_over_the_pool(
    settings: dict[str, Any], num_labelings: int, scenes: Path, counting, tmp_path: Path
) -> None:
    listener = Labelings()
    run = train(scenes, listener=listener, out=tmp_path / "run",
                **(ROUNDS | {"model": "counting_scenes:Counting"} | settings))  # fmt: skip
    assert len(listener.passed) == num_labelings
    for passed in listener.passed.values():
        assert len(passed) == run.summary.unlabeled, "as many images as the pool has"
        assert len(set(passed)) == len(passed), "each of them once"
    # Without a hidden mask nothing more is looked at; with some, each once by every network.
    num_networks = 1 if settings.get("method") == "dst" else 2
    assert len(listener.checked) == (num_labelings if "labels" in settings else 0)
    for checked in listener.checked:
        assert len(checked) == num_networks * (6 - settings["labels"] - num_val(settings))
        assert len(set(checked)) == len(checked) // num_networks
    seen = run.summary.images_seen
    assert seen.trained + seen.baseline + seen.oracle == Counting.num(True, True)
    assert Counting.num(True, False) == 0, "no gradient is kept where none is used"
    assert seen.forward_only == Counting.num(False, False) + Counting.num(False, True)


def num_val(settings: Mapping[str, Any]) -> int:
    return int(settings.get("data.val_images", 0))


# Going on ---------------------------------------------------------------------------------------


class StopAt(Quiet):
    """Sends SIGTERM at a step, or when a labeling begins."""

    def __init__(self, at: int | str) -> None:
        self._at = at
        self._num_steps = 0

    def on_step(self, stage: Stage, step: int, num_steps: int, done: float) -> None:
        self._num_steps += 1
        if self._num_steps == self._at:
            os.kill(os.getpid(), signal.SIGTERM)

    def on_event(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "started" and event["stage"] == self._at:
            os.kill(os.getpid(), signal.SIGTERM)


LONG = ROUNDS | {"steps": 9, "data.photometric": 0.4, "data.val_images": 1, "labels": 4}


@pytest.fixture(scope="module")
def whole(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody interrupts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("whole"))
        return Path.cwd() / train(scenes, out="run", **LONG).path


@pytest.mark.parametrize(
    ("at", "settings"),
    [
        (2, {"checkpoint_every": 1e-9}),  # in round 0
        (14, {"data.memory_limit": 0, "workers": 3}),  # in a later one, and read from files
        ("round2/label/b", {}),
    ],
    ids=str,
)
def test_resumed_run_equals_the_whole_one(
    at: int | str, settings: dict[str, Any], scenes, whole, tmp_path, monkeypatch, outcome_of
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Interrupted) as stopped:
        train(scenes, listener=StopAt(at), out="run", **(LONG | settings))
    assert stopped.value.signal == signal.SIGTERM
    assert not Path("run/summary.json").exists()
    resume("run")
    assert outcome_of(Path("run")) == outcome_of(whole)


def test_changed_masks_are_refused(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "set", "abcdef", num_labeled=4)
    with pytest.raises(Interrupted):
        train(root, listener=StopAt(3), out=tmp_path / "run", **ROUNDS)
    mask = root / "masks" / "a.png"
    content = mask.read_bytes()
    mask.write_bytes((root / "masks" / "b.png").read_bytes())
    with pytest.raises(RunError, match="cannot go on"):
        resume(tmp_path / "run")
    mask.write_bytes(content)
    assert resume(tmp_path / "run").summary.status == "finished"


# The same bits ----------------------------------------------------------------------------------


def test_ways_of_reading_change_nothing(scenes: Path, tmp_path: Path) -> None:
    ways = [{"workers": 1}, *({"workers": n, "data.memory_limit": 0} for n in (0, 1, 3))]
    settings = ROUNDS | {"rounds": 1, "steps": 4, "data.photometric": 0.4}
    found = [
        weights_of(train(scenes, out=tmp_path / f"{number}", **(settings | way)).path)
        for number, way in enumerate([*ways, {"seed": 1}])
    ]
    assert all(each == found[0] for each in found[1:-1])
    assert all(found[-1][name] != found[0][name] for name in found[0])


def scrambled(hidden: HiddenMasks) -> HiddenMasks:
    """The same images with every known pixel called something else."""

    def read(id_: int) -> NDArray[np.uint8]:
        mask = hidden._read(id_)
        return np.where(mask == 255, mask, (mask + 1) % 3).astype(np.uint8)

    return HiddenMasks(hidden.ids, read)


def test_training_cannot_read_hidden_masks(scenes: Path, tmp_path: Path, monkeypatch) -> None:
    """Every mask that a run does not train on is replaced by a wrong one: the weights stay."""
    settings = KEYS | {"labels": 3, "data.val_images": 1, "oracle": True}
    run = train(scenes, out=tmp_path / "true", **settings)

    def lying(*args: Any, **kwargs: Any) -> MaskSplit:
        split = make_mask_split(*args, **kwargs)
        return replace(
            split,
            hidden=scrambled(split.hidden),
            val=scrambled(split.val),
            test=scrambled(split.test),
        )

    monkeypatch.setattr(dmt.runs.scene_material, "make_mask_split", lying)
    other = train(scenes, out=tmp_path / "false", **settings)
    true, false = weights_of(run.path), weights_of(other.path)
    assert {name for name in true if true[name] != false[name]} == {"oracle/a/model.safetensors"}
    labels = "rounds/1/b/pseudo_labels"
    for path in sorted((run.path / labels).iterdir()):
        assert path.read_bytes() == (other.path / labels / path.name).read_bytes()
    unlabeled, other_unlabeled = ([each for each in read_examples(one.path).examples
                                   if not each.is_held_out] for one in (run, other))  # fmt: skip
    assert unlabeled == other_unlabeled
    assert unlabeled
    # But what is reported did change, so the masks were indeed false.
    assert other.summary.peers["a"] != run.summary.peers["a"]
    accuracy = [each.summary.rounds[1].pseudo_label_accuracy for each in (run, other)]
    assert accuracy[0] != accuracy[1]
    assert run.summary.rounds[1].error_detection != other.summary.rounds[1].error_detection

    def silent(*args: Any, **kwargs: Any) -> MaskSplit:
        split = make_mask_split(*args, **kwargs)
        return replace(split, hidden=split.hidden.restrict(split.labeled))

    monkeypatch.setattr(dmt.runs.scene_material, "make_mask_split", silent)
    third = train(scenes, out=tmp_path / "none", **settings)
    assert not third.summary.rounds[1].error_detection
    without = weights_of(third.path)  # and without the oracle, which has nothing to unwrap
    assert {name: true[name] for name in without} == without


# Weights from a file ----------------------------------------------------------------------------


def test_run_begins_from_another_s_weights(scenes: Path, whole: Path, tmp_path: Path, dmt) -> None:
    weights = tmp_path / "before.safetensors"
    shutil.copy(whole / "rounds/2/a/model.safetensors", weights)
    out = tmp_path / "run"
    still = ["initial.lr=1e-12", "initial.weight_decay=0", "baseline=none"]
    outcome = dmt("train", scenes, *WORDS, *still, f"peers.a.weights={weights}", f"out={out}")
    assert outcome.code == 0, outcome.err
    (told,) = (line for line in outcome.err.splitlines() if "tensors fit" in line)
    num, total = told.split(": ")[1].split(" tensors")[0].split(" of ")
    assert num == total
    old, a, b = map(load_file, (weights, *(out / f"rounds/0/{peer}/model.safetensors"
                                           for peer in "ab")))  # fmt: skip
    name = next(each for each in old if each.startswith("module.") and old[each].ndim == 4)
    torch.testing.assert_close(a[name], old[name], atol=1e-6, rtol=0)
    assert not torch.allclose(b[name], old[name], atol=1e-3)
    # The finished run needs that file no more.
    assert str(weights) in (out / "config.yaml").read_text()
    weights.unlink()
    assert dmt("predict", out, scenes / "images" / "0000.jpg", f"out={tmp_path / 'p'}").code == 0


def test_weights_for_other_classes_leave_the_last_layer(whole: Path, tmp_path: Path, dmt) -> None:
    weights = whole / "rounds/0/a/model.safetensors"
    four = write_pairs(tmp_path / "four", "abcdefgh", num_labeled=7,
                       classes=("ground", "red", "green", "blue"))  # fmt: skip
    words = [*WORDS, "baseline=none", f"weights={weights}", f"out={tmp_path / 'run'}"]
    outcome = dmt("train", four, *words)
    assert outcome.code == 0, outcome.err
    told = [line for line in outcome.err.splitlines() if "tensors fit" in line]
    assert len(told) == 1, "once, though two peers begin from it"
    assert "left as initialised: aspp.0.weight (3 there, 4 here)" in told[0]
