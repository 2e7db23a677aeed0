"""A CSV `path,mask[,split]`: a segmentation whose masks mean what they do in the CSV's folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dmt.data.catalog import Part
from dmt.data.layouts import cityscapes, voc
from dmt.data.layouts.table import read_table
from dmt.data.mask_files import Coding
from dmt.data.masks import read_mask
from dmt.errors import DataError
from dmt.reviews.mask_correcting import can_leave_out, encoded


def save(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 5), value, dtype=np.uint8)).save(path)


def table(root: Path, *lines: str, header: str = "path,mask,split") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "mine.csv").write_text("\n".join((header, *lines, "")), encoding="utf-8")
    return root / "mine.csv"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for index in range(4):
        save(tmp_path / f"images/{index}.png")
        save(tmp_path / f"masks/{index}.png", index % 2)
    (tmp_path / "classes.txt").write_text("off\non\n")
    return tmp_path


def test_lines_become_scenes_of_their_parts(root: Path) -> None:
    catalog = read_table(table(
        root, "images/1.png,masks/1.png,", "images/0.png,./masks/0.png,train", "images/2.png,,",
        "images/3.png,masks/3.png,val",
    ))  # fmt: skip
    assert (catalog.task, catalog.layout, catalog.name) == ("segmentation", "csv", "mine")
    assert catalog.classes == ("off", "on")
    assert catalog.paths == tuple(f"images/{i}.png" for i in range(4))
    assert catalog.labels.tolist() == [0, 0, -1, 0]
    assert catalog.parts.tolist() == [Part.TRAIN, Part.TRAIN, Part.TRAIN, Part.VAL]
    assert catalog.masks is not None
    assert catalog.masks.paths == ("masks/0.png", "masks/1.png", "", "masks/3.png")
    assert (read_mask(catalog, 1) == 1).all()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["images/0.png,masks/9.png,"], "line 2: there is no file masks/9.png"),
        (["images/0.png,masks/0.png,", "images/1.png,../x.png,"], "line 3: ../x.png leaves"),
        (["images/0.png,masks/0.png,", "images/1.png,,test"], "line 3: a test image needs a mask"),
        (["images/0.png,,"], "no image to train on in"),
        (["images/0.png,masks/0.png,", "images/0.png,,"], "line 3: images/0.png is already on"),
    ],
)
def test_what_is_wrong_is_told_by_line(root: Path, lines: list[str], said: str) -> None:
    with pytest.raises(DataError) as error:
        read_table(table(root, *lines))
    assert said in str(error.value)


def test_beside_cityscapes_and_voc_masks_mean_what_they_do_there(tmp_path: Path) -> None:
    save(tmp_path / "c/leftImg8bit/train/x/x_leftImg8bit.png")
    save(tmp_path / "c/gtFine/train/x/x_gtFine_labelIds.png", 26)
    lines = "leftImg8bit/train/x/x_leftImg8bit.png,gtFine/train/x/x_gtFine_labelIds.png,"
    catalog = read_table(table(tmp_path / "c", lines))
    assert catalog.classes == cityscapes.CLASSES
    assert (read_mask(catalog, 0) == cityscapes.CLASSES.index("car")).all()
    save(tmp_path / "v/JPEGImages/a.png")
    save(tmp_path / "v/SegmentationClass/a.png", 15)
    lines = "JPEGImages/a.png,SegmentationClass/a.png,"
    catalog = read_table(table(tmp_path / "v", lines))
    assert catalog.classes == voc.CLASSES
    assert (read_mask(catalog, 0) == voc.CLASSES.index("person")).all()


def test_new_masks_are_in_the_values_of_the_old() -> None:
    mask = np.array([[0, 13, 255]], dtype=np.uint8)
    _, ids = cityscapes.cityscapes_coding(["a_gtFine_labelIds.png"])
    assert encoded(mask, ids).tolist() == [[7, 26, 255]]
    _, train_ids = cityscapes.cityscapes_coding(["a_gtFine_labelTrainIds.png"])
    assert encoded(mask, train_ids).tolist() == [[0, 13, 255]]
    black_and_white = Coding(2, (0, *[-1] * 254, 1))
    assert encoded(np.array([[0, 1]], dtype=np.uint8), black_and_white).tolist() == [[0, 255]]
    assert not can_leave_out(black_and_white)
    assert can_leave_out(ids)
    assert can_leave_out(train_ids)
