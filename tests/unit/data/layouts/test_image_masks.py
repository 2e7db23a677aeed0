"""Tests of `images/` + `masks/` and of `classes.txt`: what is found, told and refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dmt.data.catalog import Catalog, Part
from dmt.data.layouts import open_catalog
from dmt.data.layouts.class_names import read_class_list
from dmt.data.layouts.image_masks import read_image_masks
from dmt.data.masks import read_mask, scan_masks
from dmt.errors import DataError
from trees import save_image, save_index, scene, write_image_masks


def kinds(catalog: Catalog) -> list[str]:
    return [problem.kind for problem in catalog.problems]


def place(root: Path, *names: str) -> Path:
    """A small image or mask for every name; others are text."""
    image, mask = scene(0, (8, 8), 3)
    for name in names:
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        elif "masks/" in name:
            save_index(path, mask)
        else:
            save_image(path, image)
    return root


def test_images_with_and_without_masks_and_the_parts(tmp_path: Path) -> None:
    root = write_image_masks(tmp_path / "fields", 4, 3, 2, 2)
    save_image(root / "images" / "north" / "1.png", scene(0)[0])
    save_index(root / "masks" / "north" / "1.tif", scene(0, num_kinds=3)[1])
    catalog = open_catalog(str(root))
    assert (catalog.name, catalog.layout) == ("fields", "image-mask-folders")
    assert (catalog.task, catalog.root) == ("segmentation", root)
    assert catalog.classes == ("ground", "red", "green")
    assert catalog.problems == ()
    assert list(catalog.paths) == sorted(catalog.paths)
    assert catalog.masks is not None
    found = {
        path: (mask, int(label), Part(part))
        for path, mask, label, part in zip(
            catalog.paths, catalog.masks.paths, catalog.labels, catalog.parts, strict=True
        )
    }
    assert found["images/0000.jpg"] == ("masks/0000.png", 0, Part.TRAIN)
    assert found["images/0005.jpg"] == ("", -1, Part.TRAIN)
    assert found["images/north/1.png"] == ("masks/north/1.tif", 0, Part.TRAIN)
    assert found["val/images/0007.jpg"] == ("val/masks/0007.png", 0, Part.VAL)
    assert found["test/images/0010.jpg"] == ("test/masks/0010.png", 0, Part.TEST)
    assert len(found) == 12
    row = catalog.paths.index("images/north/1.png")
    np.testing.assert_array_equal(read_mask(catalog, row), scene(0, num_kinds=3)[1])


def test_train_and_unlabeled_folders(tmp_path: Path) -> None:
    root = place(
        tmp_path, "train/images/1.png", "train/masks/1.png", "unlabeled/x/2.png",
        "val/images/3.png", "val/masks/3.png",
    )  # fmt: skip
    catalog = open_catalog(root)
    assert catalog.paths == ("train/images/1.png", "unlabeled/x/2.png", "val/images/3.png")
    assert catalog.labels.tolist() == [0, -1, 0]
    assert kinds(catalog) == ["no-class-names"]


def test_what_is_told(tmp_path: Path) -> None:
    root = place(
        tmp_path, "images/1.png", "masks/1.png", "val/images/3.png", "val/masks/3.png",
        "val/images/4.png", "old/5.png",
    )  # fmt: skip
    (root / "masks" / "notes.txt").touch()
    catalog = open_catalog(root)
    assert kinds(catalog) == [
        "ignored-folder", "no-class-names", "no-mask", "no-unlabeled", "ignored-files",
    ]  # fmt: skip
    assert catalog.problems[2].path == "val/images/4.png"
    assert catalog.problems[2].message == "1 val image has no mask and is not used"
    assert "val/images/4.png" not in catalog.paths
    assert catalog.classes == ("0", "1")


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["images/1.png"], "lacks the folder masks/"),
        (["masks/1.png"], "lacks the folder images/"),
        (["images/1.png", "masks/1.png", "val/images/1.png"], "val lacks the folder masks/"),
        (["images/", "masks/"], "holds no image"),
        (["images/1.png", "masks/"], "has a mask: put masks of the same name"),
        (["images/1.png", "masks/", "val/images/1.png", "val/masks/1.png"], "to train on"),
        (["images/1.png", "masks/1.png", *(f"masks/{n}.png" for n in range(2, 7))],
         r"^masks/2.png, masks/3.png, masks/4.png and 2 more have no image"),
        (["images/1.png", "masks/1.png", "masks/a/1.png"], "^masks/a/1.png has no image"),
        (["images/1.png", "images/1.jpg", "masks/1.png"], "1.jpg and images/1.png differ by suff"),
        (["images/1.png", "masks/1.tif", "masks/1.png"], "masks/1.png and masks/1.tif differ"),
    ],
)  # fmt: skip
def test_what_cannot_be_used(tmp_path: Path, names: list[str], match: str) -> None:
    with pytest.raises(DataError, match=match) as caught:
        open_catalog(place(tmp_path / "data", *names))
    assert "\n" not in str(caught.value)


def test_a_link_out_of_the_data_folder_is_refused(tmp_path: Path) -> None:
    root = place(tmp_path / "data", "images/1.png", "masks/1.png")
    save_index(tmp_path / "2.png", scene(0)[1])
    (root / "masks" / "2.png").symlink_to(tmp_path / "2.png")
    with pytest.raises(DataError, match="leaves the data folder"):
        open_catalog(root)


def test_images_in_a_hidden_folder_are_told(tmp_path: Path) -> None:
    root = place(tmp_path, "images/1.png", "images/2.png", "images/.old/3.png", "masks/1.png")
    (root / "classes.txt").write_text("a\nb\n")
    told = [(p.kind, p.path) for p in read_image_masks(root).problems]
    assert told == [("ignored-folder", "images/.old")]


def test_masks_as_colour_pictures(tmp_path: Path) -> None:
    root = write_image_masks(tmp_path, 2, 1, classes=("ground", "red"))
    (root / "classes.txt").write_text(
        "# name colour\nground 10 20 30\nred earth, 200,0,0\n\nvoid #000000\n"
    )
    table = np.zeros((256, 3), dtype=np.uint8)
    table[:2] = (10, 20, 30), (200, 0, 0)
    for number in range(2):
        path = root / "masks" / f"{number:04d}.png"
        Image.fromarray(table[np.array(Image.open(path))]).save(path)
    catalog = open_catalog(root)
    assert catalog.classes == ("ground", "red earth")
    np.testing.assert_array_equal(read_mask(catalog, 1), scene(1, (49, 63), 2)[1])
    spoiled = np.full((48, 64, 3), 9, dtype=np.uint8)
    Image.fromarray(spoiled).save(root / "masks" / "0000.png")
    with pytest.raises(DataError, match=r"hold the colour #090909, for example in masks/0000.png"):
        scan_masks(catalog, [0, 1], 0)


def test_colour_masks_without_colours_are_refused(tmp_path: Path) -> None:
    root = write_image_masks(tmp_path, 2)
    save_image(root / "masks" / "0001.png", scene(1, (49, 63))[0])
    with pytest.raises(DataError, match=r"0001.png is a colour picture: give every class its col"):
        scan_masks(open_catalog(root), [0, 1], 0)


def test_void_is_no_class_of_index_masks_either(tmp_path: Path) -> None:
    root = write_image_masks(tmp_path, 3, classes=("a", "b", "c"))
    (root / "classes.txt").write_text("a\nVoid\nc\n")
    catalog = open_catalog(root)
    assert catalog.classes == ("a", "c")
    mask = scene(1, (49, 63), 3)[1]
    expected = np.where(mask == 2, 1, np.where(mask == 0, 0, 255))
    np.testing.assert_array_equal(read_mask(catalog, 1), expected)


def test_too_few_names_are_found_by_the_scan(tmp_path: Path) -> None:
    root = write_image_masks(tmp_path, 4, classes=("a", "b", "c", "d"))
    (root / "classes.txt").write_text("a\nb\nc\n")
    with pytest.raises(DataError, match=r"classes.txt names 3 classes but masks hold the value 3,"):
        scan_masks(open_catalog(root), range(4), 1)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "names no class"),
        ("\n# nothing\n", "names no class"),
        ("crack\n", r"names one class only \(crack\): name the background too"),
        ("crack\nvoid\n", "names one class only"),
        ("a\nb\na\n", "has the name a on the lines 1 and 3"),
        ("\u00e9\ne\u0301\n", "has the name é on the lines 1 and 2"),
        ("a 1 2 3\nb #010203\n", r"has the colour \(1, 2, 3\) on the lines 1 and 2"),
        ("a 1 2 300\nb\n", "line 1: a colour is three numbers from 0 to 255"),
        ("a\n, 1 2 3\n", "line 2: there is no name before the colour"),
        ("".join(f"c{n}\n" for n in range(256)), "names 256 classes, more than 255"),
    ],
)
def test_class_lists_that_cannot_be_used(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "classes.txt").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=match):
        read_class_list(tmp_path)


def test_class_lists(tmp_path: Path) -> None:
    assert read_class_list(tmp_path) is None
    (tmp_path / "classes.txt").write_bytes(
        b"\xef\xbb\xbfsky 1 2 3\r\ntraffic light\t#0a0B0c\r\nignore 0 0 0\r\nlevel 5 7;8;9"
    )
    found = read_class_list(tmp_path)
    assert found is not None
    assert found.names == ("sky", "traffic light", "level 5")
    assert found.values == (0, 1, 255, 2)
    assert found.colors == ((1, 2, 3), (10, 11, 12), (7, 8, 9))
    assert found.void_colors == ((0, 0, 0),)
    (tmp_path / "classes.txt").write_text("sky 1 2 3\nroad\n")
    found = read_class_list(tmp_path)
    assert found is not None
    assert found.colors is None
    (tmp_path / "classes.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="not UTF-8"):
        read_class_list(tmp_path)
