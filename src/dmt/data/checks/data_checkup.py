"""What looks wrong with data before anything is learned: for a run, and for `dmt check`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from dmt.data.appearance import appearance_alarms
from dmt.data.catalog import Catalog, Part, Problem
from dmt.data.decode import shown
from dmt.data.duplicates import File, duplicate_alarms
from dmt.data.fingerprint import content_hashes
from dmt.data.splits import Parts
from dmt.records import DATA, Alarm

_NAMES = {Part.VAL: "val", Part.TEST: "test"}


def data_alarms(
    catalog: Catalog,
    split: Parts,
    files: Iterable[File],
    label_of: Callable[[str], object | None],
    workers: int,
) -> list[Alarm]:
    """The alarms of a run about its data: copies, and unlabeled images that look different.

    Args:
        catalog: of either task.
        split: of the run.
        files: as the fingerprint lists them.
        label_of: as `Material.given_labels`.
        workers: threads that decode.
    """
    return [
        *duplicate_alarms(files, label_of),
        *appearance_alarms(catalog, split.labeled, split.unlabeled, workers),
    ]


def data_problems(
    catalog: Catalog, label_of: Callable[[int], object], bad: Collection[str]
) -> Iterator[Problem]:
    """The same as problems, for the parts of the layout; what a run hides or holds out is its own.

    Args:
        catalog: of either task.
        label_of: from a labeled row to something equal for equal labels.
        bad: paths of unreadable images, which are passed over.

    Raises:
        DataError: a file has vanished.
    """
    is_good = np.array([path not in bad for path in catalog.paths], dtype=np.bool_)
    is_train = is_good & (catalog.parts == Part.TRAIN)
    rows = {path: row for row, path in enumerate(catalog.paths)}
    hashes = content_hashes(catalog)

    def part_of(row: int) -> str:
        if not is_good[row]:
            return "unused"
        part = "labeled" if catalog.labels[row] >= 0 else "unlabeled"
        return _NAMES.get(Part(int(catalog.parts[row])), part)

    alarms = duplicate_alarms(
        ((path, *hashes[row], part_of(row)) for path, row in rows.items()),
        lambda path: label_of(rows[path]) if catalog.labels[rows[path]] >= 0 else None,
    )
    alarms += appearance_alarms(
        catalog,
        np.flatnonzero(is_train & (catalog.labels >= 0)),
        np.flatnonzero(is_train & (catalog.labels < 0)),
    )
    for alarm in alarms:
        path = alarm.about[0] if alarm.kind.startswith("duplicate") else ""
        yield Problem(alarm.kind, path, f"{alarm.message} {alarm.remedy}")


def found(
    catalog: Catalog, classes: list[dict[str, Any]], problems: Iterable[Problem]
) -> dict[str, Any]:
    """What `dmt check` reports of either task."""
    is_train, is_labeled = catalog.parts == Part.TRAIN, catalog.labels >= 0
    return {
        "task": catalog.task,
        "name": catalog.name,
        "layout": catalog.layout,
        "labeled": int((is_train & is_labeled).sum()),
        "unlabeled": int((is_train & ~is_labeled).sum()),
        "val": int((is_labeled & (catalog.parts == Part.VAL)).sum()),
        "test": int((is_labeled & (catalog.parts == Part.TEST)).sum()),
        "classes": classes,
        "problems": [
            {"kind": each.kind, "path": each.path, "message": each.message} for each in problems
        ],
    }


def left_out(bad: Sequence[str]) -> str:
    """A sentence on unreadable images that a run passes over: a few names; `data.json` has all."""
    named = ", ".join(shown(path) for path in bad[:3])
    more = f" and {len(bad) - 3} more, all in {DATA}" if len(bad) > 3 else ""
    return f"left out {len(bad)} unreadable image{'s' * (len(bad) > 1)}: {named}{more}"
