"""Small files that claim to be huge are refused by their header; odd but honest ones are read."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commands import call, refused
from conftest import TINY
from dmt.data.decode import MAX_PIXELS, decode, decode_square
from dmt.data.headers import read_header
from dmt.data.layouts import open_catalog
from dmt.data.sizes import typical_side, typical_size
from dmt.errors import DataError
from trees import write_image_masks


def _chunk(kind: bytes, content: bytes) -> bytes:
    crc = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def png(width: int, height: int, extra: bytes = b"", rows: int | None = None) -> bytes:
    """A grey PNG of 1 bit a pixel, all black, of which only some `rows` are there."""
    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    pixels = b"".join(packer.compress(row) for _ in range(height if rows is None else rows))
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + extra + _chunk(b"IDAT", pixels + packer.flush())
    return b"\x89PNG\r\n\x1a\n" + chunks + _chunk(b"IEND", b"")


def gif(screen: tuple[int, int], frame: tuple[int, int]) -> bytes:
    head = b"GIF89a" + struct.pack("<HH", *screen) + b"\x80\0\0\0\0\0\xff\xff\xff"
    return head + b"," + struct.pack("<HHHH", 0, 0, *frame) + b"\0\x02\x02D\x01\0;"


def tiff(width: int, height: int) -> bytes:
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 134, 277: 1, 278: height, 279: 64}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4 + 64)


def bmp(width: int, height: int) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + info


def animated_webp(width: int, height: int) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunk = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + sides
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


BOMBS = {
    "bomb.png": png(60_000, 60_000, rows=0),
    "just-over.png": png(10_001, 10_000, rows=0),
    "greatest.png": png(2**31 - 1, 2**31 - 1, rows=0),
    "screen.gif": gif((65_535, 65_535), (1, 1)),
    "frame.gif": gif((10, 10), (65_535, 65_535)),
    "bomb.tif": tiff(2**31 - 1, 2**31 - 1),
    "bomb.bmp": bmp(65_000, 65_000),
    "bomb.ppm": b"P6 99999 99999 255\n",
    "bomb.tga": struct.pack("<BBBHHBHHHHBB", 0, 0, 10, 0, 0, 0, 0, 0, 65_535, 65_535, 24, 0),
    "animated.webp": animated_webp(16_383, 16_383),
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("read", [read_header, decode, lambda path: decode_square(path, 32)])
def test_a_bomb_is_refused_by_its_header(
    name: str, read: Callable[[Path], object], tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(BOMBS[name])
    assert path.stat().st_size < 300
    with pytest.raises(DataError) as error:
        read(path)
    sentence = str(error.value)
    assert str(path) in sentence
    assert "million pixels by its header, and more than 100 million pixels are not read" in sentence
    assert "scale it down, cut it into pieces or remove it" in sentence


def test_the_limit_is_what_it_says() -> None:
    assert MAX_PIXELS == 100_000_000


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_a_packed_text_does_not_unfold(kind: bytes, tmp_path: Path) -> None:
    path = tmp_path / "text.png"
    path.write_bytes(png(4, 4, _chunk(kind, b"k\0\0" + zlib.compress(bytes(50 << 20), 9))))
    with pytest.raises(DataError, match="truncated or damaged"):
        decode(path)


def test_more_pixels_than_the_header_says_are_not_unfolded(tmp_path: Path) -> None:
    path = tmp_path / "more.png"
    path.write_bytes(png(4, 4, _chunk(b"IDAT", zlib.compress(bytes(50 << 20), 9))))
    assert decode(path).shape == (4, 4, 3)


@pytest.mark.parametrize("size", [(20_000, 2), (1, 20_000), (20_000, 1)])
def test_a_thin_image_is_read(size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "thin.png"
    Image.new("RGB", size, (10, 200, 30)).save(path)
    assert read_header(path)[:2] == size[::-1]
    assert decode(path).shape == (size[1], size[0], 3)
    assert (decode_square(path, 16) == (10, 200, 30)).all()


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), (index, 0, 0)) for index in range(0, 250, 5)]
    for name in ("a.gif", "a.webp", "a.png", "a.tif"):
        options = {"lossless": True} if name == "a.webp" else {}
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
        assert (decode(tmp_path / name) == 0).all(), name


def test_pillow_says_nothing_of_its_own(tmp_path: Path, caplog, capfd) -> None:
    """90 million pixels are within our limit and beyond what Pillow warns of."""
    path = tmp_path / "large.png"
    path.write_bytes(png(9_500, 9_500, rows=0))
    assert read_header(path).width == 9_500  # warnings are errors here
    odd = tmp_path / "odd.tif"
    odd.write_bytes(tiff(16, 16).replace(struct.pack("<HHII", 277, 4, 1, 1),
                                         struct.pack("<HHII", 277, 4, 1, 60_000)))  # fmt: skip
    with pytest.raises(DataError):
        decode(odd)
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in folders there")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(DataError, match="is no file but a pipe or a device: remove it"):
        decode(tmp_path / "x.png")


def test_commands_say_it_too(tmp_path: Path, tmp_photos, finished: Path) -> None:
    photos = tmp_photos(labeled=4, unlabeled=2)
    path = photos / "unlabeled" / "0000.png"
    path.write_bytes(BOMBS["bomb.png"])
    catalog = open_catalog(photos)
    assert (typical_side(catalog), typical_size(catalog)) == (32, (32, 32))
    out = tmp_path / "out"
    refused("train", [photos, *TINY, f"out={out}"], "unlabeled/0000.png", "bad_images=skip")
    assert not out.exists()
    problems = call("check", photos, "--json").value["problems"]
    assert [each["path"] for each in problems if "unreadable" in each["kind"]] == [
        "unlabeled/0000.png"
    ]
    refused("predict", [finished, path], "3,600 million pixels by its header")


def test_a_mask_may_be_a_bomb_as_well(tmp_path: Path) -> None:
    root = write_image_masks(tmp_path / "set", 4)
    (root / "masks" / "0002.png").write_bytes(BOMBS["bomb.png"])
    refused("check", [root], "masks/0002.png has 3,600 million pixels")
    Image.fromarray(np.zeros((48, 64), np.uint8)).save(root / "masks" / "0002.png")
    (root / "images" / "0002.jpg").write_bytes(BOMBS["bomb.png"])
    refused("train", [root, "steps=2", f"out={tmp_path / 'out'}"], "images/0002.jpg")
    problems = call("check", root, "--json").value["problems"]
    assert ("unreadable", "images/0002.jpg") in {(each["kind"], each["path"]) for each in problems}
