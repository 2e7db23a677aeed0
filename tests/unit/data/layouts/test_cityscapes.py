"""Tests of the Cityscapes layout: both kinds of ids, what is not used, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dmt.data.catalog import Part
from dmt.data.layouts import open_catalog
from dmt.data.masks import read_mask, scan_masks
from dmt.errors import DataError
from trees import save_image, save_index, scene, write_cityscapes


def expected(index: int) -> NDArray[np.uint8]:
    table = np.full(256, 255, dtype=np.uint8)
    table[:5] = 0, 2, 10, 13, 18
    return table[scene(index, (48, 96))[1]]


@pytest.mark.parametrize("label_ids", [False, True])
def test_both_kinds_of_ids_give_the_same_classes(tmp_path: Path, label_ids: bool) -> None:
    root = write_cityscapes(tmp_path / "cityscapes", 4, 2, 2, label_ids=label_ids)
    catalog = open_catalog(root)
    assert (catalog.layout, catalog.problems) == ("cityscapes", ())
    assert len(catalog.classes) == 19
    assert (catalog.classes[0], catalog.classes[10], catalog.classes[18]) == (
        "road", "sky", "bicycle",
    )  # fmt: skip
    assert catalog.labels.tolist() == [0, 0, -1, 0, 0, -1, 0, 0]
    assert catalog.parts.tolist() == [Part.TRAIN] * 6 + [Part.VAL] * 2
    assert catalog.paths[0] == "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png"
    np.testing.assert_array_equal(read_mask(catalog, 0), expected(0))
    np.testing.assert_array_equal(read_mask(catalog, 7), expected(7))
    assert scan_masks(catalog, range(8), 2).ignored.sum() > 0


def test_every_label_id_has_its_class(tmp_path: Path) -> None:
    root = write_cityscapes(tmp_path, 1, label_ids=True, size=(2, 18))
    mask = np.array([*range(34), 255, 255], dtype=np.uint8).reshape(2, 18)
    path = root / "gtFine" / "train" / "aachen" / "aachen_000000_000019_gtFine_labelIds.png"
    save_index(path, mask)
    found = read_mask(open_catalog(root), 0).ravel()
    trained = {7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole",
               19: "traffic light", 20: "traffic sign", 21: "vegetation", 22: "terrain",
               23: "sky", 24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus",
               31: "train", 32: "motorcycle", 33: "bicycle"}  # fmt: skip
    names = (*open_catalog(root).classes, *[""] * 236, "")
    assert {i: names[c] for i, c in enumerate(found[:34]) if c != 255} == trained
    assert found[34:].tolist() == [255, 255]
    save_index(path, np.full((2, 18), 34, dtype=np.uint8))
    with pytest.raises(DataError, match=r"hold the value 34, .* none of the 19 classes"):
        scan_masks(open_catalog(root), [0], 0)


def test_halved_copies_in_another_format(tmp_path: Path) -> None:
    root = write_cityscapes(tmp_path, 2, 1, 1, label_ids=False, size=(24, 48))
    for path in (root / "leftImg8bit").rglob("*.png"):
        save_image(path.with_suffix(".jpg"), scene(0, (24, 48))[0])
        path.unlink()
    catalog = open_catalog(root)
    assert catalog.labels.tolist() == [0, -1, 0, 0]
    assert read_mask(catalog, 0).shape == (24, 48)


def test_parts_that_are_not_used_are_told(tmp_path: Path) -> None:
    root = write_cityscapes(tmp_path, 2, 1, 1, label_ids=True)
    for name in ("test", "train_extra"):
        path = root / "leftImg8bit" / name / "berlin" / "berlin_0_0_leftImg8bit.png"
        save_image(path, scene(0)[0])
    catalog = open_catalog(root)
    assert len(catalog) == 4
    assert [(p.kind, p.path) for p in catalog.problems] == [
        ("ignored-folder", "leftImg8bit/test"),
        ("ignored-folder", "leftImg8bit/train_extra"),
    ]


def test_train_ids_win_where_all_have_them(tmp_path: Path) -> None:
    root = write_cityscapes(tmp_path, 2, label_ids=True)
    write_cityscapes(tmp_path, 2, label_ids=False)
    catalog = open_catalog(root)
    assert catalog.masks is not None
    assert all(path.endswith("labelTrainIds.png") for path in catalog.masks.paths)
    one = next((root / "gtFine" / "train" / "aachen").glob("*labelTrainIds.png"))
    one.unlink()
    mapped = open_catalog(root)
    assert mapped.masks is not None
    assert all(path.endswith("labelIds.png") for path in mapped.masks.paths)
    np.testing.assert_array_equal(read_mask(mapped, 0), expected(0))
    next((root / "gtFine" / "val" / "munster").glob("*labelIds.png")).unlink()
    with pytest.raises(DataError, match=r"some images have only \*_labelIds masks \(train/aachen"):
        open_catalog(root)


def test_what_cannot_be_used(tmp_path: Path) -> None:
    root = write_cityscapes(tmp_path / "a", 2, label_ids=True)
    next((root / "leftImg8bit" / "train" / "aachen").iterdir()).unlink()
    with pytest.raises(DataError, match=r"gtFine/train/aachen/aachen_000000_000019_gtFine_labelId"):
        open_catalog(root)
    (tmp_path / "b" / "leftImg8bit" / "train").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no image"):
        open_catalog(tmp_path / "b")
    save_image(tmp_path / "b" / "leftImg8bit" / "train" / "1_leftImg8bit.png", scene(0)[0])
    with pytest.raises(DataError, match=r"has a mask: put the masks into gtFine/train"):
        open_catalog(tmp_path / "b")
