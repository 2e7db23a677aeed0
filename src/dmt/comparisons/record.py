"""What a comparison was asked for, as it stands in its folder, and what may be added to it.

The runs are `comparing`'s; the types of the record are in `records.comparison`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError

from dmt.comparisons.words import Job, trained_of
from dmt.config import Settings, changed_settings, yaml_value
from dmt.errors import RunError
from dmt.records import CONFIG, Summary, read_json
from dmt.records.comparison import COMPARE, ORACLE, SUPERVISED, Asked, Comparison, ComparisonRecord
from dmt.records.writing import is_temporary
from dmt.runs.portable import portable


def read_record(path: Path) -> ComparisonRecord | None:
    """A comparison's `compare.json`; None: the folder is free for one.

    Raises:
        RunError: something else lies there, or a record that this version of dmt did not write.
    """
    if (path / COMPARE).exists():
        try:
            return ComparisonRecord.model_validate(read_json(path / COMPARE))
        except ValidationError as error:
            raise RunError(
                f"{path / COMPARE} was not written by this version of dmt; put it back as it was, "
                "or give another folder with out="
            ) from error
    content = os.listdir(path) if path.is_dir() else []
    others = sorted(name for name in content if name != ".lock" and not is_temporary(name))
    if others or (path.exists() and not path.is_dir()):
        what = "a run" if CONFIG in others else "something else"
        raise RunError(f"{path} holds {what}, not a comparison; give another folder with out=")
    return None


def record_of(
    command: str,
    asked: Asked,
    result: Comparison | None = None,
    notes: Sequence[str] = (),
    first: Summary | None = None,
) -> ComparisonRecord:
    """A record of now.

    Args:
        command: that asks it.
        asked: what is asked.
        result: the table, once there is one.
        notes: to be read beside it.
        first: of a finished run, the machine and versions.
    """
    return ComparisonRecord(
        command=command,
        asked=asked,
        result=result,
        notes=list(notes),
        hardware=first.hardware if first else "",
        versions=first.versions if first else {},
    )


def refuse_changed(
    path: Path, before: Asked, asked: Asked, settings_for: Callable[[Job], Settings]
) -> None:
    """Methods, seeds and labels may be added to a comparison; anything else must be as it was.

    Args:
        path: where it lies.
        before: what it began with.
        asked: what is asked now.
        settings_for: the settings that a run has by what is asked now.

    Raises:
        RunError: what is different.
    """
    first = Job(trained_of(before.methods)[0], _labels_of(before)[0], before.seeds[0])
    other_supervised = _other_supervised(before, asked)
    difference = _left_out(before, asked) or other_supervised
    if difference is None:
        difference = changed_settings(before.settings, portable(settings_for(first)))
        added = {SUPERVISED, ORACLE} & set(asked.methods) - set(before.methods)
        if added and (difference or "").startswith(("baseline was", "oracle was")):
            names = " and ".join(sorted(added))
            difference = (
                f"{names} cannot be added, because the runs that are there would have had to train "
                "it as well"
            )
    if difference is None and before.data != asked.data:
        difference = "its images or labels changed since it began"
    if difference is not None:
        raise RunError(
            f"the comparison in {path} cannot go on: {difference}; give what it began with and "
            f"more {'' if other_supervised else 'methods, '}seeds or labels if you like, or "
            "another folder with out="
        )


def _left_out(before: Asked, asked: Asked) -> str | None:
    """What of the methods, seeds or labels is not asked for any more, in words."""
    for key, old, new in (
        ("methods", before.methods, asked.methods),
        ("seeds", before.seeds, asked.seeds),
        ("labels", _labels_of(before), _labels_of(asked)),
    ):
        if set(old) - set(new):
            return f"{key} was {_listed(old)} and is {_listed(new)} now"
    return None


def _other_supervised(before: Asked, asked: Asked) -> str | None:
    """Runs of supervised models alone have another first stage than the baselines of others."""
    alone = (SUPERVISED,)
    if trained_of(before.methods) != alone or trained_of(asked.methods) == alone:
        return None
    return (
        "it is of supervised models alone, and beside other methods these are trained anew, as "
        "baselines of as many images"
    )


def _labels_of(asked: Asked) -> list[float | None]:
    return [*(asked.labels or [asked.settings["labels"]])]


def _listed(values: Sequence[object]) -> str:
    return ",".join("not set" if each is None else yaml_value(each) for each in values)
