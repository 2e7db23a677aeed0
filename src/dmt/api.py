"""The library: train, resume, load, evaluate. It reads settings and hands flat values down."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from dmt.config import Settings, resolve
from dmt.data.catalog import Catalog, Part, open_catalog
from dmt.engine.folder import RunFolder
from dmt.engine.model import Model
from dmt.engine.outcome import final_models, previous_generation
from dmt.engine.plan import Sizes, plan
from dmt.engine.runner import Listener
from dmt.engine.runtime import open_runtime
from dmt.engine.stage import Stage, TrainStage
from dmt.errors import DataError, RunError, SettingError
from dmt.insight.report import write_report
from dmt.metrics.confusion import class_recall, confusion_matrix, error_rate
from dmt.models.weights import restore
from dmt.records import (
    CONFIG,
    DATA,
    SUMMARY,
    Summary,
    read_json,
    read_summary,
)
from dmt.session import Session, num_workers

__all__ = ["Model", "Run", "evaluate", "load", "report", "resume", "settings_for", "train"]

_GIGABYTE = 1 << 30
_DEFAULT_RECIPES = {"digits": "digits", "cifar10-batches": "cifar10-4000"}


@dataclass(frozen=True)
class Run:
    """A finished run: where it lies and what came out."""

    path: Path
    summary: Summary

    def load(self) -> Model:
        """The model to predict with."""
        return load(self.path)


class Quiet:
    """A listener that shows nothing."""

    def on_note(self, text: str) -> None:
        """See `Listener`."""

    def on_event(self, event: Mapping[str, Any]) -> None:
        """See `Listener`."""

    def on_plan(self, stages: Sequence[Stage]) -> None:
        """See `Listener`."""

    def on_step(self, stage: Stage, step: int, num_steps: int, done: float) -> None:
        """See `Listener`."""


def settings_for(data: str | Path, overrides: Sequence[str] | Mapping[str, Any]) -> Settings:
    """The resolved settings of a run on `data`, before anything is measured.

    Raises:
        DataError: there is no such data.
        SettingError: an unknown key or a value it does not take.
    """
    return _settings(open_catalog(data), data, overrides)


def train(data: str | Path, *, listener: Listener | None = None, **settings: Any) -> Run:
    """Train on a folder, a CSV or a built-in; the settings are those of `dmt train`.

    Args:
        data: a folder, a CSV, `digits` or `cifar10`.
        listener: told of progress.
        settings: by key, for example `budget="30m"`, `student={"lr": 0.03}`.

    Raises:
        DmtError: whatever the user can mend, in one sentence.
    """
    return train_with(data, settings, listener or Quiet())


def train_with(
    data: str | Path, overrides: Sequence[str] | Mapping[str, Any], listener: Listener
) -> Run:
    """`train` with settings as words (`key=value`) or as a mapping with dotted keys."""
    catalog = open_catalog(data)
    settings = _settings(catalog, data, overrides)
    named = resolve(_only_models(overrides), dataset=None, default_recipe=None)
    _check_trust(settings, {named.model, named.peers.a.model, named.peers.b.model})
    runtime = open_runtime(settings.device, settings.precision)
    path = Path(settings.out) if settings.out else _free_name(catalog.name, settings)
    runtime.barrier()  # every rank has looked for a free name before one of them takes it
    folder = RunFolder(path, is_writer=runtime.is_writer)
    with folder.locked(is_new=True):
        return Run(path, Session(catalog, settings, folder, runtime, listener).begin())


def resume(run: str | Path, *, listener: Listener | None = None, trust_code: bool = False) -> Run:
    """Go on with a run that was interrupted; a finished one is returned as it is.

    Raises:
        RunError: no run, in use, or its data changed.
    """
    path = Path(run)
    settings = _settings_of(path)
    if (path / SUMMARY).exists():
        return Run(path, read_summary(path))
    if trust_code:
        settings = settings.model_copy(update={"trust_code": True})
    _check_trust(settings, set())
    runtime = open_runtime(settings.device, settings.precision)
    folder = RunFolder(path, is_writer=runtime.is_writer)
    with folder.locked(is_new=False):
        folder.load_progress()
        assert settings.dataset is not None
        session = Session(
            open_catalog(settings.dataset), settings, folder, runtime, listener or Quiet()
        )
        return Run(path, session.go_on())


def load(
    run: str | Path, *, device: str = "auto", workers: int | None = None, trust_code: bool = False
) -> Model:
    """The model of a finished run: what its summary calls the headline.

    Raises:
        RunError: no run, or not finished, or its weights are damaged.
        SettingError: its network is somebody's code and `trust_code` is not set.
    """
    path = Path(run)
    summary = read_summary(path)
    settings = _settings_of(path)
    runtime = open_runtime(device, settings.precision)
    folder = RunFolder(path)
    stages = plan(settings, _sizes_of(path))
    models = final_models(stages, None, settings.baseline)
    names = {"ensemble": ("a", "b")}.get(summary.headline, (summary.headline,))
    previous = previous_generation(stages) if settings.schedule == "chain" else None

    def network(stage: TrainStage) -> Any:
        net = restore(folder.weights(stage.name), allowed_factory=trust_code)
        return net.to(runtime.device).eval()

    networks = [network(models[name]) for name in names]
    return Model(
        networks,
        None if previous is None else network(previous),
        tuple(summary.classes),
        networks[0].image_size,
        runtime,
        num_workers(workers),
    )


def evaluate(
    run: str | Path, data: str | Path, *, device: str = "auto", trust_code: bool = False
) -> dict[str, Any]:
    """Error, recall by class and confusion of a run's model on labeled images.

    Every labeled image of `data` counts, except that `test/` alone counts where there is one.

    Raises:
        DataError: no labels, or classes that the run does not know.
    """
    model = load(run, device=device, trust_code=trust_code)
    catalog = open_catalog(data)
    unknown = sorted(set(catalog.classes) - set(model.classes))
    if unknown:
        raise DataError(
            f"{data} has classes that the run does not know ({', '.join(unknown[:3])}); it knows "
            f"{', '.join(model.classes[:10])}"
        )
    is_counted = catalog.labels >= 0
    if (catalog.parts[is_counted] == Part.TEST).any():
        is_counted &= catalog.parts == Part.TEST
    rows = is_counted.nonzero()[0]
    if not len(rows):
        raise DataError(f"{data} has no labeled images to evaluate on")
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
        "run": str(run),
        "dataset": catalog.name,
        "num_images": len(rows),
        "metric": "error",
        "value": error_rate(counts),
        "classes": [
            {"name": name, "count": int(count), "recall": None if count == 0 else value}
            for name, count, value in zip(model.classes, counts.sum(axis=1), recall, strict=True)
        ],
        "confusion": counts.tolist(),
    }


def report(run: str | Path) -> Path:
    """Write `report.html` of a run anew, and return its path."""
    return write_report(Path(run))


def _settings(
    catalog: Catalog, data: str | Path, overrides: Sequence[str] | Mapping[str, Any]
) -> Settings:
    recipe = _DEFAULT_RECIPES.get(catalog.layout, "photos")
    if isinstance(data, str) and re.fullmatch(r"cifar10(:.*)?", data, re.DOTALL):
        recipe = "cifar10-4000"  # whichever files the built-in was found in
    settings = resolve(overrides, dataset=str(data), default_recipe=recipe)
    if settings.init_from is not None:
        raise SettingError("init_from is not available yet; leave it out")
    if settings.weights not in {"none", "auto", "pretrained"}:
        raise SettingError(
            f"weights={settings.weights} does not work; use none, auto or pretrained"
        )
    for weights in (settings.peers.a.weights, settings.peers.b.weights):
        if weights not in {None, "none", "pretrained"}:
            raise SettingError(f"weights={weights} of a peer does not work; use none or pretrained")
    return settings


def _sizes_of(run: Path) -> Sizes:
    try:
        return Sizes(**read_json(run / DATA)["sizes"])
    except (KeyError, TypeError) as error:
        raise RunError(f"{run / DATA} was not written by this version of dmt") from error


def _settings_of(run: Path) -> Settings:
    if not (run / CONFIG).is_file():
        raise RunError(f"{run} is no run: it has no {CONFIG}; give the folder of a run")
    return resolve({"recipe": str(run / CONFIG)}, dataset=None, default_recipe=None)


def _free_name(dataset: str, settings: Settings) -> Path:
    """runs/<dataset>-<method>-s<seed>, with a number behind it if that is taken."""
    stem = re.sub(r"[^\w.-]+", "_", dataset) or "data"
    base = Path("runs") / f"{stem}-{settings.method}-s{settings.seed}"
    path, number = base, 2
    while path.exists():
        path, number = base.with_name(f"{base.name}-{number}"), number + 1
    return path


def _only_models(overrides: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    """What names a model in the words of the person at the keyboard, recipes left out."""
    pairs = (
        overrides.items()
        if isinstance(overrides, Mapping)
        else [word.partition("=")[::2] for word in overrides]
    )
    return {
        key: value
        for key, value in pairs
        if key in {"model", "peers.a.model", "peers.b.model", "peers"}
    }


def _check_trust(settings: Settings, named: set[str | None]) -> None:
    """Code that only a file names is not run unasked.

    Raises:
        SettingError: a factory that was not named by the person.
    """
    for spec in {settings.model, settings.peers.a.model, settings.peers.b.model} - named:
        if spec and ":" in spec and not spec.startswith("timm:") and not settings.trust_code:
            raise SettingError(
                f"model={spec} is code that only a file names; read it, then allow it with "
                "trust_code=true"
            )
