"""PASCAL VOC: `JPEGImages/`, `SegmentationClass/`, `SegmentationClassAug/`, `ImageSets/`.

Which images a run learns from is in the lists of `ImageSets/Segmentation/`.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from dmt.core import IGNORE_INDEX
from dmt.data.catalog import Catalog, Part
from dmt.data.decode import shown
from dmt.data.finding import image_paths
from dmt.data.layouts.list_files import ListLine, inside, read_list
from dmt.data.layouts.scene_rows import (
    SceneRows,
    by_stem,
    listed,
    require_masks,
    scene_catalog,
    subfolders,
)
from dmt.data.mask_files import Coding, Color
from dmt.errors import DataError

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip
_IMAGES = "JPEGImages"
_MASKS = ("SegmentationClassAug", "SegmentationClass")  # the first that has an image's mask counts
_LISTS = Path("ImageSets", "Segmentation")


def has_voc(root: Path) -> bool:
    """Whether `root` holds `JPEGImages/`."""
    return (root / _IMAGES).is_dir()


def voc_folder(root: Path) -> Path | None:
    """The folder with `JPEGImages/`: `root`, or the only such one in it or in its `VOCdevkit/`.

    Raises:
        DataError: there are several.
    """
    if has_voc(root):
        return root
    for place in (root, root / "VOCdevkit"):
        names = subfolders(place) if place.is_dir() else []
        found = [place / name for name in names if (place / name / _IMAGES).is_dir()]
        if len(found) > 1:
            several = ", ".join(shown(folder.name) for folder in found)
            raise DataError(
                f"{shown(place)} holds several data sets ({several}): give one of these folders"
            )
        if found:
            return found[0]
    return None


def read_voc(root: Path, *, follow_links: bool = False) -> Catalog:
    """The images of VOC with the 21 usual classes.

    Training images are those in `trainaug.txt`; where there is none, those in `train.txt` and,
    as unlabeled ones, all that are in no list; without either, all that are in no list.

    Args:
        root: absolute path of the folder that holds `JPEGImages/`.
        follow_links: whether links may leave it.

    Returns:
        A catalog of layout `voc`. A training image without a mask is unlabeled.

    Raises:
        DataError: a mask has no image, two files have one stem, a list names an image that is not
            there, or one for both train and val, or no image to train on has a mask.
    """
    gathered = SceneRows(follow_links=follow_links)
    gathered.tell_unused(root, ("labeled.txt", "classes.txt"), f"{_IMAGES}/")
    images = by_stem(gathered.images_in(root, root / _IMAGES), f"{_IMAGES}/")
    masks: dict[str, str] = {}
    for folder in reversed(_MASKS):
        if (root / folder).is_dir():
            found = image_paths(root / folder, root, follow_links=follow_links)
            masks |= by_stem(found, f"{folder}/")
    train, val, unused = _parts(root, images, masks, gathered)
    _refuse_orphans(images, masks)
    for part, stems in ((Part.TRAIN, train), (Part.VAL, val)):
        gathered.rows += [(images[stem], masks.get(stem, ""), part) for stem in sorted(stems)]
    if unused:
        gathered.tell(
            "ignored-files",
            images[min(unused)],
            f"{len(unused)} of the {len(images)} images in {_IMAGES}/ are not used: no list for "
            "training or val names them",
        )
    require_masks(root, gathered, f"put masks into {_MASKS[-1]}/ or {_MASKS[0]}/")
    return scene_catalog(root, "voc", *voc_coding(), gathered)


def voc_coding() -> tuple[tuple[str, ...], Coding]:
    """The 21 usual classes, and how the masks hold them."""
    colors = tuple(_color(number) for number in range(len(CLASSES)))
    return CLASSES, Coding(len(CLASSES), colors=colors, void_colors=(_color(IGNORE_INDEX),))


def _refuse_orphans(images: dict[str, str], masks: dict[str, str]) -> None:
    SceneRows().add(images, masks, Part.TRAIN)


def _parts(
    root: Path, images: dict[str, str], masks: dict[str, str], gathered: SceneRows
) -> tuple[set[str], set[str], set[str]]:
    """The stems to train on, those of val, and those not used; masks that lists name are taken."""
    lists = {
        name: read_list(root / _LISTS / f"{name}.txt", root, follow_links=gathered.follow_links)
        for name in ("trainaug", "train", "val", "test")
    }
    named = partial(_named, root, images, masks, gathered.follow_links)
    if all(lines is None for lines in lists.values()):
        return set(images), set(), set()
    val = named(lists["val"] or [])
    in_test = {_stem(line) for line in lists["test"] or []} & set(images)
    others = set(images) - val - in_test
    if lists["trainaug"] is not None:
        train = named(lists["trainaug"])
        _refuse_both("trainaug.txt", images, train & val)
    elif lists["train"] is not None:
        in_train = named(lists["train"])
        _refuse_both("train.txt", images, in_train & val)
        for stem in others - in_train:
            masks.pop(stem, None)  # not named, so not to be learned from
        train = in_train | others
    else:
        train = others
    return train, val, set(images) - train - val


def _refuse_both(source: str, images: dict[str, str], both: set[str]) -> None:
    if both:
        raise DataError(
            f"{source} and val.txt both name {listed(sorted(images[stem] for stem in both))}: "
            f"remove such lines from {source}, or results would rest on images that were learned"
        )


def _stem(line: ListLine) -> str:
    name = line.image.removeprefix(f"{_IMAGES}/")
    stem, suffix = os.path.splitext(name)
    # A name may hold dots of its own; only lists of paths have suffixes.
    return stem if suffix.lower() in (".jpg", ".jpeg", ".png") else name


def _named(
    root: Path,
    images: dict[str, str],
    masks: dict[str, str],
    follow_links: bool,
    lines: list[ListLine],
) -> set[str]:
    named = set()
    for line in lines:
        stem = _stem(line)
        if stem not in images:
            line.refuse(f"there is no image {shown(line.image)} in {_IMAGES}/: add it, or remove "
                        "the line")  # fmt: skip
        if line.mask:
            if fault := inside(root, line.mask, follow_links=follow_links):
                line.refuse(fault)
            masks[stem] = line.mask
        named.add(stem)
    return named


def _color(number: int) -> Color:
    """The colour that VOC's palette gives a value: its bits, dealt to the channels by turns."""
    channels = [0, 0, 0]
    for bit in range(8):
        channels[bit % 3] |= (number >> bit & 1) << (7 - bit // 3)
    return channels[0], channels[1], channels[2]
