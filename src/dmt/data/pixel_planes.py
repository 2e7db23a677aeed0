"""How the pseudo labels of pixels lie on disk: files, manifest, index and the coding of a plane.

What is written there, and when: `pixel_labels`.
"""

from __future__ import annotations

import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from pydantic import ValidationError

from dmt.records import Record, read_json

INDEX = np.dtype(
    [("id", "<i8"), ("offset", "<i8"), ("label", "<i8"), ("level", "<i8"), ("crc", "<u4")]
)  # of an image: where its record begins, the bytes of its two planes, their checksum


class Common(Record):
    """What all parts of a store must say alike."""

    num_parts: int
    num_classes: int
    fraction: float
    is_class_balanced: bool
    seed: int
    where: str
    num_below: int
    num_predicted: list[int]
    lowest_kept: list[int]


class Manifest(Record):
    """What the files of one part cannot say of themselves."""

    common: Common
    num_selected: list[int]
    num_bytes: int
    crc: int


class Files:
    """The files of one part."""

    def __init__(self, folder: Path, part: int) -> None:
        self.manifest = folder / f"part{part}.json"
        self.index = folder / f"part{part}.index.npy"
        self.levels = folder / f"part{part}.levels.npy"
        self.planes = folder / f"part{part}.planes"
        self.spool = folder / f"part{part}.spool"

    def remove(self) -> None:
        """Remove them all; OSError where that is not allowed."""
        # The manifest goes first and comes last: a store without one is not whole.
        for path in (self.manifest, self.spool, self.planes, self.index, self.levels):
            path.unlink(missing_ok=True)


class Part:
    """One finished part of a store, opened."""

    def __init__(self, folder: Path, number: int) -> None:
        """Map the planes and load the rest.

        Raises:
            RunError: there is no manifest.
            OSError, EOFError, ValueError: the part is not whole.
        """
        files = Files(folder, number)
        try:
            self.manifest = Manifest.model_validate(read_json(files.manifest))
        except ValidationError as error:
            raise ValueError(f"{files.manifest.name} is another version's") from error
        self.index = np.load(files.index, allow_pickle=False)
        self.levels = np.load(files.levels, allow_pickle=False)
        num_bytes = files.planes.stat().st_size
        if checksum(self.index, self.levels) != self.manifest.crc:
            raise ValueError(f"{files.index.name} or {files.levels.name} is damaged")
        if num_bytes != self.manifest.num_bytes:
            raise ValueError(f"{files.planes.name} is not as long as it was")
        # An empty file cannot be mapped; a rank may have had no image.
        self.planes = np.memmap(files.planes, np.uint8, "r") if num_bytes else np.zeros(0, np.uint8)
        whole = (files.manifest, files.index, files.levels, files.planes)
        self.num_bytes = sum(path.stat().st_size for path in whole)


def pack_label(label: NDArray[np.uint8], *, is_spooled: bool = False) -> bytes:
    """A plane of classes: wide runs, for which PNG's filters do harm.

    For the spool in a quarter of the time, half as large again.
    """
    return zlib.compress(label.tobytes(), 1 if is_spooled else -1)


def unpack_label(packed: bytes) -> NDArray[np.uint8]:
    """uint8 (H·W,), read-only."""
    return np.frombuffer(zlib.decompress(packed), np.uint8)


def unpack_level(packed: bytes) -> NDArray[np.uint8]:
    """uint8 (H, W)."""
    # Not Image.open: it warns of, or refuses, large images that are our own.
    return np.asarray(PngImageFile(BytesIO(packed)))


def pack_level(plane: NDArray[np.uint8]) -> bytes:
    """A plane of levels, (H, W), as a PNG whose compressor looks for runs only.

    Searching further takes 3–20 times as long for the same size on these planes.
    """
    buffer = BytesIO()
    Image.fromarray(plane).save(buffer, "PNG", compress_type=zlib.Z_RLE)
    return buffer.getvalue()


def to_npy(array: NDArray[np.generic]) -> bytes:
    """The content of an `.npy` file."""
    buffer = BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def checksum(index: NDArray[np.void], levels: NDArray[np.float32]) -> int:
    """Of what a part holds besides its planes."""
    return zlib.crc32(levels.tobytes(), zlib.crc32(index.tobytes()))
