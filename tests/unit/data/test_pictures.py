"""Colours, index PNGs, overlays and maps, read back as any other program would."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dmt.data.pictures import index_png, map_png, overlay_png, palette

COLORS = palette(3)


def opened(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png), formats=["PNG"])


def pixels(png: bytes) -> NDArray[np.uint8]:
    return np.array(opened(png))


def halves(height: int, width: int) -> NDArray[np.uint8]:
    """Class 1 on the left, class 2 on the right."""
    label = np.ones((height, width), dtype=np.uint8)
    label[:, width // 2 :] = 2
    return label


def test_palette_is_the_usual_one() -> None:
    first = [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128], [128, 0, 128]]
    assert palette(6).tolist() == first
    assert palette(21)[[8, 20]].tolist() == [[64, 0, 0], [0, 64, 128]]


@pytest.mark.parametrize("num_classes", [1, 2, 21, 255])
def test_palette_is_distinct_and_the_same_for_any_number(num_classes: int) -> None:
    colors = palette(num_classes)
    assert (colors.dtype, colors.shape) == (np.uint8, (num_classes, 3))
    assert len(np.unique(colors, axis=0)) == num_classes
    assert (colors == palette(255)[:num_classes]).all()
    assert [224, 224, 192] not in colors.tolist()


def test_first_colours_are_far_apart() -> None:
    colors = palette(21).astype(int)
    distance = np.abs(colors[:, None] - colors[None]).max(axis=2) + 255 * np.eye(21, dtype=int)
    assert distance.min() >= 64


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (300, 200)])
def test_index_png_keeps_every_value(shape: tuple[int, int]) -> None:
    label = (np.arange(shape[0] * shape[1]) % 256).astype(np.uint8).reshape(shape)
    image = opened(index_png(label, palette(255)))
    assert image.mode == "P"
    assert (np.array(image) == label).all()
    assert (np.array(image.convert("RGB"))[label == 255] == [224, 224, 192]).all()
    assert (np.array(image.convert("RGB"))[label == 3] == palette(4)[3]).all()


def test_index_png_of_two_classes_still_has_8_bits() -> None:
    png = index_png(np.eye(9, dtype=np.uint8), palette(2))
    bit_depth = png[24]
    assert bit_depth == 8
    assert (pixels(png) == np.eye(9)).all()


def test_overlay_mixes_and_draws_the_border() -> None:
    image = np.full((120, 80, 3), 100, dtype=np.uint8)
    shown = pixels(overlay_png(image, halves(120, 80), COLORS, strength=0.5))
    assert shown.shape == (120, 80, 3)
    assert shown[5, 5].tolist() == [114, 50, 50]
    assert shown[5, 75].tolist() == [50, 114, 50]
    is_line = (shown == 255).all(axis=2)
    assert is_line.any(axis=1).all()
    assert np.flatnonzero(is_line.any(axis=0)).tolist() == [39]


def test_lines_grow_with_the_picture_and_stay_on_the_border() -> None:
    image = np.zeros((1000, 2000, 3), dtype=np.uint8)
    shown = pixels(overlay_png(image, halves(1000, 2000), COLORS))
    columns = np.flatnonzero((shown == 255).all(axis=2).any(axis=0))
    assert len(columns) == 5
    assert abs(columns.mean() - 999.5) <= 1


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_strength_goes_from_photograph_to_colours(strength: float) -> None:
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    label = halves(4, 4)
    shown = pixels(overlay_png(image, label, COLORS, strength=strength))
    assert (shown == (image if strength == 0 else COLORS[label])).all()


def test_pixels_left_out_stay_as_they_are() -> None:
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    label = np.full((4, 4), 255, dtype=np.uint8)
    label[0] = 1
    shown = pixels(overlay_png(image, label, COLORS, strength=1))
    assert (shown[0] == COLORS[1]).all()
    assert (shown[1:] == image[1:]).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 2500), (2500, 1)])
def test_overlay_of_thin_images(shape: tuple[int, int]) -> None:
    label = np.zeros(shape, dtype=np.uint8)
    label.reshape(-1)[: label.size // 2] = 1
    shown = pixels(overlay_png(np.zeros((*shape, 3), np.uint8), label, COLORS))
    assert shown.shape == (*shape, 3)
    assert (shown == 255).all(axis=2).sum() == (6 if label.size > 1 else 0)


def test_map_is_grey_and_cut_off() -> None:
    values = np.array([[0, 0.5, 1], [-0.5, 1.5, 0.2]], dtype=np.float32)
    image = opened(map_png(values))
    assert image.mode == "L"
    assert np.array(image).tolist() == [[0, 128, 255], [0, 255, 51]]


def test_pictures_need_no_torch() -> None:
    code = "import sys, dmt.data.pictures; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
