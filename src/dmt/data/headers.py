"""Sizes and orientation of image files, read from their headers; no pixel is decoded here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from dmt.data.decode import opened, orientation_of

_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_PNG_SIGNATURE_BYTES = 8
_SAYS_ORIENTATION = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")  # texts may carry EXIF data or XMP


class Header(NamedTuple):
    """What a file says of its image; sizes in pixels.

    Attributes:
        height: of the image made upright, as `decode` returns it.
        width: likewise.
        stored_height: of the pixels as they lie in the file.
        stored_width: likewise.
        orientation: EXIF's, 1 (stored upright) to 8.
    """

    height: int
    width: int
    stored_height: int
    stored_width: int
    orientation: int


def read_header(path: str | Path) -> Header:
    """The sizes and the orientation of an image file.

    Raises:
        DataError: the file is missing, empty, no image or larger than `decode.MAX_PIXELS`;
            damaged pixels are not noticed.
    """
    with opened(path) as image:
        if image.format == "PNG" and _speaks_after_pixels(path):
            image.load()
        orientation = orientation_of(image)
        width, height = _stored_size(image)
    if orientation >= 5:
        return Header(width, height, height, width, orientation)
    return Header(height, width, height, width, orientation)


def _stored_size(image: Image.Image) -> tuple[int, int]:
    if image.format == "TIFF":  # of these files Pillow tells the upright size, in some versions
        tags = image.tag_v2  # type: ignore[attr-defined]
        return int(tags[_TIFF_WIDTH]), int(tags[_TIFF_HEIGHT])
    return image.size


def _speaks_after_pixels(path: str | Path) -> bool:
    """Whether a PNG may tell its orientation behind its pixels, which is legal but rare."""
    has_pixels = False
    with open(path, "rb") as file:
        file.seek(_PNG_SIGNATURE_BYTES)
        while len(head := file.read(8)) == 8:
            kind = head[4:]
            if kind == b"IDAT":
                has_pixels = True
            elif has_pixels and kind in _SAYS_ORIENTATION:
                return True
            file.seek(int.from_bytes(head[:4], "big") + 4, os.SEEK_CUR)
    return False
