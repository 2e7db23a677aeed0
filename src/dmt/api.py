"""The library: train, resume, load, evaluate. It reads settings and hands flat values down."""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch

from dmt.config import Settings, dump, resolve
from dmt.data.catalog import Catalog, Part, open_catalog
from dmt.data.fingerprint import changed, fingerprint
from dmt.data.pool import open_pool
from dmt.data.splits import Split, fold_splits, make_split
from dmt.data.transforms import Augmentation
from dmt.engine.folder import RunFolder
from dmt.engine.interrupt import listening
from dmt.engine.model import Model
from dmt.engine.outcome import RunFacts, final_models, previous_generation, summarize
from dmt.engine.plan import Sizes, plan
from dmt.engine.runner import Listener, Runner
from dmt.engine.runtime import Runtime, open_runtime
from dmt.engine.stage import Stage, TrainStage
from dmt.errors import DataError, RunError, SettingError
from dmt.insight.report import write_report
from dmt.methods import make_method
from dmt.metrics.confusion import class_recall, error_rate, confusion_matrix
from dmt.models.weights import restore
from dmt.records import CONFIG, DATA, METRICS, SUMMARY, Summary, read_json, read_metrics
from dmt.records import read_summary, write_json
from dmt.sizing import choose, fill_steps
from dmt.tasks.classification import Classification

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
    for note in runtime.notes:
        listener.on_note(note)
    path = Path(settings.out) if settings.out else _free_name(catalog.name, settings)
    runtime.barrier()  # every rank has looked for a free name before one of them takes it
    folder = RunFolder(path, is_writer=runtime.is_writer)
    with folder.locked(is_new=True):
        return _Session(catalog, settings, folder, runtime, listener).begin()


def resume(
    run: str | Path, *, listener: Listener | None = None, trust_code: bool = False
) -> Run:
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
        session = _Session(
            open_catalog(settings.dataset), settings, folder, runtime, listener or Quiet()
        )
        return session.go_on()


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
        _workers(workers),
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
            for name, count, value in zip(
                model.classes, counts.sum(axis=1), recall, strict=True
            )
        ],
        "confusion": counts.tolist(),
    }


def report(run: str | Path) -> Path:
    """Write `report.html` of a run anew, and return its path."""
    return write_report(Path(run))


class _Session:
    """One process's work on one run, from settings to summary."""

    def __init__(
        self,
        catalog: Catalog,
        settings: Settings,
        folder: RunFolder,
        runtime: Runtime,
        listener: Listener,
    ) -> None:
        self._began = time.perf_counter()
        self._catalog = catalog
        self._settings = settings
        self._folder = folder
        self._runtime = runtime
        self._listener = listener

    def begin(self) -> Run:
        """Choose what is left open, write down what will be done, and do it."""
        split, say = self._split(skip=()), self._listener.on_note
        self._settings = choose(
            self._settings, self._catalog, _sizes(split), self._runtime, say
        )
        pool, bad = self._open_pool()
        if bad:
            say(f"left out {len(bad)} unreadable images: {', '.join(bad[:3])} …")
            split = self._split(skip=bad)
        self._check_split(split)
        for note in split.notes:
            say(note)
        self._settings = fill_steps(
            self._settings,
            pool,
            len(self._catalog.classes),
            _sizes(split),
            self._runtime,
            time.perf_counter() - self._began,
            say,
        )
        stored = self._settings.model_copy(
            update={"out": None, "trust_code": False, "dataset": _absolute(self._settings.dataset)}
        )
        data = fingerprint(self._catalog, split)
        self._folder.begin(dump(stored), {**data, "sizes": _sizes(split).__dict__, "bad": bad})
        return self._work(pool, split)

    def go_on(self) -> Run:
        """Check that nothing changed, and do what is left."""
        before = read_json(self._folder.path / DATA)
        pool, bad = self._open_pool()
        split = self._split(skip=bad)
        difference = changed(before, fingerprint(self._catalog, split))
        if difference is not None:
            raise RunError(
                f"{self._folder.path} cannot go on: {difference}; put the data back as it was, or "
                "start a new run"
            )
        return self._work(pool, split)

    def _work(self, pool: Any, split: Split) -> Run:
        settings, runtime = self._settings, self._runtime
        splits: dict[int | None, Split] = {None: split}
        if settings.folds:
            parts = fold_splits(split, folds=settings.folds, seed=settings.seed)
            splits |= dict(enumerate(parts))
        task = Classification(
            pool,
            splits,
            self._catalog.classes,
            _augmentation(settings),
            settings.seed,
            runtime,
        )
        stages = plan(settings, _sizes(split))
        self._listener.on_plan(stages)
        with listening() as stop:
            runner = Runner(
                stages,
                task,
                partial(make_method, view=task.view, num_classes=len(task.classes)),
                self._folder,
                runtime,
                seed=settings.seed,
                image_size=pool.size,
                checkpoint_every=settings.checkpoint_every,
                allow_code=True,  # checked before this session began
                listener=self._listener,
                stop=stop,
            )
            runner.run()
            folds = range(settings.folds) if settings.folds else (None,)
            table = task.judge(
                {
                    fold: {
                        name: runner.network(stage)
                        for name, stage in final_models(stages, fold, settings.baseline).items()
                    }
                    for fold in folds
                }
            )
        summary = summarize(
            self._facts(split),
            task,
            stages,
            table,
            read_metrics(self._folder.path / METRICS),
            runtime,
            self._folder.seconds,
        )
        if runtime.is_writer:
            write_json(self._folder.path / SUMMARY, summary)
            write_report(self._folder.path)
        runtime.barrier()
        return Run(self._folder.path, summary)

    def _facts(self, split: Split) -> RunFacts:
        settings = self._settings
        held_out = split.held_out
        if settings.folds:
            held_out = (
                f"all {len(split.labeled)} labeled images, each judged by the models of "
                f"{settings.folds} runs that never saw it; the model handed out saw all of them"
            )
        return RunFacts(
            dataset=self._catalog.name,
            method=settings.method,
            schedule=settings.schedule,
            baseline=settings.baseline,
            seed=settings.seed,
            num_labeled=len(split.labeled),
            num_unlabeled=len(split.unlabeled),
            held_out=held_out,
            command=shlex.join(
                [
                    "dmt",
                    "train",
                    str(settings.dataset),
                    f"recipe={self._folder.path / CONFIG}",
                    f"out={self._folder.path}-again",
                ]
            ),
            notes=split.notes,
        )

    def _split(self, skip: Sequence[str]) -> Split:
        settings = self._settings
        labels = settings.labels
        if labels is not None and labels > 1:
            if labels != int(labels):
                raise SettingError(f"labels={labels} must be a share up to 1 or a whole number")
            labels = int(labels)
        return make_split(
            self._catalog,
            seed=settings.seed,
            labels_per_class=settings.labels_per_class,
            labels=labels,
            val_per_class=settings.data.val_per_class,
            hold_out=settings.data.hold_out,
            skip=skip,
        )

    def _check_split(self, split: Split) -> None:
        if len(set(split.labels.tolist())) < len(self._catalog.classes):
            missing = set(range(len(self._catalog.classes))) - set(split.labels.tolist())
            name = self._catalog.classes[min(missing)]
            raise DataError(
                f"class {name!r} has no labeled image left to train on; label one of it, or "
                "remove the class"
            )
        if not len(split.unlabeled):
            self._listener.on_note(
                "there are no unlabeled images: this equals supervised training on the labels"
            )
        if self._settings.folds:
            self._listener.on_note(
                f"folds={self._settings.folds}: the verdict costs {self._settings.folds} more "
                "runs; the model handed out is trained on all labels"
            )

    def _open_pool(self) -> tuple[Any, list[str]]:
        settings = self._settings
        assert settings.data.image_size is not None
        return open_pool(
            self._catalog,
            size=settings.data.image_size,
            device=self._runtime.device,
            workers=_workers(settings.workers),
            memory_limit=int(settings.data.memory_limit * _GIGABYTE),
            bad_images=settings.bad_images,
        )


def _settings(
    catalog: Catalog, data: str | Path, overrides: Sequence[str] | Mapping[str, Any]
) -> Settings:
    recipe = _DEFAULT_RECIPES.get(catalog.layout, "photos")
    settings = resolve(overrides, dataset=str(data), default_recipe=recipe)
    if settings.init_from is not None:
        raise SettingError("init_from is not available yet; leave it out")
    for weights in (settings.weights, settings.peers.a.weights, settings.peers.b.weights):
        if weights not in {None, "none", "auto", "pretrained"}:
            raise SettingError(f"weights={weights} does not work; use none, auto or pretrained")
    return settings


def _augmentation(settings: Settings) -> Augmentation:
    data = settings.data
    return Augmentation(
        flip=data.flip,
        shift=data.shift,
        scale=data.scale,
        rotate=data.rotate,
        fill=data.fill,
        randaugment=data.randaugment,
        magnitude=data.magnitude,
        cutout=data.cutout,
    )


def _sizes(split: Split) -> Sizes:
    return Sizes(len(split.labeled), len(split.unlabeled), len(split.hidden))


def _sizes_of(run: Path) -> Sizes:
    try:
        return Sizes(**read_json(run / DATA)["sizes"])
    except (KeyError, TypeError) as error:
        raise RunError(f"{run / DATA} was not written by this version of dmt") from error


def _settings_of(run: Path) -> Settings:
    if not (run / CONFIG).is_file():
        raise RunError(f"{run} is no run: it has no {CONFIG}; give the folder that `dmt train` made")
    return resolve(
        {"recipe": str(run / CONFIG)}, dataset=None, default_recipe=None
    )


def _absolute(dataset: str | None) -> str | None:
    return os.path.abspath(dataset) if dataset and os.path.exists(dataset) else dataset


def _workers(asked: int | None) -> int:
    return max(1, os.cpu_count() or 1) if asked is None else asked


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
    return {key: value for key, value in pairs if key in {"model", "peers.a.model", "peers.b.model", "peers"}}


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
