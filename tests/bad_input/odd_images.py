"""Image files of every kind: those that are to be read, with their pixels, and those that are not.

No tests here: what the command says to these files is in `test_bad_images`.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
_HEIGHT, _WIDTH = 20, 28
_ORIENTATION = 0x0112


def _photo() -> Pixels:
    y, x = np.mgrid[:_HEIGHT, :_WIDTH]
    return np.stack([9 * x, 12 * y, 5 * (x + y)], axis=2).astype(np.uint8)


def _grey() -> Pixels:
    return np.ascontiguousarray(_photo()[..., 0])


class Odd(NamedTuple):
    """A file that is to be read.

    Attributes:
        name: of the file, its suffix included.
        content: its bytes.
        pixels: uint8 (H, W, 3) that it shows; None where the format is lossy.
    """

    name: str
    content: bytes
    pixels: Pixels | None


class Bad(NamedTuple):
    """A file that cannot be read.

    Attributes:
        name: of the file, its suffix included.
        content: its bytes.
        why: what the sentence says of it.
    """

    name: str
    content: bytes
    why: str


def written(image: Image.Image | Pixels | NDArray[Any], kind: str, **options: Any) -> bytes:
    """The bytes of an image file of a format."""
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _rgb(grey: Pixels) -> Pixels:
    return np.repeat(grey[..., None], 3, axis=2)


def _on_white(color: NDArray[Any], alpha: NDArray[Any]) -> Pixels:
    share = alpha[..., None] / 255
    return np.rint(color * share + 255 * (1 - share)).astype(np.uint8)


_TURNS: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: lambda p: np.rot90(p),
}


def _turned(kind: str, suffix: str) -> list[Odd]:
    """A photo in each of the eight EXIF orientations, and how it is to be seen."""
    found = []
    for orientation, turn in _TURNS.items():
        exif = Image.Exif()
        exif[_ORIENTATION] = orientation
        pixels = None if kind == "JPEG" else turn(_photo())
        found.append(
            Odd(f"turned {orientation}.{suffix}", written(_photo(), kind, exif=exif), pixels)
        )
    return found


def _with_alpha() -> list[Odd]:
    alpha = np.full((_HEIGHT, _WIDTH), 255, dtype=np.uint8)
    alpha[:, :9], alpha[:, 9:14] = 0, 51
    rgba = np.dstack([_photo(), alpha])
    white = _on_white(_photo(), alpha)
    grey = Image.merge("LA", [Image.fromarray(_grey()), Image.fromarray(alpha)])
    # Every index is a level of red; index 3 is see-through.
    indices = (_grey() // 32).astype(np.uint8)
    palette = Image.fromarray(indices)
    palette.putpalette([channel for level in range(8) for channel in (30 * level, 9, 7)])
    of_palette = np.stack([30 * indices, np.full_like(indices, 9), np.full_like(indices, 7)], 2)
    holes = of_palette.copy()
    holes[indices == 3] = 255
    return [
        Odd("rgba.png", written(rgba, "PNG"), white),
        Odd("rgba.webp", written(rgba, "WEBP", lossless=True, exact=True), white),
        Odd("rgba.tif", written(rgba, "TIFF"), white),
        Odd("grey and alpha.png", written(grey, "PNG"), _on_white(_rgb(_grey()), alpha)),
        Odd("palette.png", written(palette, "PNG"), of_palette),
        Odd("palette.gif", written(palette, "GIF"), of_palette),
        Odd("palette.bmp", written(palette, "BMP"), of_palette),
        Odd("palette with a hole.png", written(palette, "PNG", transparency=3), holes),
        Odd("palette with a hole.gif", written(palette, "GIF", transparency=3), holes),
    ]


def _of_many_bits() -> list[Odd]:
    grey = _grey()
    exact = _rgb(grey)
    deep = grey.astype(np.uint16) * 257
    is_light = grey > 100
    return [
        Odd("grey.png", written(grey, "PNG"), exact),
        Odd("grey.jpg", written(grey, "JPEG"), None),
        Odd("16 bits.png", written(deep, "PNG"), exact),
        Odd("16 bits.tif", written(deep, "TIFF"), exact),
        Odd("32 bits.tif", written(deep.astype(np.int32), "TIFF"), exact),
        Odd("16 bits a colour.png", _deep_png(), _photo()),
        Odd("float to 1.tif", written((grey / 255).astype(np.float32), "TIFF"), exact),
        Odd("float to 255.tif", written(grey.astype(np.float32), "TIFF"), exact),
        Odd("1 bit.png", written(is_light, "PNG"), _rgb(is_light.astype(np.uint8) * 255)),
        Odd("1 bit.tif", written(is_light, "TIFF"), _rgb(is_light.astype(np.uint8) * 255)),
        Odd("1 bit.pbm", written(is_light, "PPM"), _rgb(is_light.astype(np.uint8) * 255)),
    ]


def _frames(kind: str, first: Pixels | None = None, **options: Any) -> bytes:
    """A file of three pictures, of which the first one counts."""
    photo = _photo()
    # Made anew for every file: a picture that was saved remembers the format's settings.
    others = [Image.fromarray(255 - photo), Image.fromarray(photo[::-1].copy())]
    whole = photo if first is None else first
    return written(whole, kind, save_all=True, append_images=others, **options)


def _of_many_formats() -> list[Odd]:
    photo = _photo()
    cmyk = Image.fromarray(photo).convert("CMYK")
    return [
        Odd("cmyk.jpg", written(cmyk, "JPEG"), None),
        Odd("cmyk.tif", written(cmyk, "TIFF"), photo),
        Odd("lab.tif", written(Image.new("LAB", (28, 20), (150, 20, 240)), "TIFF"), None),
        Odd("progressive.jpg", written(photo, "JPEG", progressive=True), None),
        Odd("two frames.mpo.jpg", _frames("MPO"), None),
        Odd("photo.bmp", written(photo, "BMP"), photo),
        Odd("photo.ppm", written(photo, "PPM"), photo),
        Odd("photo.tga", written(photo, "TGA"), photo),
        Odd("packed.tif", written(photo, "TIFF", compression="tiff_lzw"), photo),
        Odd("pages.tif", _frames("TIFF"), photo),
        Odd("photo.jp2", written(photo, "JPEG2000"), photo),
        Odd("moving.gif", _frames("GIF", _rgb(_grey()), duration=50), _rgb(_grey())),
        Odd("moving.webp", _frames("WEBP", lossless=True, duration=50), photo),
        Odd("moving.png", _frames("PNG", duration=50), photo),
        Odd("really a png.jpg", written(photo, "PNG"), photo),
        Odd("really a jpeg.png", written(photo, "JPEG"), None),
        Odd("really a gif.tif", written(_grey(), "GIF"), _rgb(_grey())),
        Odd("LOUD.PNG", written(photo, "PNG"), photo),
        Odd("two.dots.and a 'quote\".png", written(photo, "PNG"), photo),
        Odd("line\nbreak.png", written(photo, "PNG"), photo),
        Odd("ünïcode 図 🙂.png", written(photo, "PNG"), photo),
        Odd("one pixel.png", written(photo[:1, :1], "PNG"), photo[:1, :1]),
        Odd("very wide.png", written(np.tile(photo[:3], (1, 715, 1))[:, :20_000], "PNG"),
            np.tile(photo[:3], (1, 715, 1))[:, :20_000]),
        Odd("very tall.png", written(np.tile(photo[:, :2], (1000, 1, 1)), "PNG"),
            np.tile(photo[:, :2], (1000, 1, 1))),
    ]  # fmt: skip


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def _png(width: int, height: int, bits: int, color: int, pixels: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    packed = _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(pixels)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + packed


def _deep_png() -> bytes:
    rows = (_photo().astype(">u2") * 257).reshape(_HEIGHT, -1)
    return _png(_WIDTH, _HEIGHT, 16, 2, b"".join(b"\0" + row.tobytes() for row in rows))


def readable() -> list[Odd]:
    """Files that are to be read, with the pixels that they show."""
    turned = _turned("JPEG", "jpg") + _turned("PNG", "png")
    return [*turned, *_with_alpha(), *_of_many_bits(), *_of_many_formats()]


_DAMAGED = "is truncated or damaged: replace or remove it"
_NO_IMAGE = "is not an image that can be read here: replace or remove it"


def _half(kind: str, suffix: str) -> Bad:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = written(noise, kind)
    return Bad(f"half.{suffix}", whole[: len(whole) // 2], _DAMAGED)


def _wrong_sum() -> bytes:
    whole = bytearray(written(_photo(), "PNG"))
    whole[-20] ^= 255  # among the packed pixels
    return bytes(whole)


def unreadable() -> list[Bad]:
    """Files that cannot be read, and why."""
    page = b"<!DOCTYPE html><html><body>404 Not Found</body></html>"
    vector = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"
    return [
        Bad("nothing.jpg", b"", "is empty (0 bytes): replace or remove it"),
        Bad("nothing.png", b"", "is empty (0 bytes): replace or remove it"),
        Bad("one byte.png", b"\x89", _NO_IMAGE),
        Bad("text.jpg", b"just some words\n", _NO_IMAGE),
        Bad("a web page.jpg", page, _NO_IMAGE),
        Bad("drawing.png", vector, _NO_IMAGE),
        Bad("document.png", b"%PDF-1.7\n", _NO_IMAGE),
        Bad("script.tif", script, _NO_IMAGE),
        Bad("archive.webp", b"PK\x03\x04" + bytes(60), _NO_IMAGE),
        Bad("zeros.jpg", bytes(5000), _NO_IMAGE),
        Bad("pointer.png", b"version https://git-lfs.github.com/spec/v1\nsize 3\n", _NO_IMAGE),
        Bad("icon.png", written(_photo()[:16, :16], "ICO", sizes=[(16, 16)]), _NO_IMAGE),
        Bad("no pixels.png", _png(0, 0, 8, 2, b""), _NO_IMAGE),
        Bad("too few pixels.png", _png(9, 9, 8, 2, b"\0\1\2"), _DAMAGED),
        Bad("a wrong sum.png", _wrong_sum(), _DAMAGED),
        Bad("a bomb.png", _png(60_000, 60_000, 8, 0, b"\0"), "million pixels"),
        Bad("no header.jpg", written(_photo(), "JPEG")[20:], _NO_IMAGE),
        _half("PNG", "png"),
        _half("JPEG", "jpg"),
        _half("GIF", "gif"),
        _half("WEBP", "webp"),
        _half("TIFF", "tif"),
        _half("BMP", "bmp"),
        _half("PPM", "ppm"),
        _half("JPEG2000", "jp2"),
    ]
