"""Error scores of a sample of pixels, from logits of whole scenes. What they find: `metrics`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dmt.core import error_scores, permuted
from dmt.core.error_scores import ONE_NETWORK, TWO_NETWORKS
from dmt.data.pixel_labels import PixelLabels
from dmt.engine.runtime import Runtime
from dmt.metrics.error_detection import SampledScene

PIXELS_A_SCENE = 250


def draw_pixels(store: PixelLabels, ids: NDArray[np.int64], seed: int) -> list[SampledScene]:
    """Pixels of each image, the same ones in every round: a function of the seed and the image.

    Args:
        store: the pseudo labels.
        ids: whose pixels, (N,).
        seed: of the run.

    Returns:
        N scenes of at most `PIXELS_A_SCENE` pixels.
    """
    scenes = []
    for id_ in ids.tolist():
        planes = store.read(id_)
        height, width = planes.label.shape
        index = torch.arange(min(height * width, PIXELS_A_SCENE))
        pixels = permuted(index, height * width, seed, "error detection", id_).numpy()
        label = planes.label.reshape(-1)[pixels].astype(np.int64)
        kept = planes.is_selected.reshape(-1)[pixels]
        scenes.append(SampledScene(id_, (height, width), pixels, label, kept))
    return scenes


def pixel_scores(
    scenes: Sequence[SampledScene],
    logits: Sequence[Iterator[tuple[int, Tensor]]],
    gammas: tuple[float, float],
    runtime: Runtime,
) -> dict[str, NDArray[np.float64]]:
    """`core.error_scores` at the pixels of all scenes.

    Args:
        scenes: of all ranks, in order.
        logits: of the teacher, and of the other network where there is one: ids and (K, H, W) of
            this rank's share of the scenes, in the same order.
        gammas: γ1 and γ2.
        runtime: whose ranks share the work.

    Returns:
        By name, float64 (M,), over the pixels of all scenes one after the other, on every rank.
    """
    names = ONE_NETWORK if len(logits) == 1 else (*ONE_NETWORK, *TWO_NETWORKS)
    ends = np.cumsum([len(scene.pixels) for scene in scenes])
    row_of = {scene.id: row for row, scene in enumerate(scenes)}
    # Float64 is not for every device; between processes it travels on the CPU or through CUDA.
    found = torch.zeros(len(names), int(ends[-1]), dtype=torch.float64)
    for answers in zip(*logits, strict=True):
        (id_,) = {each for each, _ in answers}
        scene, end = scenes[row_of[id_]], int(ends[row_of[id_]])
        picked = [
            each.flatten(1)[:, torch.from_numpy(scene.pixels).to(each.device)].cpu().T
            for _, each in answers
        ]
        label = torch.from_numpy(scene.label)
        by_name = error_scores(picked[0], picked[1] if picked[1:] else None, label, *gammas)
        found[:, end - len(label) : end] = torch.stack([by_name[name] for name in names])
    if runtime.world_size > 1:
        found = runtime.sum(found.to(runtime.device)).cpu()
    return dict(zip(names, found.numpy(), strict=True))
