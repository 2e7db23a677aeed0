"""A CSV `path,label[,split]` or `path,mask[,split]`: every line is one image. No label is hidden.

No image is opened, and masks only to find out what their values mean.
"""

from __future__ import annotations

import csv
import io
import os
import posixpath
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from dmt.data.catalog import UNLABELED, Catalog, Part, natural_key, no_unlabeled
from dmt.data.decode import shown
from dmt.data.finding import refuse_outside
from dmt.data.layouts.cityscapes import cityscapes_coding, has_cityscapes
from dmt.data.layouts.mask_coding import find_coding
from dmt.data.layouts.scene_rows import SceneRows, require_masks, scene_catalog
from dmt.data.layouts.voc import has_voc, voc_coding
from dmt.errors import DataError

_HEADERS = (["path", "label"], ["path", "label", "split"], ["path", "mask"],
            ["path", "mask", "split"])  # fmt: skip
_SPLITS = {"": Part.TRAIN, "train": Part.TRAIN, "val": Part.VAL, "test": Part.TEST}


@dataclass(frozen=True)
class _Row:
    line: int
    path: str
    label: str  # or the path of a mask
    part: Part


class _LineError(Exception):
    """What is wrong with one line, and its cure."""


@dataclass
class _Folder:
    """The folder of the CSV, and which of its subfolders are known to lie inside."""

    root: str
    limit: str | None  # what links may not leave
    inside: set[str] = field(default_factory=set)

    def check(self, path: str) -> None:
        """Raise _LineError unless the normalised relative `path` is a file within this folder."""
        full = os.path.join(self.root, path)
        if not os.path.isfile(full):
            hint = (
                "write / instead of \\" if "\\" in path else "correct the path or remove the line"
            )
            raise _LineError(f"there is no file {shown(path)}: {hint}")
        # A link is rare and resolving every file is slow: folders are resolved once.
        parent = os.path.dirname(full)
        try:
            if parent not in self.inside:
                refuse_outside(parent, self.limit)
                self.inside.add(parent)
            if os.path.islink(full):
                refuse_outside(full, self.limit)
        except DataError as error:
            raise _LineError(str(error)) from error


def read_table(path: Path, *, follow_links: bool = False) -> Catalog:
    """The images that a CSV lists, relative to the folder it lies in.

    Args:
        path: UTF-8 text (with or without a byte order mark), comma-separated, with the header
            `path,label` or `path,label,split`, for a segmentation with `mask` instead of `label`.
            An empty label or mask is an unlabeled image, an empty split is train. What the values
            of masks mean is found as in the folder that the CSV lies in.
        follow_links: whether links may leave the folder it lies in.

    Returns:
        A catalog of layout `csv`.

    Raises:
        DataError: the file or a line of it cannot be used; the first such line is named, with
            its cure and the number of the others.
    """
    records = _records(path)
    header = [name.strip().lower() for name in next(records, (0, []))[1]]
    if header not in _HEADERS:
        raise DataError(
            f"{shown(path)} starts with {shown(','.join(header)) or 'nothing'}: its first line "
            "must be path,label or path,label,split (for masks path,mask or path,mask,split), "
            "with commas"
        )
    faults: dict[int, str] = {}
    limit = None if follow_links else os.path.realpath(path.parent)
    folder = _Folder(str(path.parent), limit)
    is_dense = header[1] == "mask"
    rows = _rows(folder, records, header, faults)
    if is_dense and not faults:
        return _scenes(path, rows, follow_links)
    classes = sorted({r.label for r in rows if r.label and r.part is Part.TRAIN}, key=natural_key)
    known = set(classes)
    if not faults:
        for row in rows:
            if row.label and row.label not in known:
                faults[row.line] = (
                    f"no train image has the class {shown(row.label)}: "
                    "add some, or correct the label"
                )
    if faults:
        line = min(faults)
        more = len(faults) - 1
        also = f" ({more} more {'line has' if more == 1 else 'lines have'} faults)" if more else ""
        raise DataError(f"{shown(path)}, line {line}: {faults[line]}{also}")
    _require_two(path, rows, classes)
    return _catalog(path, rows, classes)


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The number of its first line and the fields of every record that is not empty."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{shown(path)} is not UTF-8 text: save it as CSV UTF-8") from error
    except OSError as error:
        raise DataError(f"{shown(path)} cannot be read: {error.strerror}") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for fields in reader:
            if fields:
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{shown(path)}, line {line}: not a line of a CSV ({error}); quote fields that hold "
            'commas, quotes (written twice, "") or line breaks'
        ) from error


def _rows(
    folder: _Folder,
    records: Iterator[tuple[int, list[str]]],
    header: Sequence[str],
    faults: dict[int, str],
) -> list[_Row]:
    """The lines that are right, sorted by path; the others go into `faults`."""
    rows: list[_Row] = []
    first: dict[str, int] = {}
    for line, fields in records:
        try:
            row = _row(line, fields, header)
            twin = first.setdefault(unicodedata.normalize("NFC", row.path), line)
            if twin != line:
                raise _LineError(
                    f"{shown(row.path)} is already on line {twin}: remove one of the two"
                )
            folder.check(row.path)
            if row.label and header[1] == "mask":
                folder.check(row.label)
            rows.append(row)
        except _LineError as fault:
            faults[line] = str(fault)
    return sorted(rows, key=lambda row: row.path)


def _row(line: int, fields: list[str], header: Sequence[str]) -> _Row:
    if len(fields) != len(header):
        raise _LineError(
            f"{len(fields)} columns instead of {len(header)}: quote a field that holds a comma"
        )
    path, label = fields[0], unicodedata.normalize("NFC", fields[1].strip())
    split = fields[2].strip().lower() if len(header) == 3 else ""
    if split not in _SPLITS:
        raise _LineError(f"the split {shown(fields[2])} is not one of train, val, test or empty")
    if not label and _SPLITS[split] is not Part.TRAIN:
        raise _LineError(f"a {split} image needs a {header[1]}: add it, or leave the split empty")
    if header[1] == "mask" and fields[1]:
        label = _normalised(fields[1])
    return _Row(line, _normalised(path), label, _SPLITS[split])


def _normalised(path: str) -> str:
    if not path:
        raise _LineError("the path is empty: name an image file")
    if "\0" in path:
        raise _LineError("the path holds a zero byte: correct it")
    normalised = posixpath.normpath(path)
    if os.path.isabs(path) or normalised == ".." or normalised.startswith("../"):
        raise _LineError(
            f"{shown(path)} leaves the CSV's folder: write paths relative to it, "
            "and put the CSV above the images"
        )
    return normalised


def _require_two(path: Path, rows: list[_Row], classes: list[str]) -> None:
    if not rows:
        raise DataError(f"{shown(path)} lists no image: add a line for each")
    if not classes:
        raise DataError(f"{shown(path)} labels no train image: write labels in its second column")
    if len(classes) < 2:
        raise DataError(
            f"{shown(path)} has one class only ({shown(classes[0])}): a classifier needs at least "
            "two"
        )


def _catalog(path: Path, rows: list[_Row], classes: list[str]) -> Catalog:
    index = {"": UNLABELED} | {name: number for number, name in enumerate(classes)}
    labels = np.array([index[row.label] for row in rows], dtype=np.int64)
    return Catalog(
        name=path.stem,
        layout="csv",
        root=path.parent,
        classes=tuple(classes),
        paths=tuple(row.path for row in rows),
        labels=labels,
        parts=np.array([row.part for row in rows], dtype=np.uint8),
        images=None,
        problems=tuple(no_unlabeled(labels)),
    )


def _scenes(path: Path, rows: list[_Row], follow_links: bool) -> Catalog:
    """The catalog of a segmentation; its values mean what they mean in the folder of the CSV."""
    root = path.parent
    gathered = SceneRows([(row.path, row.label, row.part) for row in rows])
    require_masks(root, gathered, f"name masks in the second column of {shown(path.name)}")
    if has_cityscapes(root):
        classes, coding = cityscapes_coding(gathered.masks)
    elif has_voc(root):
        classes, coding = voc_coding()
    else:
        classes, coding, problems = find_coding(root, gathered.masks, follow_links=follow_links)
        gathered.problems += problems
    return replace(scene_catalog(root, "csv", classes, coding, gathered), name=path.stem)
