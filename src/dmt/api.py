"""The library: train, resume, load, evaluate. It reads settings and hands flat values down."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from dmt.config import Peers, Settings, resolve
from dmt.data.catalog import Catalog, Part, open_catalog
from dmt.data.fingerprint import content_hashes
from dmt.engine.folder import RunFolder
from dmt.engine.model import Model
from dmt.engine.outcome import final_models, previous_generation
from dmt.engine.plan import Sizes, is_continuing, peer_names, plan
from dmt.engine.runner import Listener
from dmt.engine.runtime import Runtime, open_runtime
from dmt.engine.stage import Stage, TrainStage
from dmt.errors import DataError, RunError, SettingError
from dmt.insight.report import write_report
from dmt.metrics.confusion import class_recall, confusion_matrix, error_rate
from dmt.models.weights import restore
from dmt.records import (
    CONFIG,
    DATA,
    REPORT,
    SUMMARY,
    Summary,
    read_json,
    read_summary,
)
from dmt.session import Session, num_workers

__all__ = ["Model", "Run", "evaluate", "load", "resume", "settings_for", "train"]

_DEFAULT_RECIPES = {"digits": "digits", "cifar10-batches": "cifar10-4000"}


@dataclass(frozen=True)
class Run:
    """A finished run: where it lies and what came out."""

    path: Path
    summary: Summary

    def load(self, *, device: str = "auto", trust_code: bool = False) -> Model:
        """The model to predict with; see `load`."""
        return load(self.path, device=device, trust_code=trust_code)


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
        if not (path / REPORT).exists():
            write_report(path)
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
    runtime = _runtime_for(device, settings.precision)
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

    Every labeled image of `data` counts, except that `test/` alone counts where there is one and
    that images the run was trained on with their labels are left out, by their content.

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
    trained_on = {tuple(entry[1:3]) for entry in _files_of(Path(run)) if entry[3] == "labeled"}
    contents = content_hashes(catalog)
    is_new = np.array([content not in trained_on for content in contents])
    num_left_out = int((is_counted & ~is_new).sum())
    rows = (is_counted & is_new).nonzero()[0]
    if not len(rows):
        why = ": the run was trained on all of them" if num_left_out else ""
        raise DataError(f"{data} has no labeled images to evaluate on{why}")
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
        "num_left_out": num_left_out,
        "metric": "error",
        "value": error_rate(counts),
        "classes": [
            {"name": name, "count": int(count), "recall": None if count == 0 else value}
            for name, count, value in zip(model.classes, counts.sum(axis=1), recall, strict=True)
        ],
        "confusion": counts.tolist(),
    }


def _settings(
    catalog: Catalog, data: str | Path, overrides: Sequence[str] | Mapping[str, Any]
) -> Settings:
    recipe = _DEFAULT_RECIPES.get(catalog.layout, "photos")
    if isinstance(data, str) and re.fullmatch(r"cifar10(:.*)?", data, re.DOTALL):
        recipe = "cifar10-4000"  # whichever files the built-in was found in
    settings = resolve(overrides, dataset=str(data), default_recipe=recipe)
    _check_combinations(settings)
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


def _files_of(run: Path) -> list[list[Any]]:
    files: list[list[Any]] = read_json(run / DATA).get("files", [])
    return files


def _runtime_for(device: str, precision: str) -> Runtime:
    """The precision a run was trained in, where this device has it."""
    try:
        return open_runtime(device, precision)
    except SettingError:
        return open_runtime(device)


def _check_combinations(settings: Settings) -> None:
    """Refuse settings that would be taken and then mean nothing.

    Raises:
        SettingError: the first such pair, and what to set instead.
    """
    is_single = len(peer_names(settings)) == 1
    is_over_run = settings.student.lr_span == "run"
    fractions = settings.selection.fractions
    for is_wrong, sentence in (
        (settings.init_from is not None, "init_from is not available yet; leave it out"),
        (
            is_over_run and not is_continuing(settings),
            "student.lr_span=run needs schedule=pair and student.start=continue; set "
            "student.lr_span=stage",
        ),
        (
            is_over_run and settings.baseline == "round0",
            "baseline=round0 would compare with a model whose learning rate is still high; set "
            "student.lr_span=stage, or baseline=equal",
        ),
        (
            settings.oracle and bool(settings.folds),
            "oracle=true is not judged with folds; leave one of them out",
        ),
        (
            fractions is not None and len(fractions) != settings.rounds,
            f"selection.fractions has {len(fractions or [])} values for rounds={settings.rounds}; "
            "give one a round, or leave it out",
        ),
        (
            is_single and settings.peers.b != Peers().b,
            f"peers.b is set, but method={settings.method} schedule={settings.schedule} trains "
            "one model at a time; leave it out",
        ),
        (
            is_single and settings.peers.labeled_subset == "dms",
            "peers.labeled_subset=dms makes two peers different; it needs schedule=pair and a "
            "method of two models",
        ),
        (
            is_single and settings.baseline == "pair",
            "baseline=pair is for a pair of peers; set baseline=equal",
        ),
    ):
        if is_wrong:
            raise SettingError(sentence)


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
