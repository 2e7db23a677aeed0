"""Which pixels are drawn, and that their scores do not depend on how many ranks share the work."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import torch

from dmt.core import error_scores, predict
from dmt.data.pixel_labels import PixelLabels, PixelLabelWriter
from dmt.engine.runtime import Runtime
from dmt.engine.scene_scores import PIXELS_A_SCENE, draw_pixels, pixel_scores

SIZES = {2: (20, 30), 5: (4, 3), 9: (25, 16)}
LOGITS = {
    id_: torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(id_))
    for id_, size in SIZES.items()
}


def store_of(folder: Path) -> PixelLabels:
    writer = PixelLabelWriter(folder, 3)
    for id_, (teacher, _) in LOGITS.items():
        said = predict(teacher.unsqueeze(0))
        writer.add(id_, said.label[0], said.code[0])
    writer.finish(writer.counts, fraction=0.5, is_class_balanced=True, seed=0, where="x")
    return PixelLabels(folder)


def test_pixels_are_a_function_of_seed_and_image(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store")
    ids = np.array([2, 5, 9])
    scenes = draw_pixels(store, ids, seed=3)
    assert [len(scene.pixels) for scene in scenes] == [PIXELS_A_SCENE, 12, PIXELS_A_SCENE]
    for scene in scenes:
        assert len(set(scene.pixels.tolist())) == len(scene.pixels), "each once"
        assert scene.pixels.min() >= 0
        planes = store.read(scene.id)
        assert scene.shape == planes.label.shape == SIZES[scene.id]
        assert scene.pixels.max() < planes.label.size
        label, kept = (
            each.reshape(-1)[scene.pixels] for each in (planes.label, planes.is_selected)
        )
        np.testing.assert_array_equal(scene.label, label)
        np.testing.assert_array_equal(scene.is_selected, kept)
    again = draw_pixels(store, ids[::-1], seed=3)[::-1]
    assert all((a.pixels == b.pixels).all() for a, b in zip(scenes, again, strict=True))
    other = draw_pixels(store, ids, seed=4)
    assert (scenes[0].pixels != other[0].pixels).any()


def test_ranks_add_up_to_one(tmp_path: Path) -> None:
    scenes = draw_pixels(store_of(tmp_path / "store"), np.array([2, 5, 9]), seed=3)

    def scores_by(ids: list[int], world_size: int) -> dict[str, np.ndarray]:
        """A rank's share alone, in an order that is not the scenes'."""
        alone = SimpleNamespace(
            world_size=world_size, device=torch.device("cpu"), sum=lambda value: value
        )
        runtime = cast("Runtime", alone)
        nets = [iter([(id_, LOGITS[id_][net]) for id_ in ids]) for net in (0, 1)]
        return pixel_scores(scenes, nets, (1.0, 2.0), runtime)

    whole = scores_by([9, 2, 5], 1)
    halves = [scores_by(ids, 2) for ids in ([9, 2], [5])]
    for name, each in whole.items():
        np.testing.assert_array_equal(each, halves[0][name] + halves[1][name])
    # And it is the core's score at just these pixels.
    teacher, other = LOGITS[5].unsqueeze(1)
    label = teacher.argmax(1)
    by_pixel = error_scores(teacher, other, label, 1.0, 2.0)
    for name, score in by_pixel.items():
        picked = score.reshape(-1)[torch.from_numpy(scenes[1].pixels)]
        np.testing.assert_allclose(whole[name][PIXELS_A_SCENE:][:12], picked, rtol=1e-6, atol=1e-9)


def test_one_network(tmp_path: Path) -> None:
    scenes = draw_pixels(store_of(tmp_path / "store"), np.array([5]), seed=3)
    found = pixel_scores(scenes, [iter([(5, LOGITS[5][0])])], (1.0, 1.0),
                         Runtime(torch.device("cpu")))  # fmt: skip
    assert list(found) == ["confidence", "margin", "entropy"]
