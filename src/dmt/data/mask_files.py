"""One mask file: its values as they are stored, and how a coding turns them into classes.

Which masks a set has, and where, is told by a catalog and read in `masks`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dmt.core import IGNORE_INDEX
from dmt.data.decode import opened, orientation_of, shown, turned
from dmt.data.headers import Header
from dmt.errors import DataError

MAX_CLASSES = IGNORE_INDEX
WRONG = -1
"""In `Coding.values`: no class has this value, though values after it are right."""

Color = tuple[int, int, int]
Value = tuple[int, ...]
"""What a mask file holds in one pixel: (value,) or (red, green, blue)."""

_NUM_BYTES = 256
_DEEP_IGNORED = 65535  # −1 in 16 bits, as 255 is −1 in 8
_NUM_SHOWN = 20
# Not GIF: those who write it reorder its palette, and with it the values.
_EXACT = ("PNG", "TIFF", "BMP", "PPM", "TGA")
_INDEX_MODES = ("L", "P", "LA", "PA", "1", "I")
# A PNG of few bits comes scaled to 0…255, as is right for grey; an index is what was stored.
_SCALED = {"L;2": 85, "L;4": 17}


@dataclass(frozen=True)
class Coding:
    """How the values in mask files become classes 0 … K−1 and 255 for pixels left out.

    Attributes:
        num_classes: K, at most 255.
        values: class, 255 or `WRONG` of every file value from 0 on; values beyond it are wrong,
            but for 255. None: a value is its class and 255 is left out.
        colors: RGB of every class, for masks that are colour pictures; None for index masks.
        void_colors: RGB of pixels left out, in masks that are colour pictures.
        listed_in: the file that names the classes, as errors are to call it; empty where the
            layout knows them.
    """

    num_classes: int
    values: tuple[int, ...] | None = None
    colors: tuple[Color, ...] | None = None
    void_colors: tuple[Color, ...] = ()
    listed_in: str = ""

    def __post_init__(self) -> None:
        assert 1 <= self.num_classes <= MAX_CLASSES
        assert self.values is None or len(self.values) <= _NUM_BYTES
        assert self.colors is None or len(self.colors) == self.num_classes


class RawMask(NamedTuple):
    """What a mask file holds, not yet turned upright.

    Attributes:
        values: (H, W) uint8 or int64 indices, or uint8 (H, W, 3) colours.
        orientation: EXIF's, of the mask file itself.
    """

    values: NDArray[np.integer]
    orientation: int


class DecodedMask(NamedTuple):
    """A mask as classes, upright.

    Attributes:
        classes: uint8 (H, W): a class, or 255; 255 also where the value is wrong.
        wrong: the values that are none of the coding's.
        counts: int64 (256,), pixels of each class; at 255 those left out or wrong.
    """

    classes: NDArray[np.uint8]
    wrong: frozenset[Value]
    counts: NDArray[np.int64]


class WrongSizeError(DataError):
    """A mask that is not of its image's size.

    Attributes:
        sizes: both, in a few words.
    """

    def __init__(self, message: str, sizes: str) -> None:
        super().__init__(message)
        self.sizes = sizes


def read_raw(path: str | Path, has_colors: bool) -> RawMask:
    """Read a mask file as it is stored.

    Args:
        path: of a lossless format. An RGB file whose channels are equal everywhere is an index
            mask where there are no colours. 65535 in a file of 16 bits is 255.
        has_colors: whether colour pictures can be understood.

    Raises:
        DataError: the file is unreadable, of a format that may alter values, floating-point, or
            a colour picture though there are no colours.
    """
    with opened(path) as image:
        if image.format not in _EXACT:
            raise DataError(
                f"the mask {shown(path)} is a {image.format} file, a format that may alter "
                "values: save masks as PNG"
            )
        scale = _SCALED.get(str(image.tile[0][3]), 1) if image.tile else 1
        image.load()
        orientation = orientation_of(image)
        if image.mode in _INDEX_MODES or image.mode.startswith("I;"):
            indices = _indices(image)
            return RawMask(indices if scale == 1 else indices // np.uint8(scale), orientation)
        if image.mode.startswith("F"):
            raise DataError(
                f"the mask {shown(path)} holds floating-point values: save masks as PNG"
            )
        colors = np.asarray(image.convert("RGB"))
    if has_colors:
        return RawMask(colors, orientation)
    if (colors != colors[..., :1]).any():
        raise DataError(
            f"the mask {shown(path)} is a colour picture: give every class its colour in "
            'classes.txt ("road 128 64 128"), or save masks as index PNG'
        )
    return RawMask(colors[..., 0], orientation)


def _indices(image: Image.Image) -> NDArray[np.integer]:
    values: NDArray[np.integer] = np.asarray(
        image.getchannel(0) if image.mode in ("LA", "PA") else image
    )
    if values.dtype == np.bool_:
        return values.astype(np.uint8)
    if values.dtype == np.uint8:
        return values.view(np.uint8)
    deep = values.astype(np.int64)
    deep[deep == _DEEP_IGNORED] = IGNORE_INDEX
    return deep


def decode_mask(path: str | Path, coding: Coding, header: Header) -> DecodedMask:
    """Read a mask file as classes, upright as its image is.

    The mask file's own EXIF orientation is applied. Where the mask then has the size of the
    image's stored pixels and not that of the upright image, the image's is applied too.

    Args:
        path: of the mask.
        coding: how values become classes.
        header: of its image.

    Raises:
        WrongSizeError: the mask is not of the size of its image.
        DataError: as `read_raw`.
    """
    raw = read_raw(path, coding.colors is not None)
    height, width = raw.values.shape[:2]
    if raw.orientation >= 5:
        height, width = width, height
    turn = 1
    if (height, width) != (header.height, header.width):
        if (height, width) != (header.stored_height, header.stored_width):
            raise WrongSizeError(
                f"the mask {shown(path)} is {width}×{height} pixels (width × height) and its "
                f"image {header.width}×{header.height}: a mask needs the size of its image",
                f"{width}×{height} instead of {header.width}×{header.height}",
            )
        turn = header.orientation
    decode = _decode_colors if raw.values.ndim == 3 else _decode_indices
    decoded = decode(raw.values, coding)
    if raw.orientation != 1 or turn != 1:
        picture = turned(Image.fromarray(decoded.classes), raw.orientation)
        return decoded._replace(classes=np.array(turned(picture, turn)))
    return decoded


def count_pixels(classes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How many of `classes` (uint8, (H, W)) have each value: int64 (256,)."""
    # Pillow's histogram takes bytes as they are; numpy's would make them 64-bit integers first.
    return np.array(Image.fromarray(classes).histogram(), dtype=np.int64)


def _decode_indices(values: NDArray[np.integer], coding: Coding) -> DecodedMask:
    wrong: set[int] = set()
    if values.dtype != np.uint8:
        is_byte = (values >= 0) & (values < _NUM_BYTES)
        wrong.update(np.unique(values[~is_byte]).tolist())
        values = np.where(is_byte, values, IGNORE_INDEX)
    indices = values.astype(np.uint8)
    counts = count_pixels(indices)
    table = np.full(_NUM_BYTES, WRONG, dtype=np.int64)
    table[IGNORE_INDEX] = IGNORE_INDEX
    known = range(coding.num_classes) if coding.values is None else coding.values
    table[: len(known)] = known
    wrong.update(np.flatnonzero((counts > 0) & (table == WRONG)).tolist())
    if coding.values is None and not wrong:
        return DecodedMask(indices, frozenset(), counts)
    table[table == WRONG] = IGNORE_INDEX
    of_class = np.zeros_like(counts)
    np.add.at(of_class, table, counts)
    classes = np.take(table.astype(np.uint8), indices)
    return DecodedMask(classes, frozenset((value,) for value in wrong), of_class)


def _decode_colors(values: NDArray[np.integer], coding: Coding) -> DecodedMask:
    assert coding.colors is not None
    known = np.array([*coding.colors, *coding.void_colors], dtype=np.int64) @ (1 << 16, 1 << 8, 1)
    classes = np.full(len(known), IGNORE_INDEX, dtype=np.uint8)
    classes[: coding.num_classes] = np.arange(coding.num_classes)
    order = np.argsort(known)
    wide = values.astype(np.int32)
    codes = (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]
    sorted_codes = known[order].astype(np.int32)
    place = np.searchsorted(sorted_codes, codes).clip(max=len(known) - 1)
    is_known = sorted_codes[place] == codes
    decoded = classes[order][place]
    wrong: list[int] = []
    if not is_known.all():
        decoded[~is_known] = IGNORE_INDEX
        wrong = np.unique(codes[~is_known]).tolist()
    named = frozenset((code >> 16, code >> 8 & 255, code & 255) for code in wrong)
    return DecodedMask(decoded, named, count_pixels(decoded))


def wrong_values(coding: Coding, wrong: Iterable[Value], files: str) -> DataError:
    """The error that names the values which are none of the classes'.

    Args:
        coding: what the values should have been.
        wrong: values found, not empty.
        files: where, as the sentence is to call it.
    """
    ordered = sorted(wrong, key=lambda value: (len(value), value))
    named = [
        f"#{value[0]:02x}{value[1]:02x}{value[2]:02x}" if len(value) == 3 else str(value[0])
        for value in ordered[:_NUM_SHOWN]
    ]
    more = f" and {len(ordered) - _NUM_SHOWN} more" if len(ordered) > _NUM_SHOWN else ""
    noun = "colour" if len(ordered[0]) == 3 else "value"
    plural = "" if len(ordered) == 1 else "s"
    found = f"masks hold the {noun}{plural} {', '.join(named)}{more}, for example in {files}"
    last = coding.num_classes - 1
    if coding.listed_in:
        return DataError(
            f"{coding.listed_in} names {last + 1} classes but {found}: name all classes there, "
            "or mend the masks (255 marks pixels to leave out)"
        )
    return DataError(
        f"{found}: that is none of the {last + 1} classes, so mend the masks "
        "(255 marks pixels to leave out)"
    )
