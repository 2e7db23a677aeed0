"""Masks of any small content: classes as they were written, or a sentence that names the file."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from many import hold, some_and_many, tried
from PIL import Image

from dmt.data.decode import decode
from dmt.data.headers import Header, read_header
from dmt.data.mask_files import Coding, decode_mask

_SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=6)
_FEW = st.one_of(st.integers(0, 5), st.just(255), st.integers(0, 255))
_DEEP = st.one_of(st.integers(0, 5), st.sampled_from([254, 255, 256, 65535]), st.integers(0, 65535))
_COLORS = ((0, 0, 0), (255, 0, 0), (0, 128, 64), (1, 2, 3))


def _upright(pixels: np.ndarray) -> Header:
    height, width = pixels.shape[:2]
    return Header(height, width, height, width, 1)


def _decoded(image: Image.Image, suffix: str, coding: Coding, header: Header) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"mask{suffix}"
        image.save(path)
        return decode_mask(path, coding, header)


@some_and_many
def test_index_masks(num_examples: int) -> None:
    """Below K a value is its class; 255, and 65535 in 16 bits, is left out; all else is wrong."""

    def check(pixels: np.ndarray, num_classes: int, suffix: str) -> None:
        found = _decoded(Image.fromarray(pixels), suffix, Coding(num_classes), _upright(pixels))
        values = pixels.astype(np.int64)
        if pixels.dtype == np.uint16:
            values[values == 65535] = 255
        is_class = values < num_classes
        np.testing.assert_array_equal(found.classes, np.where(is_class, values, 255))
        wrong = set(values[~is_class & (values != 255)].tolist())
        assert {value for (value,) in found.wrong} == wrong
        np.testing.assert_array_equal(
            found.counts, np.bincount(found.classes.ravel(), minlength=256)
        )

    for dtype, values, suffixes in (
        (np.uint8, _FEW, (".png", ".tif", ".bmp", ".pgm", ".tga")),
        (np.uint16, _DEEP, (".png", ".tif", ".pgm")),
    ):
        hold(
            check,
            num_examples,
            pixels=arrays(dtype, _SHAPES, elements=values),
            num_classes=st.integers(1, 255),
            suffix=st.sampled_from(suffixes),
        )


@some_and_many
def test_colour_masks(num_examples: int) -> None:
    """A colour of the list is its class, and one that is not is named."""

    def check(pixels: np.ndarray, suffix: str) -> None:
        coding = Coding(3, colors=_COLORS[:3], void_colors=_COLORS[3:])
        found = _decoded(Image.fromarray(pixels), suffix, coding, _upright(pixels))
        expected = np.full(pixels.shape[:2], 255, dtype=np.uint8)
        for number, color in enumerate(_COLORS[:3]):
            expected[(pixels == color).all(axis=2)] = number
        np.testing.assert_array_equal(found.classes, expected)
        held = {tuple(each) for each in pixels.reshape(-1, 3).tolist()}
        assert found.wrong == held - set(_COLORS)

    channel = st.one_of(st.sampled_from([0, 1, 2, 3, 64, 128, 255]), st.integers(0, 255))
    some = arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 5), st.just(3)),
                  elements=channel)  # fmt: skip
    known = st.lists(st.sampled_from(_COLORS), min_size=1, max_size=9).map(
        lambda row: np.array([row], dtype=np.uint8)
    )
    hold(check, num_examples, pixels=st.one_of(some, known),
         suffix=st.sampled_from([".png", ".tif", ".bmp", ".ppm", ".tga"]))  # fmt: skip


@some_and_many
def test_masks_of_another_size_are_refused(num_examples: int) -> None:
    def check(pixels: np.ndarray, height: int, width: int) -> None:
        header = Header(height, width, height, width, 1)
        found = tried(_decoded, Image.fromarray(pixels), ".png", Coding(255), header)
        if pixels.shape == (height, width):
            assert found.value.classes.shape == pixels.shape
        else:
            assert found.sentence is not None
            assert "a mask needs the size of its image" in found.sentence

    hold(check, num_examples, pixels=arrays(np.uint8, _SHAPES, elements=st.integers(0, 254)),
         height=st.integers(1, 6), width=st.integers(1, 6))  # fmt: skip


@some_and_many
def test_damaged_files_are_read_or_refused(num_examples: int) -> None:
    """Bytes of a whole file changed at random: pixels, or a DataError, in every reader."""
    pixels = np.random.default_rng(0).integers(0, 4, (12, 12), dtype=np.uint8)

    def check(kind: str, changes: list[tuple[int, int]], length: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "damaged.png"
            Image.fromarray(pixels).save(path, kind)
            content = bytearray(path.read_bytes())
            for place, value in changes:
                content[place % len(content)] = value
            path.write_bytes(bytes(content[: max(1, length)]))
            as_mask = partial(decode_mask, coding=Coding(4), header=_upright(pixels))
            for read in (decode, read_header, as_mask):
                found = tried(read, path)
                assert found.value is not None or "damaged.png" in str(found.sentence)

    hold(
        check,
        num_examples,
        kind=st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "PPM", "TGA"]),
        changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=6),
        length=st.one_of(st.just(10_000), st.integers(1, 2000)),
    )
