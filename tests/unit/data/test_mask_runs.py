"""COCO's runs and Label Studio's brush: there and back, against the formats' own libraries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dmt.data.mask_runs import (
    brush_runs,
    coco_runs,
    from_brush_runs,
    from_coco_runs,
    from_polygon,
)

SIZES = [(1, 1), (1, 7), (5, 1), (13, 17), (150, 140)]


def areas() -> list[NDArray[np.bool_]]:
    """Nothing, all, noise and a disc of several sizes."""
    found = []
    for height, width in SIZES:
        rows, columns = np.mgrid[:height, :width]
        noise = np.random.default_rng(height).random((height, width)) < 0.4
        disc = (rows - height / 2) ** 2 + (columns - width / 2) ** 2 < (height / 3) ** 2
        found += [np.zeros((height, width), bool), np.ones((height, width), bool), noise, disc]
    return found


@pytest.mark.parametrize("area", areas(), ids=lambda area: f"{area.shape}-{int(area.sum())}")
def test_every_area_comes_back(area: NDArray[np.bool_]) -> None:
    height, width = area.shape
    assert (from_coco_runs(coco_runs(area), height, width) == area).all()
    assert (from_brush_runs(brush_runs(area), height, width) == area).all()


def test_runs_by_hand() -> None:
    area = np.array([[False, True, True], [True, True, False]])
    assert coco_runs(area) == [1, 4, 1]  # down the columns: 0 1 1 1 1 0
    assert coco_runs(~area) == [0, 1, 4, 1]
    brush = brush_runs(np.array([[True]]))
    # 4 values of 8 bits; lengths of 3, 4, 8, 16 bits; an empty run is none; 1 00 011 11111111
    bits = f"{4:032b}00111001000110111111110001111111111"
    assert brush == [int(bits[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(bits), 8)]


def test_a_polygon_is_the_pixels_whose_middle_lies_inside() -> None:
    expected = np.zeros((5, 6), bool)
    expected[1:3, 1:4] = True
    assert (from_polygon([1, 1, 4, 1, 4, 3, 1, 3], 5, 6) == expected).all()
    assert (from_polygon([0.6, 0.6, 4.4, 0.6, 4.4, 3.4, 0.6, 3.4], 5, 6) == expected).all()
    assert from_polygon([-9, -9, 99, -9, 99, 99, -9, 99], 5, 6).all()
    triangle = from_polygon([0, 0, 6, 0, 0, 5], 5, 6)
    rows, columns = np.mgrid[:5, :6] + 0.5
    assert (triangle == (columns / 6 + rows / 5 < 1)).all()
    hole = from_polygon([0, 0, 6, 0, 6, 5, 0, 5, 0, 0, 2, 2, 4, 2, 4, 4, 2, 4, 2, 2], 5, 6)
    assert not hole[2:4, 2:4].any()
    assert hole.sum() == 26


@pytest.mark.parametrize(
    ("decode", "value", "said"),
    [
        (from_coco_runs, [1, 2], "not those of 3×2"),
        (from_coco_runs, [-1, 7], "no whole numbers"),
        (from_coco_runs, [1.5, 4.5], "no whole numbers"),
        (from_coco_runs, ["a"], "no whole numbers"),
        (from_coco_runs, [2**63 - 1, 2**63 - 1, 8], "not those of"),
        (from_coco_runs, [[6]], "no whole numbers"),
        (from_coco_runs, "\x00", "no compressed runs"),
        (from_coco_runs, "P" * 40, "no compressed runs"),
        (from_coco_runs, "P", "cut short"),
        (from_polygon, [1, 1, 2, 2], "at least three"),
        (from_polygon, [1, 1, 2, 2, float("nan"), 1], "outside"),
        (from_brush_runs, [], "no list of bytes"),
        (from_brush_runs, [1, 300], "no list of bytes"),
        (from_brush_runs, [0, 0, 0, 24], "cut short"),
        (from_brush_runs, brush_runs(np.ones((2, 3), bool))[:-1], "cut short"),
        (from_brush_runs, brush_runs(np.ones((3, 3), bool)), "not one of 3×2"),
    ],
)
def test_what_is_no_area_is_told(decode: Any, value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        decode(value, 2, 3)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_pycocotools_reads_and_writes_the_same() -> None:
    coco: Any = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    for area in areas():
        height, width = area.shape
        compressed = coco.encode(np.asfortranarray(area.astype(np.uint8)))["counts"].decode()
        assert (from_coco_runs(compressed, height, width) == area).all()
        runs = coco.frPyObjects({"counts": coco_runs(area), "size": [height, width]}, height, width)
        assert (coco.decode(runs) == area).all()


def test_label_studio_reads_and_writes_the_same() -> None:
    brush: Any = pytest.importorskip(
        "label_studio_converter.brush", reason="label-studio-converter is not installed"
    )
    for area in areas():
        height, width = area.shape
        theirs = brush.mask2rle(area.astype(np.uint8) * 255)
        assert (from_brush_runs(theirs, height, width) == area).all()
        read = brush.decode_rle(brush_runs(area)).reshape(height, width, 4)
        assert ((read > 0) == area[..., None]).all()
