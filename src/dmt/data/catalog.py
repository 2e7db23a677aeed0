"""What a data set on disk holds and where; the layouts that fill it live in `layouts/`.

Nothing here decodes an image, hides a label or chooses a split.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dmt.data.mask_files import Coding

UNLABELED = -1


class Part(IntEnum):
    """Which part of a data set an image belongs to, as its layout says."""

    TRAIN = 0
    VAL = 1
    TEST = 2


@dataclass(frozen=True)
class Problem:
    """Something worth telling that does not stop a run.

    Attributes:
        kind: `no-unlabeled`, `empty-class`, `missing-class`, `no-class`, `ignored-files`,
            `ignored-folder`; of a segmentation also `no-class-names`, `no-mask`, `listed-twice`,
            `ambiguous-orientation` and what `mask_checkup` adds; of both what `data_checkup` adds.
        path: what it is about, relative to the data set's root; empty for the whole set.
        message: one sentence.
    """

    kind: str
    path: str
    message: str


@dataclass(frozen=True, eq=False)
class MaskFiles:
    """The masks of a segmentation: one for every labeled image.

    Attributes:
        paths: aligned with the catalog's, relative to its root; empty where there is no mask.
        coding: how a file's values become classes.
        arrays: uint8 (N, H, W), classes with 255 ignored, where the masks are in memory.
    """

    paths: tuple[str, ...]
    coding: Coding
    arrays: NDArray[np.uint8] | None = None


class Print(NamedTuple):
    """What tells a shard of a large pool from any other."""

    name: str
    num_bytes: int  # 0 where it is no file
    sha256: str  # of its size and of samples of it


class Elsewhere(Protocol):
    """Images that are not below a catalog's root, by number."""

    @property
    def prints(self) -> Sequence[Print] | None:
        """Of a large pool, which is told by its shards; None: it is told image by image."""
        ...

    @property
    def damage(self) -> Sequence[str]:
        """What was left out of damaged shards, a sentence each."""
        ...

    def __len__(self) -> int: ...

    def file(self, number: int) -> Path:
        """The file that an image is, or lies in."""
        ...

    def num_bytes(self, number: int) -> int:
        """How long its content is.

        Raises:
            OSError: the file is gone.
        """
        ...

    def content(self, number: int) -> bytes | None:
        """What the image is made of, where it is a part of a file; None: the whole file.

        Raises:
            DataError: it cannot be read.
        """
        ...


@dataclass(frozen=True, eq=False)
class Catalog:
    """Every image of a data set: where it is and what its layout says of it.

    Attributes:
        name: of a built-in, or of the folder, or the CSV's stem.
        layout: `class-folders`, `train-test-folders`, `csv`, `digits`, `cifar10-batches`;
            of a segmentation `image-mask-folders`, `split-lists`, `voc`, `cityscapes`, `shapes`.
        root: what `paths` are relative to (absolute); None where images are in memory.
        classes: names in natural order (1, 2, 10); for CIFAR-10's batches in their own order.
        paths: sorted, unique, relative and with `/`; made-up names for images in memory. Those of
            a large pool lie on the disk, behind the others: one is read at a time.
        labels: int64 (N,), index into `classes`, −1 where there is no label; in a segmentation
            0 where there is a mask.
        parts: uint8 (N,), values of `Part`.
        images: uint8 (N, H, W, 3) RGB where the layout holds pixels rather than files.
        problems: what `dmt check` tells.
        masks: of a segmentation; None for images with one label each.
        elsewhere: images that are not below `root`: the last rows. None: all are.
    """

    name: str
    layout: str
    root: Path | None
    classes: tuple[str, ...]
    paths: Sequence[str]
    labels: NDArray[np.int64]
    parts: NDArray[np.uint8]
    images: NDArray[np.uint8] | None
    problems: tuple[Problem, ...]
    masks: MaskFiles | None = None
    elsewhere: Elsewhere | None = None

    @property
    def task(self) -> Literal["classification", "segmentation"]:
        """What is learned from it."""
        return "classification" if self.masks is None else "segmentation"

    def __post_init__(self) -> None:
        assert len(self.paths) == len(self.labels) == len(self.parts)
        assert self.masks is None or len(self.masks.paths) == len(self.paths)
        assert self.labels.dtype == np.int64
        assert self.parts.dtype == np.uint8
        assert (self.root is None) == (self.images is not None)

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def num_own(self) -> int:
        """How many images are below `root`: the first rows."""
        return len(self.paths) - (0 if self.elsewhere is None else len(self.elsewhere))

    @property
    def prints(self) -> Sequence[Print] | None:
        """See `Elsewhere.prints`."""
        return None if self.elsewhere is None else self.elsewhere.prints

    @property
    def num_told(self) -> int:
        """How many images are told one by one: the first rows, all but those of a large pool."""
        return len(self) if self.prints is None else self.num_own

    def file(self, row: int) -> Path:
        """The file that an image is, or lies in."""
        assert self.root is not None, "a catalog has files or arrays"
        if self.elsewhere is None or row < self.num_own:
            return self.root / self.paths[row]
        return self.elsewhere.file(row - self.num_own)

    def source(self, row: int) -> tuple[Path, bytes | None]:
        """An image as `decode` takes it: its file, or a name and what was read of a larger file.

        Raises:
            DataError: it cannot be read.
        """
        if self.elsewhere is None or row < self.num_own:
            return self.file(row), None
        content = self.elsewhere.content(row - self.num_own)
        return self.file(row) if content is None else Path(self.paths[row]), content


def natural_key(name: str) -> tuple[list[tuple[int, str]], str]:
    """Sort key under which "2" comes before "10", and names that differ never tie."""
    pieces = re.split(r"([0-9]+)", name)
    # Digits by their count and then as text: like numbers, but of any length.
    digits = [piece.lstrip("0") if turn % 2 else piece for turn, piece in enumerate(pieces)]
    return [(len(p) if turn % 2 else 0, p) for turn, p in enumerate(digits)], name


def no_unlabeled(labels: NDArray[np.int64]) -> list[Problem]:
    """The problem to tell of a set in which every image has its label, if it is one."""
    if (labels == UNLABELED).any():
        return []
    message = (
        "there are no unlabeled images: training equals supervised training, unless "
        "labels_per_class=N or labels=0.1 hides some labels"
    )
    return [Problem("no-unlabeled", "", message)]
