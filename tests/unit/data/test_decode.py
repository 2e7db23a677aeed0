"""Tests of `dmt.data.decode`: pixels from every mode and from bad files. Finding is elsewhere."""

import io
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dmt.data import decode as decode_module
from dmt.data.decode import decode, decode_square, fit_square, shown
from dmt.errors import DataError

RED = (200, 30, 60)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=2).astype(np.uint8)


def test_shown_keeps_a_message_on_one_line() -> None:
    assert shown("grün 1.png") == "grün 1.png"
    assert shown(Path("a\nb")) == "'a\\nb'"


# --- modes


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("1", "png"), ("L", "png"), ("L", "jpg"), ("P", "png"), ("P", "gif"), ("RGB", "bmp"),
     ("RGB", "webp"), ("CMYK", "jpg"), ("CMYK", "tif"), ("YCbCr", "jpg"), ("RGB", "ppm")],
)  # fmt: skip
def test_common_modes_become_what_pillow_makes_of_them(
    tmp_path: Path, mode: str, suffix: str
) -> None:
    path = save(tmp_path / f"x.{suffix}", Image.fromarray(smooth(20, 30)).convert(mode))
    image = decode(path)
    assert image.shape == (20, 30, 3)
    assert image.dtype == np.uint8
    assert image.flags.writeable
    assert image.flags.c_contiguous
    with Image.open(path) as reference:
        np.testing.assert_array_equal(image, np.asarray(reference.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_is_laid_on_white(tmp_path: Path, mode: str) -> None:
    rgba = np.zeros((2, 3, 4), dtype=np.uint8)
    rgba[:, 0] = (90, 90, 90, 255)
    rgba[:, 1] = (90, 90, 90, 0)
    rgba[:, 2] = (0, 0, 0, 128)
    source = Image.fromarray(rgba)
    if mode == "PA":
        source = source.convert("RGB").quantize(8)
        source.putalpha(Image.fromarray(rgba[..., 3]))
    else:
        source = source.convert(mode)
    image = decode(save(tmp_path / "x.png", source.convert("LA" if mode == "LA" else "RGBA")))
    assert image[0, :2].tolist() == [[90, 90, 90], [255, 255, 255]]
    assert abs(int(image[0, 2, 0]) - 127) <= 1


def test_a_transparent_palette_colour_is_white(tmp_path: Path) -> None:
    source = Image.new("P", (2, 1))
    source.putpalette([*RED, 0, 255, 0])
    source.putpixel((1, 0), 1)
    for options in ({"transparency": 1}, {"transparency": b"\xff\x00"}):
        image = decode(save(tmp_path / "x.png", source, **options))
        assert image[0].tolist() == [list(RED), [255, 255, 255]]


def test_a_transparent_rgb_colour_is_white(tmp_path: Path) -> None:
    source = Image.new("RGB", (2, 1), RED)
    source.putpixel((1, 0), (0, 0, 0))
    image = decode(save(tmp_path / "x.png", source, transparency=(0, 0, 0)))
    assert image[0].tolist() == [list(RED), [255, 255, 255]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 257, 65535]], dtype=np.uint16), [0, 1, 255]),
        (np.array([[-5, 32896, 70000]], dtype=np.int32), [0, 128, 255]),
        (np.array([[0.0, 0.5, 1.0]], dtype=np.float32), [0, 128, 255]),
        (np.array([[0.0, 7.0, 255.0]], dtype=np.float32), [0, 7, 255]),
        (np.array([[0.0, 257.0, 65535.0]], dtype=np.float32), [0, 1, 255]),
        (np.array([[np.nan, -np.inf, 1.0]], dtype=np.float32), [0, 0, 255]),
    ],
)
def test_deep_grey_is_scaled(tmp_path: Path, values: np.ndarray, expected: list[int]) -> None:
    image = decode(save(tmp_path / "x.tif", Image.fromarray(values)))
    assert image[0].tolist() == [[value] * 3 for value in expected]


def test_16_bit_png_keeps_its_range(tmp_path: Path) -> None:
    values = np.array([[0, 257, 65535]], dtype=np.uint16)
    assert decode(save(tmp_path / "x.png", Image.fromarray(values)))[0, :, 0].tolist() == [
        0,
        1,
        255,
    ]


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, (0, 255, 0))]
    for name in ("x.gif", "x.webp"):
        path = save(
            tmp_path / name, frames[0], save_all=True, append_images=frames[1:], lossless=True
        )
        assert np.abs(decode(path).astype(int) - RED).max() <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    quarters = np.zeros((32, 48, 3), dtype=np.uint8)
    quarters[:16, :24] = 240  # top left is bright, bottom right is grey
    quarters[16:, 24:] = 120
    stored = {
        1: quarters, 2: quarters[:, ::-1], 3: quarters[::-1, ::-1], 4: quarters[::-1],
        5: quarters.swapaxes(0, 1), 6: np.rot90(quarters), 7: np.rot90(quarters, 2).swapaxes(0, 1),
        8: np.rot90(quarters, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    source = Image.fromarray(np.ascontiguousarray(stored))
    image = decode(save(tmp_path / f"x.{suffix}", source, exif=exif)).astype(int)
    assert image.shape == quarters.shape
    assert np.abs(image - quarters).max() <= 12


def test_damaged_exif_costs_nothing(tmp_path: Path) -> None:
    path = save(tmp_path / "x.jpg", Image.new("RGB", (8, 8), RED), exif=b"Exif\0\0MM\0*\xff\xff")
    assert decode(path).shape == (8, 8, 3)


# --- files that cannot be used


def jpeg_bytes() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(noise(64, 64)).save(buffer, "jpeg")
    return buffer.getvalue()


def png_bytes() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(noise(64, 64)).save(buffer, "png")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is empty"),
        (b"hello", "is not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not an image"),
        (jpeg_bytes()[:900], "is truncated or damaged"),
        (jpeg_bytes()[:30], "x.jpg"),
        (png_bytes()[:5000], "is truncated or damaged"),
        (png_bytes()[:60] + b"\0" * 200 + png_bytes()[260:], "is truncated or damaged"),
    ],
)
def test_unreadable_files_are_named(tmp_path: Path, content: bytes, match: str) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    for read in (decode, lambda p: decode_square(p, 8)):
        with pytest.raises(DataError, match=match) as caught:
            read(path)
        assert str(path) in str(caught.value)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no image .*gone\.png"):
        decode(tmp_path / "gone.png")
    with pytest.raises(DataError, match="cannot be read"):
        decode(tmp_path)


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it is that large and holds next to nothing."""
    data = bytearray(png_bytes())
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize("side", [10_001, 100_000])
def test_too_many_pixels_are_refused_unread(tmp_path: Path, side: int) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(bomb(side, side))
    with pytest.raises(DataError, match="more than 100 million pixels"):
        decode(path)


def test_up_to_the_limit_no_warning_of_pillow_comes_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)  # Pillow warns above, refuses above 100
    path = save(tmp_path / "x.png", Image.new("RGB", (9, 9)))
    with ThreadPoolExecutor(4) as pool:
        assert all(image.shape == (9, 9, 3) for image in pool.map(decode, [path] * 40))
    monkeypatch.setattr(decode_module, "MAX_PIXELS", 80)
    with pytest.raises(DataError, match="pixels"):
        decode(path)


# --- squares


@pytest.mark.parametrize("shape", [(8, 8), (31, 50), (50, 31), (64, 64), (3, 200), (1, 1), (1, 9)])
@pytest.mark.parametrize("size", [1, 8, 31])
def test_the_two_ways_to_a_square_agree(tmp_path: Path, shape: tuple[int, int], size: int) -> None:
    path = save(tmp_path / "x.png", Image.fromarray(noise(*shape)))
    square = decode_square(path, size)
    assert square.shape == (size, size, 3)
    assert square.flags.writeable
    np.testing.assert_array_equal(square, fit_square(decode(path), size))


def test_a_short_side_that_fits_is_cut_and_not_resampled() -> None:
    image = noise(8, 13)
    np.testing.assert_array_equal(fit_square(image, 8), image[:, 2:10])
    square = noise(8, 8)
    same = fit_square(square, 8)
    np.testing.assert_array_equal(same, square)
    assert not np.shares_memory(same, square)


def test_resizing_is_antialiased() -> None:
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(fit_square(stripes, 8).astype(int) - 127).max() <= 6


def test_an_extreme_aspect_ratio_needs_no_long_intermediate() -> None:
    line = np.zeros((1, 2_000_000, 3), dtype=np.uint8)
    line[0, 999_999] = RED  # (2_000_000 - 1) // 2
    assert fit_square(line, 224).reshape(-1, 3).tolist() == [list(RED)] * (224 * 224)


def test_a_reduced_jpeg_is_close_to_the_whole_one(tmp_path: Path) -> None:
    path = save(tmp_path / "x.jpg", Image.fromarray(smooth(400, 640)), quality=95)
    exact = fit_square(decode(path), 32).astype(int)
    assert np.abs(decode_square(path, 32).astype(int) - exact).mean() < 2
