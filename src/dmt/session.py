"""One process's work on one run: from settings and a catalog to a summary. `api` opens it."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence
from functools import partial

from dmt.config import Settings, dump
from dmt.data.catalog import Catalog
from dmt.data.decode import shown
from dmt.data.fingerprint import changed, fingerprint
from dmt.data.pool import Pool, open_pool
from dmt.data.splits import Split, fold_splits, make_split
from dmt.data.transforms import Augmentation
from dmt.engine.folder import RunFolder
from dmt.engine.interrupt import listening
from dmt.engine.outcome import RunFacts, final_models, summarize
from dmt.engine.plan import Sizes, plan
from dmt.engine.runner import Listener, Runner
from dmt.engine.runtime import Runtime
from dmt.engine.stage import TrainStage
from dmt.errors import DataError, RunError, SettingError
from dmt.insight.report import write_report
from dmt.methods import make_method
from dmt.models.build import build
from dmt.records import CONFIG, DATA, METRICS, SUMMARY, Summary, read_json, read_metrics, write_json
from dmt.sizing import choose, fill_steps
from dmt.tasks.classification import Classification

_GIGABYTE = 1 << 30


class Session:
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

    def begin(self) -> Summary:
        """Choose what is left open, write down what will be done, and do it."""
        split, say = self._split(skip=()), self._listener.on_note
        self._check(split)
        for note in self._runtime.notes:
            say(note)
        self._settings = choose(self._settings, self._catalog, sizes_of(split), self._runtime, say)
        pool, bad = self._open_pool()
        if bad:
            say(_left_out(bad))
            split = self._split(skip=bad)
            self._check(split)
        self._tell(split)
        self._settings = fill_steps(
            self._settings,
            pool,
            len(self._catalog.classes),
            sizes_of(split),
            self._runtime,
            time.perf_counter() - self._began,
            say,
        )
        stored = self._settings.model_copy(
            update={
                "out": None,
                "trust_code": False,
                "dataset": _absolute(self._settings.dataset),
                "precision": self._runtime.precision,
            }
        )
        self._try_networks(sizes_of(split))
        data = fingerprint(self._catalog, split)
        self._folder.begin(dump(stored), {**data, "sizes": sizes_of(split).__dict__, "bad": bad})
        return self._work(pool, split)

    def go_on(self) -> Summary:
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

    def _work(self, pool: Pool, split: Split) -> Summary:
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
        stages = plan(settings, sizes_of(split))
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
        return summary

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
            hold_out=0.0 if settings.folds else settings.data.hold_out,
            skip=skip,
        )

    def _check(self, split: Split) -> None:
        """Find what the run would fail on later, before anything is measured or written."""
        _augmentation(self._settings)
        if len(set(split.labels.tolist())) < len(self._catalog.classes):
            missing = set(range(len(self._catalog.classes))) - set(split.labels.tolist())
            name = self._catalog.classes[min(missing)]
            raise DataError(
                f"class {name!r} has no labeled image left to train on; label one of it, or "
                "remove the class"
            )
        if self._settings.folds:
            fold_splits(split, folds=self._settings.folds, seed=self._settings.seed)

    def _try_networks(self, sizes: Sizes) -> None:
        """Build each kind of network once, so that a wrong name leaves no run behind."""
        stages = plan(self._settings, sizes)
        num_ranks = self._runtime.world_size
        for each in stages:
            if isinstance(each, TrainStage) and each.fit.num_blocks % num_ranks:
                raise SettingError(
                    f"batch_size={each.fit.batch_size} with {each.fit.num_labeled} labeled images "
                    f"cannot be spread over {num_ranks} ranks; make both numbers multiples of it "
                    "(student.labeled_share)"
                )
        assert self._settings.data.image_size is not None
        for model, weights in dict.fromkeys(
            (each.model, each.weights) for each in stages if isinstance(each, TrainStage)
        ):
            build(
                model,
                len(self._catalog.classes),
                seed=0,
                image_size=self._settings.data.image_size,
                pretrained=weights == "pretrained",
            )

    def _tell(self, split: Split) -> None:
        for note in split.notes:
            self._listener.on_note(note)
        if not len(split.unlabeled):
            self._listener.on_note(
                "there are no unlabeled images: this equals supervised training on the labels"
            )
        if self._settings.folds:
            self._listener.on_note(
                f"folds={self._settings.folds}: the verdict costs {self._settings.folds} more "
                "runs; the model handed out is trained on all labels"
                + ("; test/ is not looked at" if len(split.test) else "")
            )

    def _open_pool(self) -> tuple[Pool, list[str]]:
        settings = self._settings
        assert settings.data.image_size is not None
        return open_pool(
            self._catalog,
            size=settings.data.image_size,
            device=self._runtime.device,
            workers=num_workers(settings.workers),
            memory_limit=int(settings.data.memory_limit * _GIGABYTE),
            bad_images=settings.bad_images,
        )


def _left_out(bad: Sequence[str]) -> str:
    """Names a few; `data.json` lists all."""
    named = ", ".join(shown(path) for path in bad[:3])
    more = f" and {len(bad) - 3} more, all in {DATA}" if len(bad) > 3 else ""
    return f"left out {len(bad)} unreadable image{'s' * (len(bad) > 1)}: {named}{more}"


def _augmentation(settings: Settings) -> Augmentation:
    data = settings.data
    try:
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
    except SettingError as error:
        raise SettingError(f"data.{error}") from error


def sizes_of(split: Split) -> Sizes:
    """How many images of each sort a split has."""
    return Sizes(len(split.labeled), len(split.unlabeled), len(split.hidden))


def _absolute(dataset: str | None) -> str | None:
    """DATA so that it is found from any folder; the name of a built-in stays a name."""
    if dataset is None or dataset in {"digits", "cifar10"}:
        return dataset
    if dataset.startswith("cifar10:"):
        return f"cifar10:{os.path.abspath(dataset.removeprefix('cifar10:'))}"
    return os.path.abspath(dataset)


def num_workers(asked: int | None) -> int:
    """Threads that decode: as asked, or as many as cores."""
    return max(1, os.cpu_count() or 1) if asked is None else asked
