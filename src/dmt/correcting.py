"""`dmt apply`: a person's corrections, checked, as a new label file. It changes no other file."""

from __future__ import annotations

import csv
import io
import os
import posixpath
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dmt.data.catalog import Catalog, Part
from dmt.data.decode import shown
from dmt.data.layouts import open_catalog
from dmt.data_record import read_data
from dmt.errors import DataError, RunError, SettingError
from dmt.predicting import write_csv
from dmt.using import settings_of

NAME = "labels-corrected.csv"
_ACTIONS = ("label", "keep", "unusable", "none")
_COLUMNS = {"path", "label", "action"}
_MOST_NAMED = 20
_MOST_BYTES = 256 << 20


class Correction(NamedTuple):
    """One line, checked."""

    path: str
    action: str
    label: str


class Change(NamedTuple):
    """What became of an image: `after` is a class, or says why it is left out."""

    path: str
    before: str
    after: str


class Applied(NamedTuple):
    """What `apply` wrote and why."""

    path: Path
    changes: list[Change]
    num_kept: int  # lines that change nothing
    twice: list[str]  # paths with more than one line


def apply(
    run: str | Path, corrections: str | Path, *, out: str | None = None, follow_links: bool = False
) -> Applied:
    """Write the labels of a run's data anew, with corrections, as a CSV that `dmt train` reads.

    Args:
        run: its folder.
        corrections: a CSV with the columns `path`, `label` and `action`: `label` gives an image the
            class of the second column, `keep` leaves it as it is, `unusable` and `none` (none of
            the classes) leave the image out. Without `action`, a label means `label`.
        out: the new file, in the data's folder or above it; None: `labels-corrected.csv` in the
            data's folder, with a number behind it if there is one.
        follow_links: whether links may leave the data's folder.

    Raises:
        DataError: lines that are wrong: all of them are named, nothing is written.
        SettingError: `out` is there already or cannot see the images.
        RunError: no run, or its data have other classes by now.
    """
    path = Path(run)
    settings, data = settings_of(path), read_data(path)
    assert settings.dataset is not None
    catalog = open_catalog(settings.dataset, follow_links=follow_links)
    if catalog.task == "segmentation":
        raise DataError(
            f"{path} is a segmentation, whose corrections are masks, not lines of a table: draw "
            "them in an annotation tool, replace the files in its masks folder and train anew"
        )
    if catalog.root is None:
        raise DataError(
            f"the images of {catalog.name} are no files, so a label file could not name them; "
            "only data in a folder or a CSV can be corrected"
        )
    if list(catalog.classes) != data["classes"]:
        raise RunError(
            f"{path} was trained on other classes than its data have now; put the data back as "
            "they were, or train anew"
        )
    target = _target(catalog, out)
    found, num_lines, twice = _read(Path(corrections), catalog)
    rows, changes = _corrected(catalog, found, target)
    write_csv(rows, str(target), ("path", "label", "split"))
    return Applied(target, changes, num_lines - len(twice) - len(changes), twice)


def _target(catalog: Catalog, out: str | None) -> Path:
    """Where the new file goes: below no folder that an image is not below, and nobody's yet."""
    assert catalog.root is not None
    if out is None:
        target, number = catalog.root / NAME, 2
        while os.path.lexists(target):
            target = catalog.root / f"{Path(NAME).stem}-{number}.csv"
            number += 1
        return target
    target = Path(os.path.abspath(os.path.expanduser(out)))
    if os.path.lexists(target):
        raise SettingError(f"out={shown(out)} is there already and is not replaced; name another")
    if target.suffix.lower() != ".csv":
        raise SettingError(f"out={shown(out)} must end in .csv, so that it is read as a label file")
    if not target.parent.is_dir():
        raise SettingError(f"out={shown(out)} is in no folder; make {shown(target.parent)} first")
    if not catalog.root.resolve().is_relative_to(target.parent.resolve()):
        raise SettingError(
            f"out={shown(out)} must lie in {shown(catalog.root)} or above it, as a label file "
            "names images below its own folder"
        )
    return target


def _read(path: Path, catalog: Catalog) -> tuple[dict[str, Correction], int, list[str]]:
    """The corrections by path, the number of lines, and the paths that are named twice."""
    known, classes = set(catalog.paths), set(catalog.classes)
    found: dict[str, Correction] = {}
    twice: dict[str, None] = {}
    faults: list[str] = []
    num = 0
    for line, fields in _lines(path):
        num += 1
        name = posixpath.normpath(fields["path"])
        label = unicodedata.normalize("NFC", fields["label"].strip())
        action = fields.get("action", "").strip().lower() or ("label" if label else "keep")
        if name not in known:
            faults.append(f"line {line}: the data have no image {shown(fields['path'])}")
        if action not in _ACTIONS:
            faults.append(f"line {line}: there is no action {shown(action)}")
        elif action == "label" and label not in classes:
            what = f"class {shown(label)}" if label else "class in it"
            faults.append(f"line {line}: the run knows no {what}")
        if name in found:
            twice[name] = None
        found[name] = Correction(name, action, label)
    if faults:
        more = len(faults) - _MOST_NAMED
        rest = f"; and {more} more" if more > 0 else ""
        raise DataError(
            f"{shown(path)} is not applied, nothing was written: "
            f"{'; '.join(faults[:_MOST_NAMED])}{rest}. Actions are {', '.join(_ACTIONS)}; classes "
            f"are {', '.join(shown(name) for name in catalog.classes[:20])}"
        )
    if not num:
        raise DataError(f"{shown(path)} holds no correction; save it from the review again")
    return found, num, list(twice)


def _lines(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The number of every line and its fields by column.

    Raises:
        DataError: it is no such table.
    """
    try:
        if not path.is_file():
            raise DataError(f"there is no file {shown(path)}; save it from the review first")
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"{shown(path)} is too large to be a table of corrections")
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{shown(path)} is not UTF-8 text: save it as CSV UTF-8") from error
    except OSError as error:
        raise DataError(f"{shown(path)} cannot be read: {error.strerror}") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        if not {"path", "label"} <= set(header) <= _COLUMNS or len(set(header)) != len(header):
            raise DataError(
                f"{shown(path)} starts with {shown(','.join(header)) or 'nothing'}: its first "
                "line must be path,label,action, with commas"
            )
        for fields in reader:
            if not fields:
                continue
            if len(fields) != len(header):
                raise DataError(
                    f"{shown(path)}, line {reader.line_num}: {len(fields)} columns instead of "
                    f"{len(header)}; quote a field that holds a comma"
                )
            yield reader.line_num, dict(zip(header, fields, strict=True))
    except csv.Error as error:
        raise DataError(
            f"{shown(path)}, line {reader.line_num}: not a line of a CSV ({error}); quote fields "
            "that hold commas, quotes or line breaks"
        ) from error


def _corrected(
    catalog: Catalog, found: dict[str, Correction], target: Path
) -> tuple[list[tuple[str, str, str]], list[Change]]:
    """The lines of the new file, and what is different in them.

    Raises:
        DataError: a class would lose its last image to train on.
    """
    assert catalog.root is not None
    prefix = os.path.relpath(catalog.root.resolve(), target.parent.resolve())
    rows, changes = [], []
    left = set()
    for path, number, part in zip(
        catalog.paths, catalog.labels.tolist(), catalog.parts.tolist(), strict=True
    ):
        before = catalog.classes[number] if number >= 0 else ""
        correction = found.get(path, Correction(path, "keep", ""))
        if correction.action in {"unusable", "none"}:
            why = "unusable" if correction.action == "unusable" else "none of the classes"
            changes.append(Change(path, before, f"left out ({why})"))
            continue
        after = correction.label if correction.action == "label" else before
        if after != before:
            changes.append(Change(path, before, after))
        if after and part == Part.TRAIN:
            left.add(after)
        split = "" if part == Part.TRAIN else Part(part).name.lower()
        rows.append((posixpath.normpath(posixpath.join(prefix, path)), after, split))
    for name in catalog.classes:
        if name not in left:
            raise DataError(
                f"with these corrections no image to train on has the class {shown(name)}; keep or "
                "label one, nothing was written"
            )
    return rows, changes
