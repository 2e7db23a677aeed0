"""A finished run put to use: its model loaded, measured on labeled images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray

from dmt.config import Settings, resolve
from dmt.data.catalog import Catalog, Part
from dmt.data.fingerprint import content_hashes
from dmt.data.layouts import open_catalog
from dmt.engine.folder import RunFolder
from dmt.engine.machine import num_workers
from dmt.engine.model import Model
from dmt.engine.outcome import final_models, previous_generation
from dmt.engine.plan import Sizes, plan
from dmt.engine.runtime import Runtime, open_runtime
from dmt.engine.scene_forward import Inference
from dmt.engine.segmenter import Segmenter
from dmt.errors import DataError, RunError, SettingError
from dmt.inference.mask_evaluation import evaluate_masks
from dmt.metrics.confusion import class_recall, confusion_matrix, error_rate
from dmt.models.weights import restore
from dmt.records import CONFIG, DATA, SUMMARY, Summary, read_summary
from dmt.records.data import read_data
from dmt.records.links import refuse_links


def load(
    run: str | Path,
    *,
    device: str = "auto",
    workers: int | None = None,
    trust_code: bool = False,
    is_alone: bool = False,
) -> Model | Segmenter:
    """The model of a finished run: what its summary calls the headline.

    `is_alone`: as `open_runtime` takes it.

    Raises:
        RunError: no run, or not finished, or its weights are missing or damaged.
        SettingError: its network is somebody's code and `trust_code` is not set.
    """
    found = headline_of(Path(run))
    return open_model(
        found.weights,
        found.other,
        found.settings,
        tuple(found.summary.classes),
        task=found.summary.task,
        device=device,
        workers=workers,
        trust_code=trust_code,
        is_alone=is_alone,
    )


class Headline(NamedTuple):
    """What a finished run hands out, before it is opened."""

    summary: Summary
    settings: Settings
    weights: list[Path]  # of the networks that decide
    other: Path | None  # of one that only agrees or not


def headline_of(run: Path) -> Headline:
    """Where the model of a finished run lies.

    Raises:
        RunError: no run, or not finished.
    """
    summary = read_summary(run)
    if summary.status == "stopped":
        raise RunError(f"{run} has no model to use. {summary.sentence}")
    settings = settings_of(run)
    folder = RunFolder(run)
    stages = plan(settings, sizes_in(run))
    models = final_models(stages, None, settings.baseline)
    names = {"ensemble": ("a", "b")}.get(summary.headline, (summary.headline,))
    if not models.keys() >= set(names):
        raise RunError(
            f"{run / SUMMARY} names a model ({summary.headline}) that a run with this {CONFIG} "
            "does not train; put both files back as they were"
        )
    previous = previous_generation(stages) if settings.schedule == "chain" else None
    return Headline(
        summary,
        settings,
        [folder.weights(models[name].name) for name in names],
        None if previous is None else folder.weights(previous.name),
    )


def open_model(
    weights: Sequence[Path],
    other: Path | None,
    settings: Settings,
    classes: tuple[str, ...],
    *,
    task: Literal["classification", "segmentation"],
    device: str = "auto",
    workers: int | None = None,
    trust_code: bool = False,
    is_alone: bool = False,
) -> Model | Segmenter:
    """A run's networks, together, as something to predict with.

    Args:
        weights: the files of those that decide.
        other: the file of a network that only agrees or not.
        settings: of the run.
        classes: names.
        task: what the run learned.
        device, workers, trust_code, is_alone: as in `load`.

    Raises:
        RunError, SettingError: as `load`.
    """
    runtime = runtime_for(device, settings.precision, is_alone=is_alone)

    def network(path: Path) -> Any:
        net = restore(path, allowed_factory=trust_code)
        if (net.is_dense, net.num_classes) != (task == "segmentation", len(classes)):
            raise RunError(
                f"{path} is not this run's: it tells other classes, or is for another task; put "
                "the run's own file back"
            )
        return net.to(runtime.device).eval()

    networks = [network(path) for path in weights]
    another = None if other is None else network(other)
    if task == "segmentation":
        return Segmenter(
            networks,
            another,
            classes,
            settings.data.max_side,
            Inference(settings.data.window, settings.data.overlap),
            runtime,
            num_workers(workers),
        )
    return Model(networks, another, classes, networks[0].image_size, runtime, num_workers(workers))


def evaluate(
    run: str | Path,
    data: str | Path,
    *,
    device: str = "auto",
    trust_code: bool = False,
    follow_links: bool = False,
) -> dict[str, Any]:
    """Error, or mean IoU, the figures by class and the confusion of a run's model.

    Every labeled image of `data` counts, except that `test/`, or else `val/`, alone counts where
    there is one and that images the run was trained on with their labels are left out, by their
    content.

    Raises:
        DataError: no labels, or classes that the run does not know.
    """
    model = load(run, device=device, trust_code=trust_code)
    catalog = open_catalog(data, follow_links=follow_links)
    if (catalog.task == "segmentation") != isinstance(model, Segmenter):
        raise DataError(
            f"{data} is a {catalog.task}, but {run} was trained for another task; give data of "
            "the run's own"
        )
    unknown = sorted(set(catalog.classes) - set(model.classes))
    if unknown:
        raise DataError(
            f"{data} has classes that the run does not know ({', '.join(unknown[:3])}); it knows "
            f"{', '.join(model.classes[:10])}"
        )
    is_counted = catalog.labels >= 0
    for part in (Part.TEST, Part.VAL):  # a val part stands in for a missing test, as in a run
        if (catalog.parts[is_counted] == part).any():
            is_counted &= catalog.parts == part
            break
    files = read_data(Path(run))["files"]
    trained_on = {tuple(entry[1:3]) for entry in files if entry[3] == "labeled"}
    contents = content_hashes(catalog)
    is_new = np.array([content not in trained_on for content in contents])
    num_left_out = int((is_counted & ~is_new).sum())
    rows = (is_counted & is_new).nonzero()[0]
    if not len(rows):
        why = ": the run was trained on all of them" if num_left_out else ""
        raise DataError(f"{data} has no labeled images to evaluate on{why}")
    figures = (
        evaluate_masks(model, catalog, rows)
        if isinstance(model, Segmenter)
        else _evaluate_labels(model, catalog, rows)
    )
    return {
        "run": str(run),
        "dataset": catalog.name,
        "num_images": len(rows),
        "num_left_out": num_left_out,
        **figures,
    }


def _evaluate_labels(model: Model, catalog: Catalog, rows: NDArray[np.int64]) -> dict[str, Any]:
    images: Sequence[Any]
    if catalog.images is not None:
        images = cast("Sequence[Any]", catalog.images[rows])
    else:
        assert catalog.root is not None
        images = [catalog.root / catalog.paths[row] for row in rows]
    number = {name: index for index, name in enumerate(model.classes)}
    called = [number[name] for part in model.predict_batches(images) for name in part.label]
    truth = [number[catalog.classes[label]] for label in catalog.labels[rows]]
    counts = confusion_matrix(
        torch.tensor(truth), torch.tensor(called), len(model.classes), ignore_index=None
    )
    recall = class_recall(counts).tolist()
    return {
        "metric": "error",
        "value": error_rate(counts),
        "classes": [
            {"name": name, "count": int(count), "recall": None if count == 0 else value}
            for name, count, value in zip(model.classes, counts.sum(axis=1), recall, strict=True)
        ],
        "confusion": counts.tolist(),
    }


def settings_of(run: Path) -> Settings:
    """The settings of a run.

    Raises:
        RunError: it is none.
    """
    refuse_links(run)
    if not (run / CONFIG).is_file():
        raise RunError(f"{run} is no run: it has no {CONFIG}; give the folder of a run")
    return resolve({"recipe": str(run / CONFIG)}, dataset=None, default_recipe=None)


def sizes_in(run: Path) -> Sizes:
    """How many images of each sort a run has, by its record.

    Raises:
        RunError: the record is another version's.
    """
    try:
        return Sizes(**read_data(run)["sizes"])
    except TypeError as error:
        raise RunError(f"{run / DATA} was not written by this version of dmt") from error


def runtime_for(device: str, precision: str, *, is_alone: bool = False) -> Runtime:
    """Where a run's networks compute: in the precision it was trained in, if the device has it."""
    try:
        return open_runtime(device, precision, is_alone=is_alone)
    except SettingError:
        return open_runtime(device, is_alone=is_alone)
