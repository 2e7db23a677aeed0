"""Segmentations as pictures: colours, index PNGs, overlays, maps. Arrays in, PNG bytes out.

No file is read or written here, and nothing is predicted.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_LEFT_OUT = 255
_BORDER_COLOR = (255, 255, 255)
_LEAST_SIDE_WITH_LINES = 100  # on smaller pictures the lines would hide what they surround
_PIXELS_A_LINE = 500  # they are a pixel thicker for every so many pixels of the longer side
# Areas of one class press well at once; a photograph hardly does, however long one tries.
_COMPRESSION, _PHOTO_COMPRESSION = 6, 1


def palette(num_classes: int) -> NDArray[np.uint8]:
    """The colours of PASCAL VOC: class 0 is black, and each class has a colour of its own.

    The bits of a class's number are dealt out to red, green and blue in turn, the lowest ones to
    their highest bits, so that the first classes are far apart.

    Args:
        num_classes: K, at most 255.

    Returns:
        uint8 (K, 3), RGB.
    """
    assert 1 <= num_classes <= _LEFT_OUT, num_classes
    return _colors(np.arange(num_classes))


def hex_colors(num_classes: int) -> list[str]:
    """The same as a page names them: `#rrggbb`."""
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in palette(num_classes).tolist()]


def index_png(label: NDArray[np.uint8], colors: NDArray[np.uint8]) -> bytes:
    """A PNG whose values are the class numbers, shown in colours: it can serve as a mask.

    Args:
        label: uint8 (H, W), classes and 255.
        colors: uint8 (K, 3), RGB; 255 becomes a light (224, 224, 192).
    """
    assert label.dtype == np.uint8, label.dtype
    image = Image.fromarray(label)
    # All 256 colours, also where there are fewer classes: 8 bits a pixel for any reader.
    image.putpalette(_all_colors(colors).tobytes())
    return _png(image, _COMPRESSION)


def overlay_png(
    image: NDArray[np.uint8],
    label: NDArray[np.uint8],
    colors: NDArray[np.uint8],
    strength: float = 0.5,
) -> bytes:
    """The photograph tinted by class, with white lines where one class meets another.

    Pixels left out (255) keep the photograph's own colours; small pictures have no lines.

    Args:
        image: uint8 (H, W, 3), RGB.
        label: uint8 (H, W), classes and 255.
        colors: uint8 (K, 3), RGB.
        strength: 0 (the photograph) to 1 (the colours alone).
    """
    assert image.shape == (*label.shape, 3), (image.shape, label.shape)
    assert 0 <= strength <= 1, strength
    share = round(256 * strength)  # of 256: a large photograph never becomes floats
    kept = np.full(256, 256 - share, dtype=np.uint16)
    tint = _all_colors(colors).astype(np.uint16) * np.uint16(share)
    kept[_LEFT_OUT], tint[_LEFT_OUT] = 256, 0
    tinted = np.empty(image.shape, dtype=np.uint8)
    for channel in range(3):
        tinted[:, :, channel] = (image[:, :, channel] * kept[label] + tint[label, channel]) >> 8
    if max(label.shape) >= _LEAST_SIDE_WITH_LINES:
        tinted[_borders(label, 1 + max(label.shape) // _PIXELS_A_LINE)] = _BORDER_COLOR
    return _png(Image.fromarray(tinted), _PHOTO_COMPRESSION)


def map_png(values: NDArray[Any]) -> bytes:
    """A grey PNG of values from 0 (black) to 1 (white); what lies beyond is cut off.

    Args:
        values: float (H, W).
    """
    grey = np.rint(values.clip(0, 1) * 255).astype(np.uint8)
    return _png(Image.fromarray(grey), _COMPRESSION)


def _borders(label: NDArray[np.uint8], thickness: int) -> NDArray[np.bool_]:
    """Lines of `thickness` pixels around the places where a class ends: bool (H, W)."""
    lines = np.zeros(label.shape, dtype=np.bool_)
    for classes, marked in ((label, lines), (label.T, lines.T)):
        length = max(0, len(classes) - thickness)
        start = (thickness - 1) // 2
        marked[start : start + length] |= classes[:length] != classes[len(classes) - length :]
    return lines


def _colors(classes: NDArray[np.int64]) -> NDArray[np.uint8]:
    colors = np.zeros((len(classes), 3), dtype=np.uint8)
    for bit in range(8):
        turn, channel = divmod(bit, 3)
        colors[:, channel] |= ((classes >> bit & 1) << (7 - turn)).astype(np.uint8)
    return colors


def _all_colors(colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`colors` followed by those of the values up to 255: uint8 (256, 3)."""
    every = _colors(np.arange(256))
    every[: len(colors)] = colors
    return every


def _png(image: Image.Image, compression: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=compression)
    return stream.getvalue()
