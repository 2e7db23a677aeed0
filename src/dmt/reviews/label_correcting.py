"""A label file written anew from corrections, and copies of images of a pool that got a label.

Who decided what, and whether it may be, is `correcting`'s.
"""

from __future__ import annotations

import os
import posixpath
import shutil
from collections.abc import Mapping
from pathlib import Path

from dmt.annotations.lines import Line
from dmt.data.catalog import Catalog, Part
from dmt.data.decode import shown
from dmt.data.finding import COPIES
from dmt.data.pool_copies import copy_out
from dmt.errors import DataError
from dmt.inference.predicting import write_csv

_Change = tuple[str, str, str]  # an image, what it had, what became of it


def rows_by_path(catalog: Catalog) -> dict[str, int]:
    """Every image's row by its path as corrections are read: normalised, as members of a tar may
    not be."""
    return {posixpath.normpath(path): row for row, path in enumerate(catalog.paths)}


def write_labels(
    catalog: Catalog, found: Mapping[str, Line], target: Path
) -> tuple[list[_Change], dict[str, str], list[str]]:
    """Write the new file and the copies that it names, or nothing.

    Raises:
        DataError: a class would lose its last image to train on, or one to copy cannot be read.
        RunError: a file cannot be written.
    """
    assert catalog.root is not None
    rows, changes = _corrected(catalog, found)
    number = rows_by_path(catalog)
    labels, in_pool = dict[str, str](), list[str]()  # of images of `data.unlabeled`
    for path, line in found.items():
        if number[path] < catalog.num_own or line.action == "keep":
            continue
        if line.action == "label":
            labels[path] = line.label
            changes.append((path, "", line.label))
        else:
            in_pool.append(path)
    left = {label for _, label, split in rows if not split} | set(labels.values())
    for name in catalog.classes:
        if name not in left:
            raise DataError(
                f"with these corrections no image to train on has the class {shown(name)}; keep or "
                "label one, nothing was written"
            )
    folder = _free_folder(catalog.root)
    try:
        names = copy_out(catalog, [number[path] for path in labels], folder)
        copies = {path: f"{folder.name}/{name}" for path, name in zip(labels, names, strict=True)}
        rows += [(copies[path], label, "") for path, label in labels.items()]
        prefix = os.path.relpath(catalog.root.resolve(), target.parent.resolve())
        placed = ((posixpath.normpath(posixpath.join(prefix, path)), *rest) for path, *rest in rows)
        write_csv(placed, str(target), ("path", "label", "split"))
    except BaseException:  # what was written is ours alone: both names were free
        target.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return changes, copies, in_pool


def _free_folder(root: Path) -> Path:
    """Where copies go: numbered as `labels-corrected.csv` is where that is written now."""
    folder, number = root / COPIES, 2
    while os.path.lexists(folder) or os.path.lexists(folder.with_suffix(".csv")):
        folder = root / f"{COPIES}-{number}"
        number += 1
    return folder


def _corrected(
    catalog: Catalog, found: Mapping[str, Line]
) -> tuple[list[tuple[str, str, str]], list[_Change]]:
    """Path, label and split of every image of the data's own folder, and what is different."""
    rows, changes = [], []
    for path, number, part in zip(
        catalog.paths[: catalog.num_own], catalog.labels.tolist(), catalog.parts.tolist(),
        strict=False,
    ):  # fmt: skip
        before = catalog.classes[number] if number >= 0 else ""
        correction = found.get(path, Line("", path, "keep"))
        if correction.action in {"unusable", "none"}:
            why = "unusable" if correction.action == "unusable" else "none of the classes"
            changes.append((path, before, f"left out ({why})"))
            continue
        after = correction.label if correction.action == "label" else before
        if after != before:
            changes.append((path, before, after))
        rows.append((path, after, "" if part == Part.TRAIN else Part(part).name.lower()))
    return rows, changes
