"""Image files: turning one into RGB pixels, unless it is damaged or too large.

Finding them is `finding`'s, what one means (class, part) the layouts'; augmentation is elsewhere.
"""

from __future__ import annotations

import io
import logging
import os
import re
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from dmt.errors import DataError

MAX_PIXELS = 100_000_000
"""A file that says it has more is refused unread: a decompression bomb, or a mistake.

More than cameras make but for the 102 million of medium format, and 300 MB as RGB for every thread
that decodes, about twice that while it does: what a machine that trains can bear.
"""

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".tga", ".avif"}
)
# Not every format Pillow knows: some of those start other programs (EPS runs Ghostscript).
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "TGA", "AVIF")
_PILLOWS_COUNT = re.compile(r"\((\d+) pixels\)")
_ORIENTATION_TAG = 0x0112
_ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def shown(name: str | Path) -> str:
    """`name` as it can stand in a one-line message: escaped if a character cannot be printed."""
    text = str(name)
    return text if text.isprintable() else ascii(text)


def is_image(name: str) -> bool:
    """Whether a file of this name is taken for an image: by its suffix, in any case."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def decode(path: str | Path, content: bytes | None = None) -> NDArray[np.uint8]:
    """Read one image file as RGB, upright.

    The EXIF orientation is applied, an animation gives its first frame, transparency is laid on
    white. 16-bit and 32-bit integer grey is scaled from 0…65535; floating-point grey from 0…1,
    0…255 or 0…65535, the smallest of these ranges that holds its greatest value.

    Args:
        path: of the file.
        content: what is in it, where that was read already, as from an archive; then `path` only
            names it.

    Returns:
        uint8 (H, W, 3), C-contiguous and writable.

    Raises:
        DataError: the file is missing, empty, no image, damaged or larger than `MAX_PIXELS`.
    """
    return np.array(_load(path, None, content))


def decode_square(path: str | Path, size: int, content: bytes | None = None) -> NDArray[np.uint8]:
    """Read one image file as `decode` does and fit it into a square as `fit_square` does.

    JPEG files are decoded at a reduced size where that is still at least twice `size`.

    Returns:
        uint8 (size, size, 3), C-contiguous and writable.

    Raises:
        DataError: as `decode`.
    """
    return np.array(_fit(_load(path, size, content), size))


def fit_square(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Cut out the central square and resize it (bicubic, antialiased).

    That is the short side resized to `size` and the centre cropped, without ever making the
    resized long side.

    Args:
        image: uint8 (H, W, 3).
        size: side of the result in pixels, at least 1.

    Returns:
        uint8 (size, size, 3), C-contiguous and writable, never `image` itself.
    """
    return np.array(_fit(Image.fromarray(image), size))


def _fit(image: Image.Image, size: int) -> Image.Image:
    assert size >= 1, size
    width, height = image.size
    side = min(width, height)
    # Whole pixels, so that an image whose short side fits already is cut and not blurred.
    left, top = (width - side) // 2, (height - side) // 2
    if width != height:
        image = image.crop((left, top, left + side, top + side))
    if side == size:
        return image
    # A gap of 3 is indistinguishable from none, and much faster for large reductions.
    return image.resize((size, size), Image.Resampling.BICUBIC, reducing_gap=3.0)


class _QuietPillow:
    """Hides Pillow's warnings (odd EXIF, large images) and its log while any thread is inside.

    `warnings.catch_warnings` changes the whole process: with one per thread, they would restore
    each other's filters. So the first one in sets them and the last one out takes them back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filters = warnings.catch_warnings()
        # Where a program has set up a log, it still gets there; else it would go to stderr.
        self._silence = logging.NullHandler()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
                logging.getLogger("PIL").addHandler(self._silence)
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._filters.__exit__(None, None, None)
                logging.getLogger("PIL").removeHandler(self._silence)


_quiet_pillow = _QuietPillow()


@contextmanager
def opened(path: str | Path, content: bytes | None = None) -> Iterator[ImageFile.ImageFile]:
    """The image file `path`, or `content`, with its header read and its pixels not yet decoded.

    Raises:
        DataError: as `decode`, whatever fails in opening it or inside the block.
    """
    Image.init()
    formats = [name for name in _FORMATS if name in Image.OPEN]
    try:
        if content is None:
            _refuse_endless(path)
        source = path if content is None else io.BytesIO(content)
        with _quiet_pillow, Image.open(source, formats=formats) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError(f"({image.width * image.height} pixels)")
            yield image
    except DataError:
        raise
    except Image.DecompressionBombError as error:  # Pillow's own, or that of just above
        told = _PILLOWS_COUNT.search(str(error))
        size = f"{int(told[1]) / 1e6:,.0f} million" if told else "too many"
        raise DataError(
            f"the image {shown(path)} has {size} pixels by its header, and more than "
            f"{MAX_PIXELS // 1_000_000} million pixels are not read: scale it down, cut it into "
            "pieces or remove it"
        ) from error
    except FileNotFoundError as error:
        raise DataError(f"there is no image {shown(path)}") from error
    except (IsADirectoryError, PermissionError) as error:
        raise DataError(f"the image {shown(path)} cannot be read: {error.strerror}") from error
    except Exception as error:  # decoders raise nearly every type there is on damaged bytes
        raise DataError(_why_unreadable(path, content, error)) from error


def _refuse_endless(path: str | Path) -> None:
    """Raise DataError for a pipe or a device: to open one may never end."""
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise DataError(f"{shown(path)} is no file but a pipe or a device: remove it")


def _load(path: str | Path, size: int | None, content: bytes | None = None) -> Image.Image:
    """The upright RGB image; with `size`, a JPEG may come reduced, to no less than twice that."""
    with opened(path, content) as image:
        if size is not None:
            image.draft(None, (2 * size, 2 * size))
        image.load()
        return turned(_to_rgb(image), orientation_of(image))


def _why_unreadable(path: str | Path, content: bytes | None, error: Exception) -> str:
    is_file = content is None and os.path.isfile(path)
    if content == b"" or (is_file and os.path.getsize(path) == 0):
        return f"the image {shown(path)} is empty (0 bytes): replace or remove it"
    if isinstance(error, UnidentifiedImageError):
        return f"{shown(path)} is not an image that can be read here: replace or remove it"
    return f"the image {shown(path)} is truncated or damaged: replace or remove it"


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_grey_to_uint8(np.asarray(image))).convert("RGB")
    palette = image.palette.mode if image.mode == "P" and image.palette else ""
    if "transparency" in image.info or image.mode[-1] in "Aa" or palette.endswith("A"):
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _grey_to_uint8(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Deep grey to 0…255; which range it is taken from is told in `decode`."""
    full = 65535.0
    grey = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=full, neginf=0.0)
    if values.dtype.kind == "f":
        greatest = float(grey.max())
        full = 1.0 if greatest <= 1 else 255.0 if greatest <= 255 else full
    scaled: NDArray[np.uint8] = (grey.clip(0, full) * (255 / full)).round().astype(np.uint8)
    return scaled


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation of an opened image: 1 (upright, also where it says nothing) to 8."""
    try:
        # Not the PNG reader's own method: that one decodes all pixels to look behind them.
        orientation = Image.Image.getexif(image).get(_ORIENTATION_TAG)
    except Exception:  # damaged EXIF data must not cost us an image that is whole
        return 1
    if isinstance(orientation, int) and orientation in _ORIENTATIONS:
        return orientation
    return 1


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """`image` made upright, given the orientation (1…8) that its file tells."""
    return image if orientation == 1 else image.transpose(_ORIENTATIONS[orientation])
