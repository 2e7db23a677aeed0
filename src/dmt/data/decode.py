"""Image files: finding them below a folder and turning one into RGB pixels.

What an image means (class, part) is the layouts' business; augmentation is elsewhere.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from dmt.errors import DataError

MAX_PIXELS = 100_000_000
"""A file that says it has more is refused unread: a decompression bomb, or a mistake."""

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".tga", ".avif"}
)
# Not every format Pillow knows: some of those start other programs (EPS runs Ghostscript).
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "TGA", "AVIF")
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


@dataclass(frozen=True)
class Listing:
    """What lies below a folder, hidden names left out; relative POSIX paths, sorted.

    Attributes:
        images: files with a suffix in `IMAGE_SUFFIXES`.
        others: every other file.
        folders: every folder, empty ones too.
    """

    images: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)


def shown(name: str | Path) -> str:
    """`name` as it can stand in a one-line message: escaped if a character cannot be printed."""
    text = str(name)
    return text if text.isprintable() else ascii(text)


def is_image(name: str) -> bool:
    """Whether a file of this name is taken for an image: by its suffix, in any case."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def image_paths(folder: str | Path, root: str | Path | None = None) -> list[str]:
    """The images below `folder`, at any depth.

    Args:
        folder: where to look.
        root: what the paths are relative to, and what no link may leave (default: `folder`).

    Returns:
        Relative POSIX paths, sorted.

    Raises:
        DataError: as `walk`.
    """
    return walk(folder, root).images


def walk(folder: str | Path, root: str | Path | None = None) -> Listing:
    """List all files and folders below `folder`, by suffix alone: no file is opened.

    Args:
        folder: where to look.
        root: what the paths are relative to, and what no link may leave (default: `folder`).

    Returns:
        The listing. Links to folders inside `root` are followed.

    Raises:
        DataError: a folder cannot be read, a link leaves `root` or leads into a circle, or a
            name is not valid UTF-8.
    """
    top = Path(folder)
    base = top if root is None else Path(root)
    real_root, real_top = os.path.realpath(base), os.path.realpath(top)
    _refuse_outside(top, real_top, real_root)
    prefix = "" if top == base else top.relative_to(base).as_posix() + "/"
    found = Listing()
    stack: list[tuple[str, str, tuple[str, ...]]] = [(str(top), prefix, (real_top,))]
    while stack:
        location, prefix, ancestors = stack.pop()
        try:
            with os.scandir(location) as entries:
                for entry in entries:
                    if not entry.name.startswith("."):
                        _sort_in(entry, prefix, ancestors, real_root, found, stack)
        except OSError as error:
            raise DataError(
                f"the folder {shown(location)} cannot be read ({error.strerror}): "
                "check that it exists and that you may read it"
            ) from error
    for names in (found.images, found.others, found.folders):
        names.sort()
    return found


def _sort_in(
    entry: os.DirEntry[str],
    prefix: str,
    ancestors: tuple[str, ...],
    real_root: str,
    found: Listing,
    stack: list[tuple[str, str, tuple[str, ...]]],
) -> None:
    name = entry.name
    relative = prefix + name
    if not name.isascii():
        _refuse_bad_name(relative)
    is_link, is_folder = entry.is_symlink(), entry.is_dir()
    has_suffix = not is_folder and is_image(name)
    real = ""
    if is_link and (is_folder or has_suffix):
        real = os.path.realpath(entry.path)
        _refuse_outside(Path(entry.path), real, real_root)
        if real in ancestors:
            raise DataError(
                f"the link {shown(entry.path)} leads back to a folder that holds it: remove it"
            )
    if is_folder:
        found.folders.append(relative)
        real = real or os.path.join(ancestors[-1], name)
        stack.append((entry.path, relative + "/", (*ancestors, real)))
    elif has_suffix and entry.is_file():
        found.images.append(relative)
    elif has_suffix and is_link:
        raise DataError(
            f"the link {shown(entry.path)} leads to no file: remove it or restore its target"
        )
    else:
        found.others.append(relative)


def _refuse_outside(path: Path, real: str, real_root: str) -> None:
    if real != real_root and not real.startswith(real_root.rstrip(os.sep) + os.sep):
        raise DataError(
            f"the link {shown(path)} leaves the data folder (it leads to {shown(real)}): "
            "put the files themselves there"
        )


def _refuse_bad_name(path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError:
        raise DataError(f"the file name {path!a} is not valid UTF-8: rename it") from None


def decode(path: str | Path) -> NDArray[np.uint8]:
    """Read one image file as RGB, upright.

    The EXIF orientation is applied, an animation gives its first frame, transparency is laid on
    white. 16-bit and 32-bit integer grey is scaled from 0…65535; floating-point grey from 0…1,
    0…255 or 0…65535, the smallest of these ranges that holds its greatest value.

    Returns:
        uint8 (H, W, 3), C-contiguous and writable.

    Raises:
        DataError: the file is missing, empty, no image, damaged or larger than `MAX_PIXELS`.
    """
    return np.array(_load(path, None))


def decode_square(path: str | Path, size: int) -> NDArray[np.uint8]:
    """Read one image file as `decode` does and fit it into a square as `fit_square` does.

    JPEG files are decoded at a reduced size where that is still at least twice `size`.

    Returns:
        uint8 (size, size, 3), C-contiguous and writable.

    Raises:
        DataError: as `decode`.
    """
    return np.array(_fit(_load(path, size), size))


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
    """Hides Pillow's warnings (odd EXIF, large images) while any thread is inside.

    `warnings.catch_warnings` changes the whole process: with one per thread, they would restore
    each other's filters. So the first one in sets them and the last one out takes them back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._filters.__exit__(None, None, None)


_quiet_pillow = _QuietPillow()


@contextmanager
def opened(path: str | Path) -> Iterator[ImageFile.ImageFile]:
    """The image file `path` with its header read and its pixels not yet decoded.

    Raises:
        DataError: as `decode`, whatever fails in opening it or inside the block.
    """
    Image.init()
    formats = [name for name in _FORMATS if name in Image.OPEN]
    try:
        with _quiet_pillow, Image.open(path, formats=formats) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            yield image
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(
            f"the image {shown(path)} has more than {MAX_PIXELS // 1_000_000} million pixels: "
            "make it smaller or remove it"
        ) from error
    except FileNotFoundError as error:
        raise DataError(f"there is no image {shown(path)}") from error
    except (IsADirectoryError, PermissionError) as error:
        raise DataError(f"the image {shown(path)} cannot be read: {error.strerror}") from error
    except Exception as error:  # decoders raise nearly every type there is on damaged bytes
        raise DataError(_why_unreadable(path, error)) from error


def _load(path: str | Path, size: int | None) -> Image.Image:
    """The upright RGB image; with `size`, a JPEG may come reduced, to no less than twice that."""
    with opened(path) as image:
        if size is not None:
            image.draft(None, (2 * size, 2 * size))
        image.load()
        return turned(_to_rgb(image), orientation_of(image))


def _why_unreadable(path: str | Path, error: Exception) -> str:
    if os.path.isfile(path) and os.path.getsize(path) == 0:
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
