"""Areas of an image as numbers: COCO's runs and polygons, Label Studio's brush. No file is read.

Both formats are others' and are written here to their description, so that none of the libraries
that read them is needed; tests hold them against `pycocotools` and `label-studio-converter`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_CHANNELS = 4  # a brush is an RGBA picture, every channel alike
_BRUSH_SIZES = (3, 4, 8, 16)  # bits that the length of a run may take
_BITS_A_LETTER, _FIRST_LETTER = 5, 48
_FARTHEST = 1e6  # pixels
_MOST_LETTERS = 13  # of one number: 65 bits


def coco_runs(area: NDArray[np.bool_]) -> list[int]:
    """Lengths of runs outside and inside in turn, column by column, outside first.

    Args:
        area: bool (H, W).
    """
    runs: list[int] = _lengths(area.ravel(order="F")).tolist()
    return runs


def from_coco_runs(counts: Sequence[int] | str, height: int, width: int) -> NDArray[np.bool_]:
    """The area (bool, (H, W)) of `coco_runs`, or of their compressed form as a text.

    Raises:
        ValueError: they are no runs of so many pixels.
    """
    lengths = np.array(_uncompressed(counts) if isinstance(counts, str) else counts)
    if lengths.dtype.kind not in "iu" or lengths.ndim != 1 or (lengths < 0).any():
        raise ValueError("its runs are no whole numbers from 0 on")
    # Each is looked at first: a sum of large ones could wrap around to the right number.
    if (lengths > height * width).any() or int(lengths.sum()) != height * width:
        raise ValueError(f"its runs are not those of {width}×{height} pixels (width × height)")
    inside = np.arange(len(lengths)) % 2 == 1
    return np.repeat(inside, lengths).reshape((height, width), order="F")


def from_polygon(points: Sequence[float], height: int, width: int) -> NDArray[np.bool_]:
    """The pixels (bool, (H, W)) whose middle lies in a polygon, by the even-odd rule.

    Args:
        points: x and y in turn, in pixels from the upper left corner.

    Raises:
        ValueError: fewer than three points, or numbers that are none.
    """
    at = np.array(points)
    if at.dtype.kind not in "iuf" or at.ndim != 1 or len(at) < 6 or len(at) % 2:
        raise ValueError("a polygon of it is no list of at least three x, y")
    if not np.isfinite(at).all() or np.abs(at).max() > _FARTHEST:
        raise ValueError("a polygon of it lies outside of the image")
    corners = at.astype(np.float64).reshape(-1, 2)
    flips = np.zeros((height, width + 1), dtype=np.int64)
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        low, high = sorted((y1, y2))
        rows = np.arange(max(0, math.ceil(low - 0.5)), min(height, math.ceil(high - 0.5)))
        if len(rows):  # where the edge crosses the middle of a row, all to the right change sides
            crossing = x1 + (rows + 0.5 - y1) * (x2 - x1) / (y2 - y1)
            flips[rows, np.ceil(crossing - 0.5).clip(0, width).astype(np.int64)] += 1
    inside: NDArray[np.bool_] = flips.cumsum(axis=1)[:, :width] % 2 == 1
    return inside


def brush_runs(area: NDArray[np.bool_]) -> list[int]:
    """The bytes of a brush region of Label Studio.

    They are a stream of bits: the number of values (32), the bits of a value less one (5), the
    bits of four kinds of lengths less one (4 each), and packets: 1, the kind of length (2), the
    length less one, the value.

    Args:
        area: bool (H, W).
    """
    values = _lengths(area.ravel()) * _CHANNELS
    head = [f"{area.size * _CHANNELS:032b}", f"{7:05b}"]
    head += [f"{size - 1:04b}" for size in _BRUSH_SIZES]
    bits, most = head, 1 << _BRUSH_SIZES[-1]
    for turn, length in enumerate(values.tolist()):
        value = "1" * 8 if turn % 2 else "0" * 8
        while length > 0:
            part = min(length, most)
            kind = next(i for i, size in enumerate(_BRUSH_SIZES) if part - 1 < 1 << size)
            bits.append(f"1{kind:02b}{part - 1:0{_BRUSH_SIZES[kind]}b}{value}")
            length -= part
    flags = np.frombuffer("".join(bits).encode(), dtype=np.uint8) - ord("0")
    return np.packbits(flags).tolist()


def from_brush_runs(rle: Sequence[int], height: int, width: int) -> NDArray[np.bool_]:
    """The area (bool, (H, W)) of `brush_runs`: where the last channel is not 0.

    Raises:
        ValueError: they are no brush over so many pixels.
    """
    stored = np.array(rle)
    if stored.dtype.kind not in "iu" or stored.ndim != 1 or (stored < 0).any():
        raise ValueError("its brush is no list of bytes")
    if not stored.size or stored.max() > 255:
        raise ValueError("its brush is no list of bytes")
    bits = (np.unpackbits(stored.astype(np.uint8)) + ord("0")).tobytes().decode("ascii")
    at = 0

    def take(num: int) -> int:
        nonlocal at
        if at + num > len(bits):
            raise ValueError("its brush is cut short")
        at += num
        return int(bits[at - num : at], 2)

    total, value_bits = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    if total != height * width * _CHANNELS:
        raise ValueError(f"its brush is not one of {width}×{height} pixels (width × height)")
    values = np.zeros(total, dtype=np.bool_)
    done = 0
    while done < total:
        is_run = take(1)
        stop = done + take(sizes[take(2)]) + 1
        if is_run:
            values[done:stop] = take(value_bits) != 0
        else:
            for place in range(done, min(stop, total)):
                values[place] = take(value_bits) != 0
        done = stop
    return values.reshape(height, width, _CHANNELS)[:, :, -1]


def _lengths(values: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How long runs of False and True are, in turn; the first is of False and may be 0."""
    ends = np.flatnonzero(np.diff(values)) + 1
    starts = [0, 0] if len(values) and values[0] else [0]
    return np.diff(np.concatenate([starts, ends, [len(values)]])).astype(np.int64)


def _uncompressed(text: str) -> list[int]:
    """COCO's letters: five bits each from the lowest, a sixth says whether more come.

    From the third on a number is the difference to the one before the last.
    """
    found: list[int] = []
    value = num = 0
    for letter in text:
        code = ord(letter) - _FIRST_LETTER
        if not 0 <= code < 1 << (_BITS_A_LETTER + 1) or num >= _MOST_LETTERS:
            raise ValueError("its runs are no compressed runs of COCO")
        value |= (code & 31) << (_BITS_A_LETTER * num)
        num += 1
        if code & 32:
            continue
        if code & 16:  # the highest bit is the sign
            value -= 1 << (_BITS_A_LETTER * num)
        found.append(value + (found[-2] if len(found) > 2 else 0))
        value = num = 0
    if num:
        raise ValueError("its runs are cut short")
    return found
