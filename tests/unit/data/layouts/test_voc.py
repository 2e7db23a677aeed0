"""Tests of the VOC layout: lists, both folders of masks, where it is found, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dmt.data.catalog import Catalog, Part
from dmt.data.layouts import open_catalog
from dmt.data.layouts.voc import _color
from dmt.data.masks import read_mask, scan_masks
from dmt.errors import DataError
from trees import palette, save_image, save_index, scene, write_voc

LISTS = Path("ImageSets", "Segmentation")


def kinds(catalog: Catalog) -> list[str]:
    return [problem.kind for problem in catalog.problems]


def counts(catalog: Catalog) -> tuple[int, int, int]:
    """Labeled and unlabeled images to train on, and those of val."""
    is_train = catalog.parts == Part.TRAIN
    is_labeled = catalog.labels == 0
    return (
        int((is_train & is_labeled).sum()),
        int((is_train & ~is_labeled).sum()),
        int((~is_train).sum()),
    )


def test_the_augmented_list(tmp_path: Path) -> None:
    catalog = open_catalog(write_voc(tmp_path / "VOC2012", 3, 4, 2))
    assert (catalog.name, catalog.layout) == ("VOC2012", "voc")
    assert len(catalog.classes) == 21
    assert catalog.classes[:2] == ("background", "aeroplane")
    assert counts(catalog) == (7, 0, 2)
    assert kinds(catalog) == ["no-unlabeled"]
    assert catalog.masks is not None
    assert catalog.masks.paths[2] == "SegmentationClass/2007_000002.png"
    assert catalog.masks.paths[3] == "SegmentationClassAug/2007_000003.png"
    found = scan_masks(catalog, range(9), 2)
    assert set(np.flatnonzero(found.pixels.sum(0))) == {0, 5, 10, 15, 20}
    assert (found.ignored > 0).tolist() == [True] * 3 + [False] * 4 + [True] * 2


def test_without_the_augmented_list_the_others_are_unlabeled(tmp_path: Path) -> None:
    root = write_voc(tmp_path, 3, 0, 2)
    save_image(root / "JPEGImages" / "2008_000001.jpg", scene(1)[0])
    save_index(root / "SegmentationClass" / "2008_000001.png", scene(1)[1])
    save_image(root / "JPEGImages" / "2008_000002.jpg", scene(2)[0])
    save_image(root / "JPEGImages" / "2008_000003.jpg", scene(2)[0])
    (root / LISTS / "test.txt").write_text("2008_000003\n2008_999999\n")
    catalog = open_catalog(root)
    assert counts(catalog) == (3, 2, 2)
    assert kinds(catalog) == ["ignored-files"]
    assert catalog.problems[0].path == "JPEGImages/2008_000003.jpg"


def test_no_list_at_all(tmp_path: Path) -> None:
    root = write_voc(tmp_path, 3, 0, 0)
    save_image(root / "JPEGImages" / "2008_000002.jpg", scene(2)[0])
    for path in (root / LISTS).iterdir():
        path.unlink()
    assert counts(open_catalog(root)) == (3, 1, 0)


def test_an_augmented_mask_wins_and_images_in_no_list_are_told(tmp_path: Path) -> None:
    root = write_voc(tmp_path, 2, 1, 1)
    other = np.full((48, 64), 7, dtype=np.uint8)
    save_index(root / "SegmentationClassAug" / "2007_000001.png", other)
    save_image(root / "JPEGImages" / "2008_000002.jpg", scene(2)[0])
    catalog = open_catalog(root)
    assert (read_mask(catalog, 1) == 7).all()
    assert counts(catalog) == (3, 0, 1)
    assert kinds(catalog) == ["ignored-files", "no-unlabeled"]


def test_lists_of_paths(tmp_path: Path) -> None:
    root = write_voc(tmp_path, 2, 2, 1)
    (root / LISTS / "trainaug.txt").write_text(
        "/JPEGImages/2007_000000.jpg /SegmentationClass/2007_000000.png\n"
        "JPEGImages/2007_000002.jpg SegmentationClassAug/2007_000002.png\r\n"
    )
    (root / LISTS / "val.txt").write_text("JPEGImages/2007_000004.jpg\n")
    catalog = open_catalog(root)
    assert catalog.paths == tuple(f"JPEGImages/2007_00000{n}.jpg" for n in (0, 2, 4))
    assert counts(catalog) == (2, 0, 1)


@pytest.mark.parametrize("inner", ["VOC2012", "VOCdevkit/VOC2012", "VOCdevkit/mine"])
def test_the_folder_above_is_taken_too(tmp_path: Path, inner: str) -> None:
    write_voc(tmp_path / inner, 2, 1, 1)
    catalog = open_catalog(tmp_path)
    assert catalog.root == tmp_path / inner
    assert counts(catalog) == (3, 0, 1)


def test_colour_copies_of_the_masks_are_read(tmp_path: Path) -> None:
    root = write_voc(tmp_path, 2, 0, 1)
    expected = read_mask(open_catalog(root), 0)
    colored = np.array(palette(), dtype=np.uint8).reshape(256, 3)[expected]
    save_image(root / "SegmentationClass" / "2007_000000.png", colored)
    np.testing.assert_array_equal(read_mask(open_catalog(root), 0), expected)


def test_the_palette_is_the_known_one() -> None:
    assert [_color(n) for n in (0, 1, 2, 8, 15, 20, 255)] == [
        (0, 0, 0), (128, 0, 0), (0, 128, 0), (64, 0, 0), (192, 128, 128), (0, 64, 128),
        (224, 224, 192),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("train.txt", "2007_000000\n\n2007_777777\n", r"train.txt, line 3: there is no image 2007"),
        ("val.txt", "2007_000001\n", "train.txt and val.txt both name JPEGImages/2007_000001.jpg"),
        ("train.txt", "JPEGImages/2007_000000.jpg masks/1.png\n", "line 1: there is no file masks"),
        ("train.txt", "a b c\n", "line 1: 3 paths instead"),
        ("train.txt", "../x.jpg\n", "line 1: ../x.jpg is no file in the data folder"),
        ("train.txt", "# none\n", "no image to train on"),
    ],
)
def test_lists_that_cannot_be_used(tmp_path: Path, name: str, text: str, match: str) -> None:
    root = write_voc(tmp_path, 2, 0, 1)
    (root / LISTS / name).write_text(text)
    with pytest.raises(DataError, match=match):
        open_catalog(root)


def test_what_else_cannot_be_used(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "one", 2, 0, 1)
    save_index(root / "SegmentationClass" / "x.png", scene(0)[1])
    with pytest.raises(DataError, match=r"SegmentationClass/x.png has no image"):
        open_catalog(root)
    write_voc(tmp_path / "two", 1, 0, 1)
    with pytest.raises(DataError, match=r"several data sets \(one, two\)"):
        open_catalog(tmp_path)


def test_lists_of_another_layout_are_told(tmp_path: Path) -> None:
    root = write_voc(tmp_path, 2, 1, 1)
    (root / "labeled.txt").touch()
    told = open_catalog(root).problems[0]
    assert (told.kind, told.path) == ("ignored-files", "labeled.txt")
