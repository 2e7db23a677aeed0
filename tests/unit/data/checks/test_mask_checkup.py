"""`dmt check` of a segmentation: counts and shares by hand, and each problem by its kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dmt.data.catalog import Part, Problem
from dmt.data.checks.checkup import check
from dmt.data.checks.mask_checkup import check_masks
from dmt.errors import DataError
from scene_toys import Bytes, catalog, noise, save

Scenes = dict[str, tuple[Bytes, Bytes | None]]


def mask(*rows: list[int]) -> Bytes:
    return np.array(rows, dtype=np.uint8)


def healthy() -> Scenes:
    """Four labeled scenes that show all classes, and two unlabeled ones."""
    every = mask([0, 1, 2, 255], [0, 1, 1, 0])
    scenes: Scenes = {f"{n}": (noise(2, 4, n), every) for n in range(4)}
    return scenes | {f"u{n}": (noise(2, 4, 4 + n), None) for n in range(2)}


def kinds(found: dict[str, Any]) -> list[str]:
    return [each["kind"] for each in found["problems"]]


def messages(found: dict[str, Any], kind: str) -> list[str]:
    return [each["message"] for each in found["problems"] if each["kind"] == kind]


def test_what_is_counted(tmp_path: Path) -> None:
    scenes = healthy() | {"v": (noise(2, 4, 6), mask([0] * 4, [2] * 4))}
    scenes["t"] = noise(2, 4, 7), scenes["0"][1]
    parts = {"v": Part.VAL, "t": Part.TEST}
    found = check_masks(catalog(tmp_path / "set", scenes, parts=parts), workers=2)
    assert found == {
        "task": "segmentation",
        "name": "set",
        "layout": "image-mask-folders",
        "labeled": 4,
        "unlabeled": 2,
        "val": 1,
        "test": 1,
        "classes": [
            {"name": "red", "count": 4, "pixels": pytest.approx(300 / 7)},
            {"name": "green", "count": 4, "pixels": pytest.approx(300 / 7)},
            {"name": "blue", "count": 4, "pixels": pytest.approx(100 / 7)},
        ],
        "problems": [],
    }


def test_class_never_labeled(tmp_path: Path) -> None:
    """In a mask to judge by it is no help."""
    scenes = {name: (image, None if m is None else m % 2) for name, (image, m) in healthy().items()}
    scenes["t"] = (noise(1, 2), mask([2, 2]))
    found = check_masks(catalog(tmp_path, scenes, parts={"t": Part.TEST}))
    (message,) = messages(found, "never-labeled")
    assert message.startswith("class 'blue' is in no mask to train on")
    assert found["classes"][2] == {"name": "blue", "count": 0, "pixels": 0}


def test_rare_classes(tmp_path: Path) -> None:
    large = np.zeros((60, 60), dtype=np.uint8)
    large[:30] = 1
    large[0, 0] = 2
    scenes: Scenes = {str(n): (noise(60, 60), large) for n in range(4)} | {
        "u": (noise(60, 60), None)
    }
    found = check_masks(catalog(tmp_path / "few-pixels", scenes))
    assert messages(found, "rare-class") == [
        "class 'blue' covers only 0.028 % of the labeled pixels"
    ]
    scenes = healthy()
    for name in "01":
        scenes[name] = scenes[name][0], mask([0, 1, 0, 1], [0, 1, 0, 1])
    found = check_masks(catalog(tmp_path / "few-images", scenes))
    assert messages(found, "rare-class") == ["class 'blue' is in only 2 of 4 labeled images"]
    two = {name: healthy()[name] for name in ("0", "1", "u0")}
    assert kinds(check_masks(catalog(tmp_path / "two-images", two))) == []


def test_masks_without_a_labeled_pixel(tmp_path: Path) -> None:
    scenes = healthy() | {"void": (noise(2, 4, 9), np.full((2, 4), 255, np.uint8))}
    found = check_masks(catalog(tmp_path, scenes))
    assert [(each["kind"], each["path"]) for each in found["problems"]] == [
        ("void-mask", "images/void.png")
    ]


def test_sizes_that_differ(tmp_path: Path) -> None:
    scenes = healthy() | {"big": (noise(30, 20), None), "small": (noise(1, 3), None)}
    found = check_masks(catalog(tmp_path, scenes))
    assert messages(found, "sizes-differ") == [
        "the images have 3 sizes, from 3×1 (images/small.png) to 20×30 (images/big.png) pixels; "
        "that is no fault"
    ]


def test_nothing_unlabeled(tmp_path: Path) -> None:
    scenes = {name: scene for name, scene in healthy().items() if scene[1] is not None}
    data = catalog(tmp_path, scenes)
    assert kinds(check_masks(data)) == ["no-unlabeled"]
    told = replace(data, problems=(Problem("no-unlabeled", "", "told already"),))
    assert messages(check_masks(told), "no-unlabeled") == ["told already"]


def test_through_the_command_with_a_real_layout(tmp_path: Path) -> None:
    """`check` finds the layout and comes here; images without a mask in val/ are told once."""
    catalog(tmp_path, healthy() | {"big": (noise(5, 5), None)})
    (tmp_path / "classes.txt").write_text("red\ngreen\nblue\n")
    save(tmp_path / "val" / "images" / "a.png", noise(2, 4))
    save(tmp_path / "val" / "images" / "b.png", noise(2, 4))
    save(tmp_path / "val" / "masks" / "a.png", healthy()["0"][1])
    found = check(tmp_path)
    assert (found["task"], found["labeled"], found["unlabeled"], found["val"]) == (
        "segmentation", 4, 3, 1,
    )  # fmt: skip
    assert len(messages(found, "no-mask")) == 1
    assert len(messages(found, "sizes-differ")) == 1


def test_unreadable_images_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    data = catalog(tmp_path, healthy())
    (tmp_path / "images" / "0.png").write_bytes(b"no image")
    (tmp_path / "images" / "u1.png").write_bytes(b"")
    found = check_masks(data)
    assert [(each["kind"], each["path"]) for each in found["problems"]] == [
        ("unreadable", "images/0.png"),
        ("unreadable", "images/u1.png"),
    ]
    assert found["classes"][0]["count"] == 3


def test_orientation_that_a_mask_cannot_tell(tmp_path: Path) -> None:
    data = catalog(tmp_path, healthy())
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(noise(2, 4)).save(tmp_path / "images" / "2.png", exif=exif)
    found = check_masks(data)
    assert [(each["kind"], each["path"]) for each in found["problems"]] == [
        ("ambiguous-orientation", "images/2.png")
    ]


@pytest.mark.parametrize("wrong", [mask([0, 1, 9, 0], [0] * 4), mask([0, 1])])
def test_masks_that_do_not_fit_are_an_error(wrong: Bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"masks/x\.png"):
        check_masks(catalog(tmp_path, healthy() | {"x": (noise(2, 4), wrong)}))
