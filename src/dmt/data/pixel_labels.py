"""The pool's pseudo labels of pixels on disk: a label and a few bits of confidence for each pixel.

Spooled while the pool is labeled, packed once the cut is known, read image by image. How the cut is
found: `core.selection`. The coding of files: `pixel_planes`. Pseudo labels of whole images are
another store's.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dmt import faults
from dmt.core import NUM_CODES, Cut, cut_histogram, decode_confidence, tie_bits
from dmt.core.levels import Levels, make_levels
from dmt.data.decode import shown
from dmt.data.pixel_planes import (
    INDEX,
    Common,
    Files,
    Manifest,
    Part,
    checksum,
    pack_label,
    pack_level,
    to_npy,
    unpack_label,
    unpack_level,
)
from dmt.data.read_ahead import read_ahead
from dmt.errors import RunError
from dmt.records import write_bytes, write_json
from dmt.records.writing import make_folder, whole_file

NUM_BELOW = 8
NUM_ABOVE = 64
_ALL_TIES = torch.iinfo(torch.int64).max


class PixelPlanes(NamedTuple):
    """The pseudo labels of one image."""

    label: NDArray[np.uint8]  # (H, W), in [0, K), also where it is not selected
    confidence: NDArray[np.float32]  # (H, W), the middle of the pixel's level
    is_selected: NDArray[np.bool_]  # (H, W)


class PixelLabelWriter:
    """Writes one part of a store: `add` each image once, then `finish`.

    Until the cut is known an image takes a little over 2 bytes a pixel in a spool file beside the
    store; `counts` is all that stays in memory.
    """

    def __init__(self, folder: Path, num_classes: int, part: int = 0) -> None:
        """Begin a part anew; what the folder held of it is removed.

        Args:
            folder: made if it is not there; every part's writer gets the same.
            num_classes: K, at most 255.
            part: the rank, from 0.

        Raises:
            RunError: the folder may not be written.
        """
        assert 1 <= num_classes <= 255, num_classes
        self.counts = torch.zeros(num_classes, NUM_CODES, dtype=torch.int64)
        self._folder, self._part, self._files = folder, part, Files(folder, part)
        self._added: list[tuple[int, int, int, int]] = []  # id, height, width, bytes of the label
        self._ids: set[int] = set()
        with self._writing():
            make_folder(folder)
            self._files.remove()
            faults.reached("labels removed")
            self._files.spool.touch()
            faults.reached(f"{self._files.spool.name} begun")

    def add(self, id: int, label: Tensor, code: Tensor) -> None:
        """Take the decision for one image, as `core.predict` gives it.

        Args:
            id: into the data set; each once.
            label: int64 or uint8 (H, W), any device, in [0, K).
            code: int32 (H, W), any device, confidence codes.

        Raises:
            RunError: the disk is full or may not be written.
        """
        num_classes = self.counts.shape[0]
        label, code = label.cpu().long(), code.cpu().long()
        assert label.ndim == 2, label.shape
        assert label.shape == code.shape, (label.shape, code.shape)
        assert id not in self._ids, f"image {id} was added before"
        assert 0 <= int(label.min()) <= int(label.max()) < num_classes, "a label is no class"
        assert 0 <= int(code.min()) <= int(code.max()) < NUM_CODES, "a code is none"
        place = (label * NUM_CODES + code).view(-1)
        # Not `core.histogram`: it makes all K · NUM_CODES cells anew for every image.
        self.counts.view(-1).scatter_add_(0, place, torch.ones_like(place))
        packed = pack_label(label.numpy().astype(np.uint8), is_spooled=True)
        # Opened anew each time, so that a writer that is left behind holds no file.
        with self._writing(), self._files.spool.open("ab") as spool:
            spool.write(packed)
            spool.write(code.numpy().astype("<u2").tobytes())
        faults.reached(f"{self._files.spool.name} added")
        self._ids.add(id)
        self._added.append((id, *label.shape, len(packed)))

    def finish(
        self,
        counts: Tensor,
        *,
        fraction: float,
        is_class_balanced: bool,
        seed: int,
        where: str,
        num_parts: int = 1,
        workers: int = 0,
    ) -> None:
        """Cut, pack the planes and drop the spool; every part is finished with the same arguments.

        Where the fraction is none of the pixels at all, the surest is kept.

        Args:
            counts: int64 (K, NUM_CODES), the sum of all parts' `counts`.
            fraction: label fraction α in [0, 1] to keep, within 0.1 % in expectation.
            is_class_balanced: keep that share of every predicted class.
            seed, where: name the order of ties.
            num_parts: how many writers form the store.
            workers: threads that pack; 0 packs in the caller's. The files are the same.

        Raises:
            RunError: the disk is full or may not be written; the store must be written again.
        """
        assert self._part < num_parts, (self._part, num_parts)
        counts = counts.cpu()
        cut = _cut(counts, fraction, is_class_balanced=is_class_balanced)
        levels = make_levels(counts, cut, NUM_BELOW, NUM_ABOVE)
        can_be_kept = (counts > 0) & (torch.arange(NUM_CODES) >= cut.code.unsqueeze(1))
        lowest_kept = torch.where(can_be_kept.any(1), can_be_kept.int().argmax(1), NUM_CODES)
        common = Common(
            num_parts=num_parts,
            num_classes=len(counts),
            fraction=fraction,
            is_class_balanced=is_class_balanced,
            seed=seed,
            where=where,
            num_below=levels.num_below,
            num_predicted=counts.sum(1).tolist(),
            lowest_kept=lowest_kept.tolist(),
        )
        with self._writing():
            index, num_selected = self._pack(cut, levels, _Ties(cut, seed, where), workers)
            self._files.spool.unlink()
            faults.reached(f"{self._files.spool.name} removed")
            self._remove_parts_from(num_parts)
        write_bytes(self._files.index, to_npy(index))
        write_bytes(self._files.levels, to_npy(levels.confidence.numpy()))
        manifest = Manifest(
            common=common,
            num_selected=num_selected.tolist(),
            num_bytes=self._files.planes.stat().st_size,
            crc=checksum(index, levels.confidence.numpy()),
        )
        write_json(self._files.manifest, manifest)

    def _pack(
        self, cut: Cut, levels: Levels, ties: _Ties, workers: int
    ) -> tuple[NDArray[np.void], Tensor]:
        """Rewrite the spool as planes: their index, and how many pixels of each class are kept."""
        index = np.zeros(len(self._added), INDEX)
        num_selected = torch.zeros(len(cut.code), dtype=torch.int64)
        offset = 0
        with (
            self._files.spool.open("rb") as spool,
            whole_file(self._files.planes) as planes,
            closing(
                read_ahead(self._spooled(spool, levels, ties), workers, lookahead=max(1, workers))
            ) as packed,
        ):
            for row, ((id, *_), ((label, level, kept),)) in enumerate(
                zip(self._added, packed, strict=True)
            ):
                num_selected += kept
                record = label + level
                planes.write(record)
                faults.reached(f"{self._files.planes.name} half")
                index[row] = (id, offset, len(label), len(level), zlib.crc32(record))
                offset += len(record)
        return index, num_selected

    def _spooled(
        self, spool: BinaryIO, levels: Levels, ties: _Ties
    ) -> Iterator[list[Callable[[], _Packed]]]:
        """What was added, in its order: calls, each of which packs an image."""
        for id, height, width, num_label in self._added:
            label, code = spool.read(num_label), spool.read(2 * height * width)
            yield [partial(_packed, id, (height, width), label, code, levels, ties)]

    def _remove_parts_from(self, num_parts: int) -> None:
        """Remove what an earlier session with more ranks left; only the first part looks."""
        if self._part == 0:
            for path in self._folder.glob("part*.*"):
                number = path.name[len("part") :].split(".")[0]
                if number.isdigit() and int(number) >= num_parts:
                    path.unlink(missing_ok=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RunError) as error:
            with suppress(OSError):  # what is half done is of no use and may fill the disk
                self._files.remove()
            if isinstance(error, RunError):
                raise
            raise RunError(
                f"cannot write pseudo labels to {shown(self._folder)}: {error.strerror or error}; "
                "free some space or check the folder's permissions, then resume"
            ) from error


class PixelLabels:
    """A finished store, memory-mapped; `read` may be called from several threads."""

    def __init__(self, folder: Path) -> None:
        """Open a store with all its parts.

        Raises:
            RunError: the store is missing, was not finished or is damaged.
        """
        self._folder = folder
        try:
            first = Part(folder, 0)
            numbers = range(1, first.manifest.common.num_parts)
            self._parts = [first, *(Part(folder, number) for number in numbers)]
        except (OSError, ValueError, EOFError) as error:
            raise self._damaged(str(error)) from error
        self._common = first.manifest.common
        if any(part.manifest.common != self._common for part in self._parts):
            raise self._damaged("its parts do not belong together")
        self._at = {
            int(id): (part, row)
            for part in self._parts
            for row, id in enumerate(part.index["id"].tolist())
        }
        if len(self._at) != sum(len(part.index) for part in self._parts):
            raise self._damaged("an image is in it twice")
        self.num_classes = self._common.num_classes
        self.fraction = self._common.fraction

    def __len__(self) -> int:
        return len(self._at)

    @property
    def ids(self) -> Tensor:
        """int64 (N,), ascending, however many parts wrote them."""
        return torch.tensor(sorted(self._at), dtype=torch.int64)

    @property
    def num_predicted(self) -> Tensor:
        """int64 (K,): pixels of each predicted class."""
        return torch.tensor(self._common.num_predicted, dtype=torch.int64)

    @property
    def num_selected(self) -> Tensor:
        """int64 (K,): those of them that are kept."""
        return torch.tensor([part.manifest.num_selected for part in self._parts]).sum(0)

    @property
    def thresholds(self) -> list[float | None]:
        """The lowest confidence that is kept of each class, None where nothing is."""
        lowest = decode_confidence(torch.tensor(self._common.lowest_kept)).tolist()
        kept = self.num_selected.tolist()
        return [value if num else None for value, num in zip(lowest, kept, strict=True)]

    @property
    def num_bytes(self) -> int:
        """What the store takes on disk."""
        return sum(part.num_bytes for part in self._parts)

    def read(self, id: int) -> PixelPlanes:
        """The pseudo labels of one image, in arrays of their own.

        Raises:
            RunError: the store is damaged there.
        """
        assert id in self._at, f"image {id} has no pseudo labels"
        part, row = self._at[id]
        _, offset, num_label, num_level, crc = part.index[row].tolist()
        record = part.planes[offset : offset + num_label + num_level].tobytes()
        if zlib.crc32(record) != crc:
            raise self._damaged(f"the record of image {id} is not what was written")
        level = unpack_level(record[num_label:])
        label = unpack_label(record[:num_label]).reshape(level.shape)
        num_levels = part.levels.shape[1]
        place = label.astype(np.uint16) * np.uint16(num_levels) + level
        confidence = part.levels.reshape(-1).take(place)
        return PixelPlanes(label.copy(), confidence, level >= self._common.num_below)

    def _damaged(self, how: str) -> RunError:
        return RunError(
            f"the pseudo labels in {shown(self._folder)} are damaged ({how}); start the run "
            "again in another folder"
        )


class _Ties:
    """Which of the pixels at their class's cut are not kept, by a hash of image and pixel."""

    def __init__(self, cut: Cut, seed: int, where: str) -> None:
        # Where all ties are kept none is looked at: at fraction 1 every pixel stays for certain.
        code = torch.where(cut.tie_limit == _ALL_TIES, NUM_CODES, cut.code)
        self._code, self._limit = code.numpy(), cut.tie_limit.numpy()
        self._seed, self._where = seed, where

    def lost(
        self, id: int, label: NDArray[np.uint8], code: NDArray[np.uint16]
    ) -> NDArray[np.int64]:
        """Positions (T,) among the pixels (H·W,) of one image."""
        tied = (code == self._code.take(label)).nonzero()[0]
        ties = tie_bits(self._seed, self._where, id, torch.from_numpy(tied)).numpy()
        lost: NDArray[np.int64] = tied[ties >= self._limit.take(label[tied])]
        return lost


class _Packed(NamedTuple):
    """An image's planes as they are stored, and how many pixels of each class it keeps."""

    label: bytes
    level: bytes
    num_selected: Tensor  # int64 (K,)


def _packed(
    id: int, size: tuple[int, int], label: bytes, code: bytes, levels: Levels, ties: _Ties
) -> _Packed:
    """Pack an image as it was spooled; much of the time no other thread has to wait."""
    plane = unpack_label(label)
    codes = np.frombuffer(code, "<u2")
    place = plane.astype(np.int32) * NUM_CODES + codes  # fewer than 2²⁴
    level = levels.of_code.numpy().reshape(-1).take(place)
    level[ties.lost(id, plane, codes)] = levels.num_below - 1
    kept = plane[level >= levels.num_below]
    num_selected = torch.from_numpy(np.bincount(kept, minlength=len(levels.of_code)))
    return _Packed(pack_label(plane), pack_level(level.reshape(size)), num_selected)


def _cut(counts: Tensor, fraction: float, *, is_class_balanced: bool) -> Cut:
    cut = cut_histogram(counts, fraction, is_class_balanced=is_class_balanced)
    if fraction == 0 or bool((cut.code < NUM_CODES).any()) or not bool(counts.any()):
        return cut
    surest = cut_histogram(counts, 1 / int(counts.sum()), is_class_balanced=False)
    # Ties are kept by chance, which might keep none of these few.
    return surest._replace(tie_limit=torch.full_like(surest.tie_limit, _ALL_TIES))
