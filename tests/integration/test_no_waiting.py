"""Between two records no step waits for an accelerator, whatever the method: see `pretend_device`.

What a step waits for on purpose: on the CPU the finite check, with fp16 its scaler, else nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dmt.config import Settings
from dmt.core import NUM_CODES, sent
from dmt.data.hidden import HiddenLabels, HiddenMasks
from dmt.data.mask_splits import GivenMasks, MaskSplit
from dmt.data.pixel_labels import PixelLabelWriter
from dmt.data.pool import MemoryPool
from dmt.data.pseudo_labels import ImageLabels
from dmt.data.scene_views import SceneAugmentation
from dmt.data.scenes import ScenePool
from dmt.data.splits import Split
from dmt.data.transforms import Augmentation
from dmt.engine.fit import Learner, Tally, fit
from dmt.engine.plan import PRESETS, Sizes, plan
from dmt.engine.runtime import Runtime
from dmt.engine.scene_forward import Inference
from dmt.engine.stage import TrainStage
from dmt.engine.step import Batch, Position
from dmt.engine.task import Task
from dmt.methods import methods_of
from dmt.models.build import build
from dmt.tasks.classification import Classification
from dmt.tasks.segmentation import Segmentation
from pretend_device import ELSEWHERE, Remote, Waited, moved, pretend_device

STEPS = 3
_LONG = 10_000  # steps of a stage that records none of the first ones
NUM, NUM_LABELED, CLASSES = 24, 8, ("one", "two", "three")
RUNTIME = Runtime(ELSEWHERE)
POOL = np.arange(NUM_LABELED, NUM)


def images_task() -> Task:
    """Noise of 8×8 pixels, held elsewhere."""
    nothing = HiddenLabels(np.zeros(0, np.int64), np.zeros(0, np.int64))
    split = Split(
        np.arange(NUM_LABELED), np.arange(NUM_LABELED) % 3, POOL, nothing, nothing, nothing, "", ()
    )
    images = torch.randint(0, 256, (NUM, 3, 8, 8), dtype=torch.uint8)
    look = Augmentation(scale=(0.9, 1.1), rotate=10, randaugment=1, cutout=0.3)
    return Classification(MemoryPool(Remote(images)), {None: split}, CLASSES, look, 0, RUNTIME)


def scenes_task() -> Task:
    """Noise of 12×12 pixels, cut on the host."""

    def mask(id: int) -> Any:
        return np.random.default_rng(id).integers(0, 3, (12, 12), np.uint8)

    def image(id: int) -> Any:
        return np.random.default_rng(id).integers(0, 256, (12, 12, 3), np.uint8)

    labeled, nothing = np.arange(NUM_LABELED), np.zeros(0, np.int64)
    hidden = HiddenMasks(nothing, mask)
    split = MaskSplit(labeled, GivenMasks(labeled, mask), POOL, hidden, hidden, hidden, "", ())
    pool = ScenePool(np.full((NUM, 2), 12), image)
    look = SceneAugmentation((9, 9), photometric=0.2)
    blocks = np.arange(NUM)
    return Segmentation(
        pool, {None: split}, CLASSES, look, Inference(), blocks, 0, RUNTIME, workers=0
    )


def write_labels(folder: Path, *, is_dense: bool) -> Path:
    """Pseudo labels for the pool."""
    how = {"fraction": 0.8, "is_class_balanced": False, "seed": 0, "where": "test"}
    if not is_dense:
        ids = torch.from_numpy(POOL)
        code = torch.arange(len(ids), dtype=torch.int32) * 1000
        ImageLabels.write(folder, ids, ids % 3, code, 3, **how)
        return folder
    writer = PixelLabelWriter(folder, 3)
    for id in POOL.tolist():
        label = torch.arange(144).view(12, 12) % 3
        writer.add(id, label, (label * 7919 * (id + 1)) % NUM_CODES)
    writer.finish(writer.counts, **how)
    return folder


def last_training(method: str, *, is_dense: bool) -> list[TrainStage]:
    """The stage, or stages trained together, in which a method is most itself."""
    settings = Settings.model_validate({
        "method": method, "steps": 2 * STEPS, "rounds": 1, "batch_size": 8, "baseline": "none",
        "model": "deeplab_v2:wrn_10_1:1-3" if is_dense else "wrn_10_1",
        "selection": {"fractions": [0.5]},
    })  # fmt: skip
    stages = plan(settings, Sizes(NUM_LABELED, len(POOL), 0, is_dense))
    trained = [each for each in stages if isinstance(each, TrainStage) and each.role == "round"]
    return [each for each in trained if each.name in trained[-1].together] or trained[-1:]


def steps(
    task: Task, stages: list[TrainStage], labels: Path | None, num_steps: int, taken: list[object]
) -> Tally:
    """A stage's steps as if it had `num_steps`, of which each is added to `taken`."""
    is_dense = task.name == "segmentation"

    def batches() -> Iterator[tuple[Position, Batch]]:
        for position, batch in task.batches(stages[0], labels, 0):
            yield position._replace(num_steps=num_steps), batch

    with pretend_device():
        method = methods_of(task, RUNTIME)(stages[0])
        nets = [moved(build(each.model, 3, seed=0, image_size=9, is_dense=is_dense))
                for each in stages]  # fmt: skip
        learners = {
            name: Learner(net, stage.fit)
            for name, net, stage in zip(method.learners, nets, stages, strict=True)
        }
        tally = Tally()
        fit(
            learners, method, batches(), RUNTIME, tally=tally, scaler=RUNTIME.grad_scaler(),
            after_step=lambda position, sums: taken.append(position.step),
        )  # fmt: skip
    return tally


def _value(tensor: Tensor) -> float:
    assert isinstance(tensor, Remote), "sums stay on the device"
    return float(tensor.here)


@pytest.mark.parametrize("method", PRESETS)
@pytest.mark.parametrize("data", ["images", "scenes"])
def test_a_step_waits_for_nothing(method: str, data: str, tmp_path: Path) -> None:
    is_dense = data == "scenes"
    if {"images": "classification", "scenes": "segmentation"}[data] not in PRESETS[method].tasks:
        pytest.skip("not a method for scenes")
    stages = last_training(method, is_dense=is_dense)
    labels = write_labels(tmp_path, is_dense=is_dense) if stages[0].pseudo else None
    assert (labels is None) == (PRESETS[method].online is not None or method == "supervised")
    task = scenes_task() if is_dense else images_task()
    taken: list[object] = []
    sums = steps(task, stages, labels, _LONG, taken).sums
    assert taken == list(range(stages[0].fit.num_steps))
    assert len(taken) >= 3
    assert _value(sums["num_steps"]) == len(taken)
    assert 0 < _value(sums["loss"]) < np.inf


# That the pretended device finds what it is for ---------------------------------------------------


@pytest.mark.parametrize(
    "waits",
    [
        lambda there: float(there.sum()), lambda there: bool((there > 0).any()),
        lambda there: there.tolist(), lambda there: there.cpu(), lambda there: there.to("cpu"),
        lambda there: (there > 0).nonzero(), lambda there: there[there > 0],
        lambda there: torch.zeros(3).to(ELSEWHERE), lambda there: there.unique(),
    ],
    ids=["item", "bool", "tolist", "cpu", "to", "nonzero", "mask", "send", "unique"],
)  # fmt: skip
def test_what_waits_is_found(waits: Any) -> None:
    with pretend_device(), pytest.raises(Waited):
        waits(sent(torch.ones(4), ELSEWHERE))


def test_what_does_not_wait_is_computed() -> None:
    with pretend_device():
        there = sent(torch.arange(4.0), ELSEWHERE)
        found = torch.where(there > 1, there, 0.0).sum() + torch.ones((), device=ELSEWHERE)
    assert found.device == ELSEWHERE
    assert _value(found) == 6


def test_a_record_is_where_it_waits() -> None:
    """So that what is tested above is not empty: the same steps, but as a stage that records."""
    taken: list[object] = []
    with pytest.raises(Waited):
        steps(images_task(), last_training("supervised", is_dense=False), None, 8, taken)
    assert taken == []
