"""`init_from=RUN`: round 0 begins from another run's peers. Going on with a run is `api`'s.

The peers' weights are copied into the new run's folder, so that it needs the old one no more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dmt.config import Settings
from dmt.data.catalog import Catalog
from dmt.data.fingerprint import content_hashes
from dmt.data.splits import Kept
from dmt.records.data import read_data
from dmt.engine.folder import RunFolder
from dmt.engine.plan import START, peer_names
from dmt.errors import DmtError, SettingError
from dmt.records.links import refuse_links
from dmt.models.weights import read_metadata
from dmt.inference.peers import last_peers
from dmt.records import is_finished, read_json, read_summary, write_bytes, write_json
from dmt.inference.using import settings_of

_KNOWN = "labeled.json"
# What a network is made by and what it was shown: weights fit no other.
_OF_NETWORKS = ("model", "aspp_dilations", "peers", "data.image_size", "data.crop",
                "data.max_side", "data.window", "data.overlap")  # fmt: skip


class Start(NamedTuple):
    """What another run hands on."""

    weights: dict[str, Path]  # by peer
    known: frozenset[tuple[int, str]]  # the contents it was trained on with labels


def taken_over(settings: Settings, typed: Collection[str]) -> Settings:
    """Settings with the networks of `init_from`'s run, where the person named no others.

    Args:
        settings: with `init_from`.
        typed: keys that the person named.

    Raises:
        SettingError: it is no finished run.
    """
    assert settings.init_from is not None
    other = _settings_of(Path(settings.init_from))
    changes: dict[str, Any] = {}
    data: dict[str, Any] = {}
    for key in _OF_NETWORKS:
        if any(each == key or each.startswith(f"{key}.") for each in typed):
            continue
        if key.startswith("data."):
            data[key[5:]] = getattr(other.data, key[5:])
        else:
            changes[key] = getattr(other, key)
    if "peers" in changes and len(peer_names(settings)) == 1:  # a second peer would mean nothing
        b = type(settings.peers)().b
        changes["peers"] = other.peers.model_copy(update={"b": b, "labeled_subset": "all"})
    return settings.model_copy(update={**changes, "data": settings.data.model_copy(update=data)})


def start_of(settings: Settings, catalog: Catalog) -> Start:
    """The peers of `init_from`'s run, checked against the data.

    Raises:
        SettingError: no finished run, of another task or other classes, or with fewer peers.
    """
    assert settings.init_from is not None
    path = Path(settings.init_from)
    other = _settings_of(path)
    try:
        summary, data = read_summary(path), read_data(path)
        found = last_peers(path, other)
    except DmtError as error:
        raise SettingError(f"init_from={path} does not work: {error}") from error
    if summary.task != catalog.task:
        raise SettingError(f"init_from={path} is a {summary.task}, {catalog.name} another task")
    if summary.classes != list(catalog.classes):
        raise SettingError(
            f"init_from={path} knows the classes {_named(summary.classes)}, but {catalog.name} has "
            f"{_named(catalog.classes)}; they must be the same, in the same order"
        )
    names = peer_names(settings)
    if len(names) == 2 and not found.is_pair:
        raise SettingError(
            f"init_from={path} has one model, and method={settings.method} needs two; take the "
            "run's own method and schedule"
        )
    weights = dict(zip(names, found.weights, strict=False))
    contents = frozenset((entry[1], entry[2]) for entry in data["files"] if entry[3] == "labeled")
    return Start(weights, contents)


def keep_start(folder: RunFolder, start: Start) -> None:
    """Copy what is handed on into the new run's folder."""
    if not folder.is_writer:
        return
    for peer, source in start.weights.items():
        target = folder.weights(f"{START}/{peer}")
        folder.make(target.parent)
        write_bytes(target, source.read_bytes())
    write_json(folder.path / START / _KNOWN, sorted(start.known))


def kept_start(folder: RunFolder, settings: Settings, catalog: Catalog) -> Start:
    """What `keep_start` copied; where that did not come to its end, the other run's own."""
    path = folder.path / START / _KNOWN
    if not path.exists():  # the last that is written
        start = start_of(settings, catalog)
        keep_start(folder, start)
        return start
    known = frozenset((int(size), str(digest)) for size, digest in read_json(path))
    return Start({}, known)


def without_known(split: Any, catalog: Catalog, known: Collection[tuple[int, str]]) -> Any:
    """A split that judges by no image that the old run was trained on with its label.

    Args:
        split: of images or scenes.
        catalog: the data.
        known: contents, as `fingerprint` writes them.
    """
    contents = content_hashes(catalog)

    def fresh(part: Kept) -> np.ndarray[Any, Any]:
        return np.array([id for id in part.ids if contents[id] not in known], dtype=np.int64)

    test, val = split.test.restrict(fresh(split.test)), split.val.restrict(fresh(split.val))
    num = len(split.test) - len(test)
    note = "the baseline did not begin from init_from's run, so peer a saw more images than it did"
    notes = (*split.notes, note)
    if num:
        left_out = f"{num} that init_from's run was trained on are left out"
        return replace(split, test=test, val=val, notes=notes,
                       held_out=f"{len(test)} of {split.held_out}; {left_out}")  # fmt: skip
    return replace(split, test=test, val=val, notes=notes)


def refuse_misfits(start: Mapping[str, Path], specs: Mapping[str, str], num_classes: int) -> None:
    """Look at whether the files hold the networks that round 0 is to train.

    Args:
        start: the files by peer.
        specs: the model of every peer, as the plan has it.
        num_classes: K.

    Raises:
        SettingError: another model.
    """
    for peer, path in start.items():
        told = read_metadata(path)
        if told.get("model") != specs[peer] or told.get("num_classes") != str(num_classes):
            raise SettingError(
                f"init_from: peer {peer} of that run is {told.get('model')} for "
                f"{told.get('num_classes')} classes, and this run's is {specs[peer]} for "
                f"{num_classes}; leave model= out to take that run's"
            )


def _settings_of(path: Path) -> Settings:
    try:
        refuse_links(path)
        settings = settings_of(path)
        finished = is_finished(path)
    except DmtError as error:
        raise SettingError(f"init_from={path} does not work: {error}") from error
    if not finished:
        raise SettingError(
            f"init_from={path} has not finished; let it (`dmt resume {path}`), or take another"
        )
    return settings


def _named(classes: Sequence[str]) -> str:
    return ", ".join(classes[:5]) + (f" and {len(classes) - 5} more" if len(classes) > 5 else "")
