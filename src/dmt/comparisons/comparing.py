"""`dmt compare`: several methods over seeds, a run each, then one table. Statistics are elsewhere.

All runs lie below one folder and are done one after the other; what is finished is never done
again, stages that runs have in common are trained once (`engine.shared_stages`).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmt.api import begin, checked_settings, folder_for, resolved, resume
from dmt.comparisons.figures import entries_of, notes_on
from dmt.comparisons.record import read_record, record_of, refuse_changed
from dmt.comparisons.words import Job, Question, read_question
from dmt.config import (
    Settings,
    changed_settings,
    chosen_values,
    may_follow_links,
    with_values,
)
from dmt.data.catalog import Catalog
from dmt.data.fingerprint import content_hash
from dmt.data.layouts import open_catalog
from dmt.engine.folder import RunFolder
from dmt.engine.listener import Listener, Quiet
from dmt.engine.meeting import num_started
from dmt.engine.stage import Stage
from dmt.errors import Interrupted, RunError, SettingError, TrainingError
from dmt.inference.using import settings_of
from dmt.insight.comparison_page import render_comparison
from dmt.insight.comparison_text import markdown
from dmt.metrics.over_seeds import compare_methods
from dmt.records import (
    CONFIG,
    is_finished,
    read_summary,
    write_json,
    write_text,
)
from dmt.records.comparison import COMPARE, MARKDOWN, PAGE, Asked, Comparison, ComparisonRecord
from dmt.records.writing import sweep
from dmt.runs.materials import with_pool
from dmt.runs.portable import portable
from dmt.runs.session import open_material

_SHARED = "shared"


@dataclass(frozen=True)
class Compared:
    """A finished comparison: where it lies and what came out."""

    path: Path
    record: ComparisonRecord

    @property
    def result(self) -> Comparison:
        """The table."""
        assert self.record.result is not None
        return self.record.result


def compare(
    data: str | Path,
    *,
    methods: Sequence[str],
    seeds: Sequence[int] = (0, 1, 2),
    labels: Sequence[float] | float | None = None,
    out: str | Path | None = None,
    listener: Listener | None = None,
    **settings: Any,
) -> Compared:
    """Compare methods over seeds; the same call goes on where another was interrupted.

    Args:
        data: a folder, a CSV or a built-in.
        methods: names of methods; `supervised` is the baseline of the other runs, which sees as
            many images, and `oracle` the same on all labels.
        seeds: of the runs; each draws labeled subset, initial weights and order anew.
        labels: several numbers (or shares) of labels to compare at, or one.
        out: the folder; None: runs/<name>-compare.
        listener: told of progress.
        settings: of every run, as `dmt.train` takes them.

    Raises:
        DmtError: whatever the user can mend, in one sentence.
    """
    own = {"methods": list(methods), "seeds": list(seeds), "labels": labels, "out": out}
    if isinstance(labels, Sequence):
        own["labels"] = list(labels)
    given = {key: value for key, value in own.items() if value is not None}
    return compare_with(data, settings | given, listener or Quiet())


def compare_with(
    data: str | Path, overrides: Sequence[str] | Mapping[str, Any], listener: Listener
) -> Compared:
    """`compare` with all it takes as words (`key=value`) or as a mapping with dotted keys."""
    question = read_question(overrides)
    if num_started() > 1:
        raise SettingError("dmt compare works in one process; start it without a launcher")
    follow_links = may_follow_links(question.settings)
    catalog = open_catalog(data, follow_links=follow_links)
    schedule = resolved(catalog, data, question.settings).schedule

    def settings_for(job: Job) -> Settings:
        return checked_settings(catalog, data, question.words(job, schedule))

    wanted = {job: settings_for(job) for job in question.jobs}
    path = Path(question.out) if question.out else folder_for(catalog.name, "compare")
    first = wanted[question.jobs[0]]
    catalog = with_pool(catalog, first, follow_links=follow_links, say=listener.on_note)
    asked = Asked(
        methods=list(question.methods),
        seeds=list(question.seeds),
        labels=list(question.labels) if question.labels else None,
        settings=portable(wanted[question.jobs[0]]).model_dump(mode="json"),
        data=content_hash(catalog),
    )
    if _begun(path) is None:
        _try_splits(catalog, wanted, listener)
    with RunFolder(path).locked(is_new=not (path / COMPARE).exists(), has_runs=True):
        before = _begun(path)
        if before is None:
            write_json(path / COMPARE, record_of(question.command(data), asked))
        else:
            refuse_changed(path, before.asked, asked, settings_for)
        runs = _Runs(path, catalog, wanted, listener)
        if before is not None and before.asked != asked and runs.missing:
            _try_splits(catalog, runs.missing, listener)
        try:
            reasons = runs.do()
        except BaseException:
            if before is None and not _has_runs(path):
                (path / COMPARE).unlink()  # nothing holds anybody to what never began
            raise
        return _write(path, question, asked, data, runs.places, reasons)


class _Runs:
    """The runs of a comparison: all at once are settings only, done they are one by one."""

    def __init__(
        self, path: Path, catalog: Catalog, wanted: Mapping[Job, Settings], listener: Listener
    ) -> None:
        self._path = path
        self._catalog = catalog
        self._listener = _NotesOnce(listener)
        self._wanted = wanted
        self.places = {job: _place(path, job) for job in wanted}
        # What zero options leave open, the first run chooses for all: budgets are to be equal.
        there = [job for job in wanted if _has_run(self.places[job])]
        self._chosen = self._choice(there[0]) if there else {}
        for job, settings in wanted.items():
            expected = with_values(portable(settings), self._chosen)
            _refuse_foreign(self.places[job], expected)

    @property
    def missing(self) -> dict[Job, Settings]:
        """Those that have not begun."""
        return {
            job: settings
            for job, settings in self._wanted.items()
            if not _has_run(self.places[job])
        }

    def do(self) -> list[str]:
        """Do what is not finished; why a run could not be, in sentences.

        Raises:
            Interrupted: somebody stopped it; what was done is kept.
        """
        sweep(self._path / _SHARED)
        reasons = []
        for number, job in enumerate(self._wanted, 1):
            if _has_run(self.places[job]) and is_finished(self.places[job]):
                continue
            self._listener.on_note(f"run {number} of {len(self._wanted)}: {job.name}")
            try:
                self._do(job)
            except Interrupted as error:
                name = signal.Signals(error.signal).name
                raise Interrupted(
                    f"stopped by {name}; the same `dmt compare` goes on with {job.name}",
                    error.signal,
                ) from error
            except TrainingError as error:
                reasons.append(f"{job.name} has no figures: {error}.")
            self._chosen = self._chosen or self._choice(job)
        return reasons

    def _do(self, job: Job) -> None:
        run, settings = self.places[job], self._wanted[job]
        shared = self._path / _SHARED
        if _has_run(run):
            resume(
                run,
                data=settings.dataset,
                listener=self._listener,
                trust_code=True,  # its settings are those that were asked for and allowed now
                follow_links=settings.data.follow_links,
                shared=shared,
            )
        else:
            settings = with_values(settings, self._chosen | {"out": str(run)})
            begin(self._catalog, settings, self._listener, shared=shared)

    def _choice(self, job: Job) -> dict[str, Any]:
        return chosen_values(portable(self._wanted[job]), settings_of(self.places[job]))


class _NotesOnce:
    """Passes everything on, but the same note only once: runs of a kind say much that is alike."""

    def __init__(self, listener: Listener) -> None:
        self._said: set[str] = set()
        self._listener = listener

    def on_note(self, text: str) -> None:
        """See `Listener`."""
        if text not in self._said:
            self._said.add(text)
            self._listener.on_note(text)

    def on_event(self, event: Mapping[str, Any]) -> None:
        """See `Listener`."""
        self._listener.on_event(event)

    def on_plan(self, stages: Sequence[Stage]) -> None:
        """See `Listener`."""
        self._listener.on_plan(stages)

    def on_step(self, stage: Stage, step: int, num_steps: int, done: float) -> None:
        """See `Listener`."""
        self._listener.on_step(stage, step, num_steps, done)


def _try_splits(catalog: Catalog, wanted: Mapping[Job, Settings], listener: Listener) -> None:
    """Find what a later run would fail on before the first one begins.

    Raises:
        DataError, SettingError: what it is, and its cure.
    """
    material = open_material(catalog, listener.on_note)
    kinds = {(job.seed, job.labels): settings for job, settings in wanted.items()}
    for settings in kinds.values():
        material.check(settings, material.split(settings, skip=()))


def _place(path: Path, job: Job) -> Path:
    """Where a run is, or is to be."""
    # What began at one number of labels, which no folder names, may be asked at more now.
    plain = path / job._replace(labels=None).name
    is_there = job.labels is not None and _has_run(plain)
    return plain if is_there and settings_of(plain).labels == job.labels else path / job.name


def _refuse_foreign(run: Path, expected: Settings) -> None:
    """Raise RunError if a run's folder holds anything but this run, or nothing yet."""
    cure = "move it away, or give another folder with out="
    if not _has_run(run):
        is_free = not run.exists() or (run.is_dir() and not set(os.listdir(run)) - {".lock"})
        if not is_free and not RunFolder(run).is_beginning:
            raise RunError(f"{run} is no run of this comparison; {cure}")
        return
    edited = changed_settings(settings_of(run).model_dump(mode="json"), expected)
    if edited is not None:
        raise RunError(f"{run} is no run of this comparison: {edited}; {cure}")


def _has_run(run: Path) -> bool:
    """Whether there is a run to go on with; not only the beginning of one."""
    return (run / CONFIG).is_file() and not RunFolder(run).is_beginning


def _begun(path: Path) -> ComparisonRecord | None:
    """A comparison's record; None: there is none, or its process was killed before a run began, and
    nothing holds anybody to it."""
    record = read_record(path)
    is_idle = record is not None and record.result is None and not _has_runs(path)
    return None if is_idle else record


def _has_runs(path: Path) -> bool:
    return any(_has_run(each) for each in path.iterdir() if each.is_dir())


def _write(
    path: Path, question: Question, asked: Asked, data: str | Path, places: Mapping[Job, Path],
    reasons: Sequence[str],
) -> Compared:  # fmt: skip
    """The table of all runs that came to their end, as data, as text and as a page."""
    finished = [(job, run, read_summary(run)) for job, run in places.items() if is_finished(run)]
    if not finished:
        raise TrainingError(f"no run of the comparison in {path} has figures: {reasons[0]}")
    first = finished[0][2]
    result = compare_methods(
        entries_of(question, finished, asked.settings["folds"]),
        question.seeds,
        dataset=first.dataset,
        task=first.task,
        metric=first.metric,
    )
    notes = [*reasons, *notes_on(question, result, first)]
    record = record_of(question.command(data), asked, result, notes, first)
    write_text(path / MARKDOWN, markdown(record))
    write_text(path / PAGE, render_comparison(record, path.resolve().name))
    write_json(path / COMPARE, record)
    return Compared(path, record)
