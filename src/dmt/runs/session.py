"""One process's work on one run: from settings and a catalog to a summary. `api` opens it."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dmt import faults
from dmt.config import Settings, changed_settings, dump
from dmt.runs.continuing import Start, keep_start, kept_start, refuse_misfits, start_of, without_known
from dmt.data.catalog import Catalog
from dmt.data.fingerprint import changed, fingerprint
from dmt.data.splits import Parts
from dmt.data.checks.data_checkup import data_alarms, left_out
from dmt.records.data import read_data
from dmt.engine.examples import Examples
from dmt.engine.folder import RunFolder
from dmt.engine.half_folder import HalfFolder
from dmt.engine.interrupt import StopFlag, listening
from dmt.engine.listener import Listener, Say
from dmt.engine.networks import build_stage
from dmt.engine.outcome import RunFacts, final_models, summarize
from dmt.engine.plan import peer_names, plan
from dmt.engine.runner import Crew, Runner, tell
from dmt.engine.runtime import Runtime
from dmt.engine.shared_stages import Elsewhere
from dmt.engine.stage import Stage, TrainStage
from dmt.engine.task import FinalTable
from dmt.errors import RunError
from dmt.runs.image_material import ImageMaterial
from dmt.insight.report import write_report
from dmt.engine.machine import num_workers
from dmt.runs.materials import Material, sizes_of
from dmt.methods import methods_of
from dmt.runs.portable import portable
from dmt.records import (
    CONFIG,
    DATA_STAGE,
    METRICS,
    SUMMARY,
    Summary,
    read_metrics,
    write_json,
)
from dmt.runs.examples import write_examples
from dmt.runs.scene_material import SceneMaterial
from dmt.runs.sizing import choose, fill_steps
from dmt.runs.stopping import stopping
from dmt.runs.together import (
    in_groups,
    refuse_other_data,
    refuse_other_folder,
    refuse_other_paths,
    refuse_other_settings,
    refuse_unspreadable,
)
from dmt.runs.who_trains import elsewhere, store_of


class Session:
    """One process's work on one run, from settings to summary."""

    def __init__(
        self,
        catalog: Catalog,
        settings: Settings,
        folder: RunFolder,
        runtime: Runtime,
        listener: Listener,
        shared: Path | None = None,
    ) -> None:
        self._began = time.perf_counter()
        self._material = open_material(catalog, listener.on_note)
        self._catalog = catalog
        self._settings = settings
        self._folder = folder
        self._runtime = runtime  # of all ranks
        self._crew = runtime  # of those that train the same network as this one
        self._listener = listener
        self._shared = shared  # where stages that other runs trained are kept
        self._start: Start | None = None

    def begin(self) -> Summary:
        """Choose what is left open, write down what will be done, and do it."""
        self._meet_ranks()
        refuse_other_paths(self._catalog.paths, self._runtime)
        if self._settings.init_from is not None:
            self._start = start_of(self._settings, self._catalog)
        split, say = self._split(skip=()), self._listener.on_note
        self._material.check(self._settings, split)
        self._check_ranks(split)
        for note in self._runtime.notes:
            say(note)
        self._settings = choose(
            self._settings,
            self._material,
            sizes_of(split, self._catalog),
            self._runtime,
            self._crew,
            say,
        )
        bad = self._material.open(self._settings, self._runtime)
        if bad:
            say(left_out(bad))
        split = self._split(skip=bad)  # again, as sizes are known now too
        self._material.check(self._settings, split)
        self._tell(split)
        self._settings = fill_steps(
            self._settings,
            self._material,
            sizes_of(split, self._catalog),
            self._runtime,
            self._crew,
            time.perf_counter() - self._began,
            say,
        )
        self._try_networks(split)
        data, stored = fingerprint(self._catalog, split), self._stored()
        sizes = sizes_of(split, self._catalog).__dict__
        refuse_other_data(data, self._runtime)
        faults.reached("session read")
        self._folder.begin(
            dump(stored),
            {**data, "sizes": sizes, "bad": bad, "settings": stored.model_dump(mode="json")},
        )
        if self._start is not None:
            keep_start(self._folder, self._start)
        refuse_other_folder(self._folder.path, self._runtime)
        self._look_at_data(split, data)
        return self._work(split, data)

    def go_on(self) -> Summary:
        """Check that nothing changed, and do what is left."""
        path = self._folder.path
        self._meet_ranks()
        refuse_other_folder(path, self._runtime)
        before = read_data(path)
        edited = changed_settings(before.get("settings", {}), self._settings)
        if edited is not None:
            raise RunError(
                f"{path} cannot go on: {edited}; put {path / CONFIG} back as it was, or start a "
                "new run"
            )
        split, data = self._open_again(before)
        self._folder.forget_outcome()
        faults.reached("session resumed")
        self._look_at_data(split, data)
        return self._work(split, data)

    def as_half(self) -> Callable[[str], None]:
        """What trains a stage, by its name, of a run that another process owns and records."""
        split, _ = self._open_again(read_data(self._folder.path))
        everyone, _, stages = self._crews_and_plan(split)
        by_name = {each.name: each for each in stages}

        def train(name: str) -> None:
            with listening() as stop:
                self._runner([by_name[name]], self._folder, everyone, everyone, stop).run()

        return train

    def _meet_ranks(self) -> None:
        refuse_other_settings(self._settings, self._runtime)
        is_sharing = self._shared is not None
        self._crew = in_groups(self._settings, self._runtime, is_sharing=is_sharing)

    def _open_again(self, before: dict[str, Any]) -> tuple[Parts, dict[str, Any]]:
        """The split and the fingerprint of a run that began before, its data unchanged."""
        if self._settings.init_from is not None:
            self._start = kept_start(self._folder, self._settings, self._catalog)
        bad = self._material.open(self._settings, self._runtime)
        split = self._split(skip=bad)
        self._check_ranks(split)
        data = fingerprint(self._catalog, split)
        refuse_other_data(data, self._runtime)
        difference = changed(before, data)
        if difference is not None:
            raise RunError(
                f"{self._folder.path} cannot go on: {difference}; put the data back as it was, or "
                "start a new run"
            )
        return split, data

    def _look_at_data(self, split: Parts, data: Mapping[str, Any]) -> None:
        """Put on record, once and before any stage, what looks wrong with the data."""
        folder = self._folder
        if DATA_STAGE in folder.progress.finished:
            return
        folder.load_state(DATA_STAGE)  # cuts off what an earlier session left half done
        if folder.is_writer:
            labels = self._material.given_labels(split)
            workers = num_workers(self._settings.workers)
            for alarm in data_alarms(self._catalog, split, data["files"], labels, workers):
                tell(folder, self._listener, alarm)
        folder.finish(DATA_STAGE)

    def _work(self, split: Parts, data: Mapping[str, Any]) -> Summary:
        runtime = self._runtime
        # Now, as somebody may go on drawing masks while the run trains.
        unlabeled_classes = self._material.unlabeled_classes(split)
        everyone, crew, stages = self._crews_and_plan(split)
        task = everyone.task
        self._listener.on_plan(stages)
        faults.reached("session planned")
        facts = self._facts(split, unlabeled_classes)
        with stopping(self._folder, facts, task, stages, self._catalog.paths, runtime):
            table, examples = self._train_and_judge(stages, everyone, crew, unlabeled_classes, data)
        summary = summarize(
            facts,
            task,
            stages,
            table,
            read_metrics(self._folder.path / METRICS),
            runtime,
            self._folder.seconds,
            examples.num_forward,
        )
        if runtime.is_writer:
            self._folder.sync_record()
            write_examples(self._folder.path, self._catalog, self._settings, table, examples)
            write_json(self._folder.path / SUMMARY, summary)
            write_report(self._folder.path)
        faults.reached("run done")
        runtime.barrier()
        return summary

    def _train_and_judge(
        self,
        stages: Sequence[Stage],
        everyone: Crew,
        crew: Crew,
        unlabeled_classes: Sequence[str],
        data: Mapping[str, Any],
    ) -> tuple[FinalTable | None, Examples]:
        """Do all stages that are left, then look at the held-out images and at some others."""
        settings, folder, runtime = self._settings, self._folder, self._runtime
        store = store_of(self._shared, folder.path, settings, data, runtime)

        def train(stage: TrainStage, half: HalfFolder) -> None:
            self._runner([stage], half, crew, crew, stop).run()

        with (
            listening() as stop,
            elsewhere(
                stages, settings, folder.path, runtime, crew.runtime, stop, train, store
            ) as shared,
        ):
            runner = self._runner(stages, folder, everyone, crew, stop, unlabeled_classes, shared)
            runner.run()
            faults.reached("judge begins")
            folds = range(settings.folds) if settings.folds else (None,)
            table = everyone.task.judge(
                {
                    fold: {
                        name: runner.network(stage)
                        for name, stage in final_models(stages, fold, settings.baseline).items()
                    }
                    for fold in folds
                }
            )
            faults.reached("judge done")
            last = final_models(stages, None, settings.baseline)
            peers = {name: runner.network(last[name]) for name in peer_names(settings)}
            return table, everyone.task.examples(peers)

    def _crews_and_plan(self, split: Parts) -> tuple[Crew, Crew, tuple[Stage, ...]]:
        """Who labels and judges, who trains, and what there is to do."""
        settings = self._settings
        splits: dict[int | None, Parts] = {None: split}
        if settings.folds:
            splits |= dict(enumerate(self._material.folds(settings, split)))

        def crew(runtime: Runtime) -> Crew:
            task = self._material.task(settings, splits, runtime)
            return Crew(task, methods_of(task, runtime), runtime)

        everyone = crew(self._runtime)
        trains = everyone if self._crew is self._runtime else crew(self._crew)
        return everyone, trains, plan(settings, sizes_of(split, self._catalog))

    def _runner(
        self,
        stages: Sequence[Stage],
        folder: RunFolder,
        everyone: Crew,
        crew: Crew,
        stop: StopFlag,
        unlabeled_classes: Sequence[str] = (),
        shared: Elsewhere | None = None,
    ) -> Runner:
        settings = self._settings
        return Runner(
            stages,
            everyone.task,
            everyone.make_method,
            folder,
            everyone.runtime,
            seed=settings.seed,
            image_size=max(self._material.shapes(settings).view),
            checkpoint_every=settings.checkpoint_every,
            allow_code=True,  # checked before this session began
            paths=self._catalog.paths,
            listener=self._listener,
            stop=stop,
            unlabeled_classes=unlabeled_classes,
            shared=shared,
            crew=crew,
            has_sync_norm=settings.sync_batch_norm,
            is_sharded=settings.shard,
        )

    def _stored(self) -> Settings:
        """The settings as they repeat this run from any folder."""
        return portable(self._settings).model_copy(update={"precision": self._runtime.precision})

    def _facts(self, split: Parts, unlabeled_classes: tuple[str, ...]) -> RunFacts:
        settings = self._settings
        held_out = split.held_out
        if settings.folds:
            held_out = (
                f"all {len(split.labeled)} labeled images, each judged by the models of "
                f"{settings.folds} runs that never saw it; the model handed out saw all of them"
            )
        path = self._folder.path
        words = ["dmt", "train", str(settings.dataset), f"recipe={path / CONFIG}"]
        words += [f"out={path}-again", *["data.follow_links=true"] * settings.data.follow_links]
        return RunFacts(
            dataset=self._catalog.name,
            method=settings.method,
            schedule=settings.schedule,
            baseline=settings.baseline,
            seed=settings.seed,
            num_labeled=len(split.labeled),
            num_unlabeled=len(split.unlabeled),
            held_out=held_out,
            command=shlex.join(words),
            notes=split.notes,
            unlabeled_classes=unlabeled_classes,
        )

    def _split(self, skip: Sequence[str]) -> Parts:
        split: Parts = self._material.split(self._settings, skip)
        if self._start is not None:
            split = without_known(split, self._catalog, self._start.known)
        return split

    def _check_ranks(self, split: Parts) -> None:
        # How many steps there are is not known yet, nor does it matter here.
        settings = self._settings.model_copy(update={"steps": self._settings.steps or 1})
        stages = plan(settings, sizes_of(split, self._catalog))
        num_images = len(split.labeled) + len(split.unlabeled)
        refuse_unspreadable(stages, num_images, self._runtime, self._crew)

    def _try_networks(self, split: Parts) -> None:
        """Build each kind of network once, so that a wrong name leaves no run behind."""
        stages = plan(self._settings, sizes_of(split, self._catalog))
        trained = [each for each in stages if isinstance(each, TrainStage)]
        if self._start is not None:
            specs = {each.peer: each.model for each in trained if each.start is not None}
            refuse_misfits(self._start.weights, specs, len(self._catalog.classes))
        kinds = {(each.model, each.weights, each.preprocessing): each for each in trained}
        shapes = self._material.shapes(self._settings)
        for each in kinds.values():
            _, report = build_stage(
                each,
                len(self._catalog.classes),
                seed=0,
                image_size=max(shapes.view),
                is_dense=shapes.is_dense,
                has_weights=True,
                allow_code=True,
            )
            if report is not None:
                self._listener.on_note(report.sentence())

    def _tell(self, split: Parts) -> None:
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


def open_material(catalog: Catalog, say: Say) -> Material[Any]:
    """What a session needs of a data set, by its task."""
    return ImageMaterial(catalog, say) if catalog.masks is None else SceneMaterial(catalog, say)
