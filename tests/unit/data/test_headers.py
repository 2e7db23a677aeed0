"""Tests of what headers tell; all orientations are in test_masks."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from dmt.data.decode import decode
from dmt.data.headers import Header, read_header
from dmt.errors import DataError


def test_an_orientation_behind_the_pixels_of_a_png_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "late.png"
    Image.new("RGB", (30, 20)).save(path)
    exif = Image.Exif()
    exif[0x0112] = 6
    data = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    content = path.read_bytes()
    path.write_bytes(content[:-12] + chunk + content[-12:])
    assert decode(path).shape == (30, 20, 3)
    assert read_header(path) == Header(30, 20, 20, 30, 6)


def test_damaged_pixels_are_not_noticed(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    Image.effect_noise((300, 200), 50).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    assert read_header(path) == Header(200, 300, 200, 300, 1)
    with pytest.raises(DataError, match="truncated"):
        decode(path)


@pytest.mark.parametrize(
    ("content", "match"), [(b"", "is empty"), (b"text", "is not an image"), (None, "there is no")]
)
def test_files_that_are_no_images(tmp_path: Path, content: bytes | None, match: str) -> None:
    if content is not None:
        (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(DataError, match=match):
        read_header(tmp_path / "x.png")
