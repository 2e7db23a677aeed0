"""The library: train and resume. It reads settings; using a finished run is in `inference`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmt.config import (
    Peers,
    Settings,
    differently_asked,
    flat_words,
    may_follow_links,
    resolve,
)
from dmt.data.catalog import Catalog
from dmt.data.layouts import open_catalog
from dmt.engine.folder import RunFolder
from dmt.engine.listener import Listener, Quiet
from dmt.engine.model import Model
from dmt.engine.plan import PRESETS, peer_names
from dmt.engine.runtime import open_runtime
from dmt.engine.segmenter import Segmenter
from dmt.errors import RunError, SettingError
from dmt.inference.using import evaluate, load, settings_of
from dmt.insight.report import write_report
from dmt.models.factories import is_factory
from dmt.models.segmenters import is_segmenter
from dmt.records import DATA, REPORT, Summary, is_finished, read_summary
from dmt.records.data import read_data
from dmt.runs.continuing import taken_over
from dmt.runs.materials import with_pool
from dmt.runs.portable import portable
from dmt.runs.session import Session
from dmt.runs.setting_checks import check_combinations, check_method, check_task
from dmt.track.tracking import tracked

__all__ = ["Model", "Run", "Segmenter", "evaluate", "load", "resume", "settings_for", "train"]

_DEFAULT_RECIPES = {"digits": "digits", "cifar10-batches": "cifar10-4000", "shapes": "shapes"}
_DEFAULT_BY_TASK = {"classification": "photos", "segmentation": "scenes"}


@dataclass(frozen=True)
class Run:
    """A finished run: where it lies and what came out."""

    path: Path
    summary: Summary

    def load(self, *, device: str = "auto", trust_code: bool = False) -> Model | Segmenter:
        """The model to predict with; see `load`."""
        return load(self.path, device=device, trust_code=trust_code)


def settings_for(data: str | Path, overrides: Sequence[str] | Mapping[str, Any]) -> Settings:
    """The resolved settings of a run on `data`, before anything is measured.

    Raises:
        DataError: there is no such data.
        SettingError: an unknown key or a value it does not take.
    """
    catalog = open_catalog(data, follow_links=may_follow_links(overrides))
    return _settings(catalog, data, overrides)


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
    catalog = open_catalog(data, follow_links=may_follow_links(overrides))
    settings = checked_settings(catalog, data, overrides)
    return begin(with_pool(catalog, settings, say=listener.on_note), settings, listener)


def checked_settings(
    catalog: Catalog, data: str | Path, overrides: Sequence[str] | Mapping[str, Any]
) -> Settings:
    """The settings of a run on a catalog, whose code may be run.

    Raises:
        SettingError: an unknown key, a value it does not take, or code that was not allowed.
    """
    settings = _settings(catalog, data, overrides)
    named = resolve(_only_models(overrides), dataset=None, default_recipe=None)
    _check_trust(settings, {named.model, named.peers.a.model, named.peers.b.model})
    return settings


def begin(
    catalog: Catalog, settings: Settings, listener: Listener, *, shared: Path | None = None
) -> Run:
    """Start a run in a folder that holds none; with `go_on`, or go on with the one there.

    Args:
        catalog: its data.
        settings: as `checked_settings` gave them.
        listener: told of progress.
        shared: where stages are kept that several runs have in common.

    Raises:
        DmtError: whatever the user can mend.
    """
    _refuse_to_lose(settings)
    runtime = open_runtime(settings.device, settings.precision, settings.rank_timeout)
    # One rank looks, before any of them makes the folder.
    path = Path(runtime.first_text(settings.out or str(_free_name(catalog.name, settings))))
    if settings.go_on and runtime.first_text(str((path / DATA).exists())) == "True":
        return _begun_before(path, settings, listener, shared)
    folder = RunFolder(path, is_writer=runtime.is_writer)
    is_writer = runtime.is_writer
    with (
        folder.locked(is_new=True),
        tracked(listener, settings, path, is_writer=is_writer, is_new=True) as heard,
    ):
        session = Session(catalog, settings, folder, runtime, heard, shared)
        return Run(path, heard.finish(session.begin()))


def _refuse_to_lose(settings: Settings) -> None:
    """Refuse a launcher that may start the command again, and would find a run in the way."""
    if settings.go_on and not settings.out:
        raise SettingError("go_on=true needs out=, the folder of the run to go on with")
    if os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0" and not settings.go_on:
        raise SettingError(
            "a launcher with --max-restarts starts the same command again; give out= and "
            "go_on=true, so that it goes on with the run"
        )


def _begun_before(path: Path, settings: Settings, listener: Listener, shared: Path | None) -> Run:
    """Go on with the run in `path`, which the same command must have begun."""
    difference = differently_asked(read_data(path).get("settings", {}), portable(settings))
    if difference is not None:
        raise RunError(
            f"{path} holds a run of another command: {difference}; give another folder with "
            f"out=, or go on with `dmt resume {path}`"
        )
    return resume(
        path,
        listener=listener,
        trust_code=settings.trust_code,
        follow_links=settings.data.follow_links,
        shared=shared,
    )


def resume(
    run: str | Path,
    *,
    data: str | Path | None = None,
    listener: Listener | None = None,
    trust_code: bool = False,
    follow_links: bool = False,
    shared: Path | None = None,
) -> Run:
    """Go on with a run that was interrupted; a finished one is returned as it is.

    Args:
        run: its folder.
        data: where its data lie now; None: where they lay.
        listener: told of progress.
        trust_code: whether a factory that the folder names may be run.
        follow_links: whether links in the data may lead out of it.
        shared: see `begin`.

    Raises:
        RunError: no run, only the beginning of one, in use, or its data or settings changed.
    """
    path = Path(run)
    if RunFolder(path).is_beginning:
        _refuse_beginning(path)
    settings = settings_of(path)
    if is_finished(path):
        if not (path / REPORT).exists() and os.environ.get("RANK", "0") == "0":
            with RunFolder(path).locked(is_new=False):  # it also removes the half of one
                write_report(path)
        return Run(path, read_summary(path))
    if trust_code:
        settings = settings.model_copy(update={"trust_code": True})
    if follow_links:
        followed = settings.data.model_copy(update={"follow_links": True})
        settings = settings.model_copy(update={"data": followed})
    _check_trust(settings, set())
    runtime = open_runtime(settings.device, settings.precision, settings.rank_timeout)
    folder = RunFolder(path, is_writer=runtime.is_writer)
    with folder.locked(is_new=False):
        if is_finished(path):  # by the process that had it until now
            return Run(path, read_summary(path))
        folder.load_progress()
        if data is not None:
            settings = settings.model_copy(update={"dataset": str(data)})
        assert settings.dataset is not None
        quiet = listener or Quiet()
        catalog = open_catalog(settings.dataset, follow_links=follow_links)
        catalog = with_pool(catalog, settings, say=quiet.on_note)
        with tracked(quiet, settings, path, is_writer=runtime.is_writer, is_new=False) as heard:
            session = Session(catalog, settings, folder, runtime, heard, shared)
            return Run(path, heard.finish(session.go_on()))


def _refuse_beginning(path: Path) -> None:
    with RunFolder(path).locked(is_new=False):  # where it is in use, that is what is wrong
        raise RunError(
            f"{path} holds only the beginning of a run, which ended before its data were written "
            f"down; nothing is lost: start it again with `dmt train` and out={path}"
        )


def resolved(
    catalog: Catalog, data: str | Path, overrides: Sequence[str] | Mapping[str, Any]
) -> Settings:
    """What recipe and words say, before anybody asks whether they go together.

    Raises:
        SettingError: an unknown key or a value it does not take.
    """
    recipe = _DEFAULT_RECIPES.get(catalog.layout, _DEFAULT_BY_TASK[catalog.task])
    if isinstance(data, str) and re.fullmatch(r"cifar10(:.*)?", data, re.DOTALL):
        recipe = "cifar10-4000"  # whichever files the built-in was found in
    return resolve(overrides, dataset=str(data), default_recipe=recipe)


def _settings(
    catalog: Catalog, data: str | Path, overrides: Sequence[str] | Mapping[str, Any]
) -> Settings:
    settings = resolved(catalog, data, overrides)
    if len(peer_names(settings)) == 1 and not _names_peer_b(overrides):
        # A recipe of two peers may be asked for a method of one: the second means nothing then.
        only = settings.peers.model_copy(update={"b": Peers().b, "labeled_subset": "all"})
        settings = settings.model_copy(update={"peers": only})
    if settings.init_from is not None:
        settings = taken_over(settings, flat_words(overrides))
    typed = flat_words(overrides)
    if PRESETS[settings.method].online is not None:
        # Nor do a recipe's rounds to a method that labels at every step; what the person says is
        # refused below.
        if "schedule" not in typed:
            settings = settings.model_copy(update={"schedule": "pair"})
        has_first_round = PRESETS[settings.method].has_first_round
        if "peers.labeled_subset" not in typed and not has_first_round:
            all_labels = settings.peers.model_copy(update={"labeled_subset": "all"})
            settings = settings.model_copy(update={"peers": all_labels})
    check_task(catalog, typed)
    check_method(catalog, settings, typed)
    check_combinations(settings, typed)
    for key, weights in (
        ("weights", settings.weights),
        ("peers.a.weights", settings.peers.a.weights),
        ("peers.b.weights", settings.peers.b.weights),
    ):
        words = {"none", "pretrained", *(["auto"] if key == "weights" else [None])}
        if weights not in words and not os.path.isfile(str(weights)):
            raise SettingError(
                f"{key}={weights} is no file; give none, pretrained"
                f"{', auto' if key == 'weights' else ''} or the path of a file with weights"
            )
    return settings


def _names_peer_b(overrides: Sequence[str] | Mapping[str, Any]) -> bool:
    """Whether the person's own words say something of a second peer."""
    return any(key.startswith(("peers.b.", "peers.labeled")) for key in flat_words(overrides))


def folder_for(dataset: str, end: str) -> Path:
    """runs/<dataset>-<end>, with no character that a folder had better not have."""
    stem = re.sub(r"[^\w.-]+", "_", dataset) or "data"
    return Path("runs") / f"{stem}-{end}"


def _free_name(dataset: str, settings: Settings) -> Path:
    """runs/<dataset>-<method>-s<seed>, with a number behind it if that is taken."""
    base = folder_for(dataset, f"{settings.method}-s{settings.seed}")
    path, number = base, 2
    while path.exists():
        path, number = base.with_name(f"{base.name}-{number}"), number + 1
    return path


def _only_models(overrides: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    """What names a model in the words of the person at the keyboard, recipes left out."""
    return {
        key: value
        for key, value in flat_words(overrides).items()
        if key in {"model", "peers.a.model", "peers.b.model"}
    }


def _check_trust(settings: Settings, named: set[str | None]) -> None:
    """Code that only a file names is not run unasked.

    Raises:
        SettingError: a factory that was not named by the person.
    """
    for spec in {settings.model, settings.peers.a.model, settings.peers.b.model} - named:
        if not spec or settings.trust_code:
            continue
        if is_factory(spec) and not is_segmenter(spec):
            raise SettingError(
                f"model={spec} is code that only a file names; read it, then allow it with "
                "trust_code=true"
            )
