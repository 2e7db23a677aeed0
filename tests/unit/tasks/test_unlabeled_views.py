"""Batches and views of methods that label at every step, on either task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from dmt.config import resolve
from dmt.core import IGNORE_INDEX
from dmt.data.layouts import open_catalog
from dmt.engine.plan import plan
from dmt.engine.runtime import Runtime
from dmt.engine.stage import TrainStage
from dmt.engine.step import Batch, Position, picked
from dmt.engine.task import Task
from dmt.runs.materials import sizes_of
from dmt.runs.session import open_material
from trees import write_image_masks

CPU = Runtime(torch.device("cpu"))
CROP = 48


def opened(data: Any, *words: str) -> tuple[Task, TrainStage]:
    """A task, and the one stage of `fixmatch` on it."""
    catalog = open_catalog(data)
    given = [
        "method=fixmatch",
        "steps=3",
        "rounds=1",
        "batch_size=8",
        "student.labeled_share=0.5",
        *words,
    ]
    settings = resolve(given, dataset=str(data), default_recipe=None)
    material = open_material(catalog, print)
    split = material.split(settings, ())
    material.open(settings, CPU)
    stage = plan(settings, sizes_of(split, catalog))[0]
    assert isinstance(stage, TrainStage)
    return material.task(settings, {None: split}, CPU), stage


def batches_of(task: Task, stage: TrainStage, first: int = 0) -> Iterator[tuple[Position, Batch]]:
    with closing(task.batches(stage, None, first)) as batches:
        yield from batches


@pytest.fixture(params=["classification", "segmentation"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Task, TrainStage]:
    if request.param == "classification":
        return opened("digits", "labels_per_class=2", "data.image_size=8")
    root = write_image_masks(tmp_path / "scenes", 4, 6, num_test=2, size=(30, 34))
    return opened(root, f"data.crop={CROP}", "workers=0")


def test_half_of_a_batch_has_no_label(case: tuple[Task, TrainStage]) -> None:
    task, stage = case
    for _, batch in batches_of(task, stage):
        assert batch.is_labeled.sum() == 4
        pool = picked(batch, (~batch.is_labeled).nonzero().squeeze(1))
        is_class = (pool.label >= 0) & (pool.label < len(task.classes))
        assert not is_class.any()
        assert not pool.confidence.any()
        given = picked(batch, batch.is_labeled.nonzero().squeeze(1))
        known = given.label[given.valid]
        assert ((known >= 0) & (known < len(task.classes))).all()


def test_every_pixel_of_an_unlabeled_scene_is_valid_and_no_padding(tmp_path: Path) -> None:
    root = write_image_masks(tmp_path / "scenes", 4, 6, num_test=2, size=(30, 34))
    task, stage = opened(root, f"data.crop={CROP}", "workers=0", "data.flip=true")
    padding = torch.tensor([124, 116, 104], dtype=torch.uint8).view(3, 1, 1)
    for _, batch in batches_of(task, stage):
        for place in (~batch.is_labeled).nonzero().squeeze(1).tolist():
            is_padding = (batch.images[place] == padding).all(dim=0)
            assert batch.valid[place].any()
            assert is_padding[~batch.valid[place]].all()
            rows, columns = batch.valid[place].any(1).sum(), batch.valid[place].any(0).sum()
            assert batch.valid[place].sum() == rows * columns, "the whole image"
            assert (batch.label[place] == IGNORE_INDEX).all()


def test_views_are_functions_of_the_place(case: tuple[Task, TrainStage]) -> None:
    task, stage = case
    (position, batch), (later, _) = list(batches_of(task, stage))[:2]
    weak, strong = task.views(batch, position)
    for one, two in zip((weak, strong), task.views(batch, position), strict=True):
        assert torch.equal(one.images, two.images)
    assert not torch.equal(strong.images, weak.images)
    assert not torch.equal(strong.images, task.views(batch, later)[1].images)
    places = torch.tensor([1, 5])
    for whole, part in zip(
        (weak, strong), task.views(picked(batch, places), position), strict=True
    ):
        assert torch.equal(whole.images[places], part.images), "whoever is in the batch besides"
    for view in (weak, strong):
        assert torch.equal(view.label, batch.label)
        assert torch.equal(view.valid, batch.valid)


def test_batches_from_a_step_on_are_those_of_the_whole_stage(
    case: tuple[Task, TrainStage],
) -> None:
    task, stage = case
    whole, rest = list(batches_of(task, stage)), list(batches_of(task, stage, 2))
    assert [position.step for position, _ in rest] == [2]
    for one, two in zip(whole[2][1], rest[0][1], strict=True):
        assert torch.equal(one, two)
