"""A run's peers one by one, and the images to ask them about. What they say is others' to weigh."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dmt.config import Settings
from dmt.data.catalog import Catalog
from dmt.data.decode import decode
from dmt.data.sizes import fit_within
from dmt.engine.folder import RunFolder
from dmt.engine.model import Model
from dmt.engine.plan import peer_names, plan
from dmt.engine.segmenter import Segmenter
from dmt.engine.stage import TrainStage
from dmt.errors import RunError
from dmt.inference.using import open_model, sizes_in


class LastPeers(NamedTuple):
    """The networks that came furthest in a run."""

    round: int  # after which they were saved
    last_round: int  # of the run as it is planned
    weights: list[Path]  # one or two files
    is_pair: bool  # two peers; else one model and, where there is one, the generation before it


def last_peers(run: Path, settings: Settings) -> LastPeers:
    """The peers of the last round that all of them finished, of a half-finished run too.

    Raises:
        RunError: not even round 0 is finished.
    """
    folder, names = RunFolder(run), peer_names(settings)
    rounds: dict[int, list[Path]] = {}
    last_round = 0
    for stage in plan(settings, sizes_in(run)):
        if isinstance(stage, TrainStage) and stage.role == "round" and stage.fold is None:
            last_round = max(last_round, stage.round)
            path = folder.weights(stage.name)
            if path.is_file():
                rounds.setdefault(stage.round, []).append(path)
    whole = [round_ for round_, paths in rounds.items() if len(paths) == len(names)]
    if not whole:
        raise RunError(
            f"{run} has no trained network yet; let it finish round 0 first (`dmt resume {run}`)"
        )
    found = max(whole)
    weights = rounds[found]
    if len(names) == 1 and settings.schedule == "chain" and found - 1 in rounds:
        weights = weights + rounds[found - 1]
    return LastPeers(found, last_round, weights, len(names) == 2)


def open_classifier(weights: Sequence[Path], settings: Settings, classes: Sequence[str]) -> Model:
    """Networks that are asked together; `Model.predict_peers` says what each answers.

    Raises:
        RunError, SettingError: as `using.load`.
    """
    model = _open(weights, settings, classes, "classification")
    assert isinstance(model, Model)
    return model


def open_segmenters(
    weights: Sequence[Path], settings: Settings, classes: Sequence[str]
) -> list[Segmenter]:
    """Every network by itself.

    Raises:
        RunError, SettingError: as `using.load`.
    """
    found = [_open([path], settings, classes, "segmentation") for path in weights]
    return [each for each in found if isinstance(each, Segmenter)]


def _open(
    weights: Sequence[Path],
    settings: Settings,
    classes: Sequence[str],
    task: Literal["classification", "segmentation"],
) -> Model | Segmenter:
    return open_model(
        weights,
        None,
        settings,
        tuple(classes),
        task=task,
        device=settings.device,
        workers=settings.workers,
        trust_code=settings.trust_code,
    )


def images_of(catalog: Catalog, rows: NDArray[np.int64]) -> Sequence[Any]:
    """Images as `Model` takes them: arrays from memory, or paths."""
    if catalog.images is not None:
        return cast("Sequence[Any]", catalog.images[rows])
    if catalog.elsewhere is not None and (rows >= catalog.num_own).any():
        return [image_of(catalog, row) for row in rows]
    return [catalog.file(row) for row in rows]


def image_of(catalog: Catalog, row: int) -> NDArray[np.uint8]:
    """One image, uint8 (H, W, 3).

    Raises:
        DataError: it cannot be read.
    """
    if catalog.images is not None:
        image: NDArray[np.uint8] = catalog.images[row]
        return image
    return decode(*catalog.source(row))


def resized(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """An image at another size, bicubic."""
    if image.shape[:2] == (height, width):
        return image
    small = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC, None, 3.0)
    return np.asarray(small)


def fitted(catalog: Catalog, id: int, settings: Settings) -> NDArray[np.uint8]:
    """A scene as networks see it: uint8 (H, W, 3), at most `data.max_side` a side."""
    image = image_of(catalog, id)
    return resized(image, *fit_within(image.shape[0], image.shape[1], settings.data.max_side))


def probabilities_at(
    models: Sequence[Segmenter], image: NDArray[np.uint8], name: str
) -> list[NDArray[np.float32]]:
    """What every network says of an image's pixels, float32 (K, H, W) each.

    Raises:
        DataError: one has no finite answer.
    """
    found = [each.predict_pixels(image, name, keep_probs=True).probs for each in models]
    return [probs for probs in found if probs is not None]
