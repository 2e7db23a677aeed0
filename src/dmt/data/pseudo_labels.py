"""The pool's pseudo labels on disk: a label, a 16-bit confidence code and a bit an image.

The bits say which images of the data set the labels are of, in their order.

Written once in one pass, by each rank its part; a cut is applied when reading, so thresholds cost
no second pass. Labels of pixels are another store's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor

from dmt import faults
from dmt.core import (
    NUM_CODES,
    Cut,
    break_ties,
    cut_histogram,
    decode_confidence,
    is_selected,
    tie_bits,
)
from dmt.data.pixel_planes import to_npy
from dmt.errors import RunError
from dmt.records import Record, read_json, write_bytes, write_json
from dmt.records.writing import make_folder

MANIFEST = "manifest.json"
COLUMNS = ("ids", "label", "code")
_PART = 1 << 16  # images that are looked at together
_SPARSEST = 64  # images of the data set for one of the pool: above, numbers take less than bits


class Manifest(Record):
    """What the columns cannot say of themselves."""

    num: int
    num_parts: int = 1
    num_classes: int
    fraction: float
    is_class_balanced: bool
    seed: int
    where: str


class ImageLabels:
    """Pseudo labels of a pool of images, memory-mapped."""

    def __init__(self, folder: Path) -> None:
        """Open a finished store.

        Raises:
            RunError: the store is missing or was not finished.
        """
        try:
            self._manifest = Manifest.model_validate(read_json(folder / MANIFEST))
            self._ids, self._label, self._code = (
                [read_column(folder, name, part) for part in range(self._manifest.num_parts)]
                for name in COLUMNS
            )
            self._ids = [_unpacked(ids) for ids in self._ids]
        except (OSError, ValueError, EOFError) as error:
            raise RunError(f"the pseudo labels in {folder} cannot be read: {error}") from error
        parts = zip(self._ids, self._label, self._code, strict=True)
        is_even = all(len(ids) == len(label) == len(code) for ids, label, code in parts)
        if not is_even or sum(map(len, self._ids)) != self._manifest.num:
            raise RunError(
                f"the pseudo labels in {folder} are damaged: their columns differ in length; "
                "start the run again in another folder"
            )
        self.num_classes = self._manifest.num_classes

    @staticmethod
    def write(
        folder: Path,
        ids: Tensor,
        label: Tensor,
        code: Tensor,
        num_classes: int,
        *,
        fraction: float,
        is_class_balanced: bool,
        seed: int,
        where: str,
        num: int | None = None,
        part: int = 0,
        num_parts: int = 1,
        meet: Callable[[], None] = lambda: None,
    ) -> None:
        """Store the labels of a pool, or one part of them, and which share is to be read.

        Args:
            folder: made if it is not there; what it held is replaced.
            ids: int64 (N,), into the data set.
            label: int64 or int32 (N,) in [0, K).
            code: int32 (N,), confidence codes.
            num_classes: K.
            fraction: label fraction that `is_selected` keeps.
            is_class_balanced: keep that share of every predicted class.
            seed, where: name the order of ties.
            num: images in all parts; None: this is all.
            part, num_parts: each is written by a call of its own, at the same time; they are read
                one after the other.
            meet: waits for the writers of the other parts.

        Raises:
            RunError: the disk is full or may not be written.
        """
        manifest = Manifest(
            num=len(ids) if num is None else num,
            num_parts=num_parts,
            num_classes=num_classes,
            fraction=fraction,
            is_class_balanced=is_class_balanced,
            seed=seed,
            where=where,
        )
        try:
            make_folder(folder)
            if part == 0:
                (folder / MANIFEST).unlink(missing_ok=True)
                for path in folder.glob("*.part*.npy"):  # there may have been more of them
                    path.unlink()
        except OSError as error:
            raise RunError(f"cannot write pseudo labels to {folder}: {error.strerror}") from error
        meet()
        faults.reached("labels removed")
        for name, column in packed(ids, label, code, num_classes, has_bits=True).items():
            write_bytes(column_file(folder, name, part), column)
        meet()
        # The manifest comes last: a store without one was cut off and is written again.
        if part == 0:
            write_json(folder / MANIFEST, manifest)

    def __len__(self) -> int:
        return self._manifest.num

    @property
    def ids(self) -> Tensor:
        """int64 (N,)."""
        return _joined(self._ids)

    @property
    def label(self) -> Tensor:
        """int64 (N,)."""
        return _joined(self._label)

    @property
    def code(self) -> Tensor:
        """int64 (N,) confidence codes."""
        return _joined(self._code)

    @property
    def confidence(self) -> Tensor:
        """float32 (N,), as near to the teacher's as 16 bits allow."""
        return decode_confidence(self.code)

    def histogram(self) -> Tensor:
        """int64 (K, NUM_CODES): how often each class got each code."""
        counts = torch.zeros(self.num_classes, NUM_CODES, dtype=torch.int64)
        for _, label, code in self._parts():
            place = label * NUM_CODES + code
            counts.view(-1).scatter_add_(0, place, torch.ones_like(place))
        return counts

    def cut(self) -> Cut:
        """The cut that keeps exactly round(fraction · N), of all or of every class.

        Where that is none at all (a handful of images), the surest one is kept.
        """
        manifest, counts = self._manifest, self.histogram()
        cut = cut_histogram(counts, manifest.fraction, is_class_balanced=manifest.is_class_balanced)
        if bool((cut.code == NUM_CODES).all()) and manifest.fraction > 0:
            cut = cut_histogram(counts, 1 / manifest.num, is_class_balanced=False)
        tied = [
            (label[is_tied], self._ties(ids[is_tied]))
            for ids, label, code in self._parts()
            for is_tied in [code == cut.code[label]]
        ]
        return break_ties(cut, *(torch.cat(each) for each in zip(*tied, strict=True)))

    @property
    def is_selected(self) -> Tensor:
        """bool (N,): which labels the fraction keeps."""
        cut = self.cut()
        return torch.cat(
            [is_selected(label, code, self._ties(ids), cut) for ids, label, code in self._parts()]
        )

    def _parts(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Ids, labels and codes a part at a time, so that what is made of them stays small."""
        for columns in zip(self._ids, self._label, self._code, strict=True):
            for start in range(0, max(1, len(columns[0])), _PART):
                yield tuple(  # type: ignore[misc]
                    torch.from_numpy(np.array(column[start : start + _PART], dtype=np.int64))
                    for column in columns
                )

    def _ties(self, ids: Tensor) -> Tensor:
        return tie_bits(self._manifest.seed, self._manifest.where, ids)


def packed(
    ids: Tensor, label: Tensor, code: Tensor, num_classes: int, *, has_bits: bool = False
) -> dict[str, bytes]:
    """The columns as files, by their names; arguments as `ImageLabels.write` takes them.

    `has_bits` keeps ascending ids as bits, which are not mapped but held when they are read.
    """
    smallest = np.uint8 if num_classes <= 1 << 8 else np.uint32
    numbers = ids.cpu().numpy()
    columns: dict[str, NDArray[np.generic]] = {
        "ids": _as_bits(numbers) if has_bits else numbers,
        "label": label.cpu().numpy().astype(smallest),
        "code": code.cpu().numpy().astype(np.uint16),
    }
    return {name: to_npy(column) for name, column in columns.items()}


def _as_bits(ids: NDArray[np.int64]) -> NDArray[np.generic]:
    """Ascending ids as one bit for every image up to the last: uint8; others as they are."""
    if len(ids) and ids[0] >= 0 and ids[-1] < _SPARSEST * len(ids) and (np.diff(ids) > 0).all():
        is_there = np.zeros(int(ids[-1]) + 1, np.bool_)
        is_there[ids] = True
        return np.packbits(is_there)
    return ids


def _unpacked(column: NDArray[np.generic]) -> NDArray[np.generic]:
    """What `_as_bits` was given."""
    if column.dtype == np.uint8:
        return np.flatnonzero(np.unpackbits(column))  # type: ignore[arg-type]
    return column


def read_column(folder: Path, column: str, part: int) -> NDArray[np.generic]:
    """A part of a column, memory-mapped.

    Raises:
        OSError: it is not there.
        ValueError: it is anything but a plain array; `np.load` would open zips and pickles as well.
    """
    mapped: NDArray[np.generic] = open_memmap(column_file(folder, column, part), mode="r")
    return mapped


def column_file(folder: Path, column: str, part: int) -> Path:
    """Where a part of a column lies."""
    return folder / (f"{column}.part{part}.npy" if part else f"{column}.npy")


def _joined(parts: list[NDArray[np.generic]]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts, dtype=np.int64, casting="unsafe"))
