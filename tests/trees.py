"""Miniature segmentation sets on disk in the layouts and encodings of the real ones. No tests here.

Scenes show one bright shape on dark ground; its colour tells its class.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_COLORS = ((40, 40, 40), (220, 60, 50), (60, 200, 80), (70, 90, 230), (230, 220, 60))
NUM_KINDS = len(_COLORS)
_VOID = 255


def scene(
    index: int, size: tuple[int, int] = (48, 64), num_kinds: int = NUM_KINDS
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An image uint8 (H, W, 3) and its kinds uint8 (H, W): 0 is ground, 255 the shape's border.

    Args:
        index: scenes of equal index are equal; the shape is of kind 1 + index % (num_kinds − 1).
        size: height and width.
        num_kinds: 2 to 5.
    """
    height, width = size
    random = np.random.default_rng(index)
    kind = 1 + index % (num_kinds - 1)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    centre_y, centre_x = random.uniform(0.35, 0.65, 2) * size
    radius = random.uniform(0.25, 0.4) * min(size)
    if index % 2:
        distance = np.maximum(abs(y - centre_y), abs(x - centre_x))
    else:
        distance = np.hypot(y - centre_y, x - centre_x)
    mask = np.where(distance < radius, kind, 0).astype(np.uint8)
    image = np.array(_COLORS)[mask] + random.normal(0, 10, (height, width, 3))
    mask[abs(distance - radius) < 0.75] = _VOID
    return image.clip(0, 255).astype(np.uint8), mask


def palette() -> list[int]:
    """VOC's: 768 numbers, red, green and blue of every value."""
    numbers = []
    for value in range(256):
        bits = [value >> bit & 1 for bit in range(8)] + [0]
        numbers += [sum(bits[3 * turn + c] << 7 - turn for turn in range(3)) for c in range(3)]
    return numbers


def save_index(path: Path, mask: NDArray[np.uint8], with_palette: bool = False) -> None:
    """Write a mask uint8 (H, W) as PNG: grey indices, or indices into VOC's palette."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(mask)
    if with_palette:
        image.putpalette(palette())
    image.save(path)


def save_image(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an image uint8 (H, W, 3) in the format of the path's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def write_voc(
    root: Path, num_train: int, num_aug: int, num_val: int, size: tuple[int, int] = (48, 64)
) -> Path:
    """VOC 2012 with `num_train` images in train.txt, `num_aug` more in trainaug.txt, and val.txt.

    Without `num_aug` there is no trainaug.txt. Kinds 1 … 4 are the classes 5, 10, 15 and 20, as
    palette PNGs; those of `SegmentationClassAug/` are grey and have no border.
    """
    names = [f"2007_{index:06d}" for index in range(num_train + num_aug + num_val)]
    lists = {
        "train": names[:num_train],
        "trainaug": names[: num_train + num_aug],
        "val": names[num_train + num_aug :],
    }
    if not num_aug:
        del lists["trainaug"]
    for index, name in enumerate(names):
        image, mask = scene(index, size)
        mask = np.where(mask == _VOID, mask, 5 * mask).astype(np.uint8)
        save_image(root / "JPEGImages" / f"{name}.jpg", image)
        if name in lists["train"] or name in lists["val"]:
            save_index(root / "SegmentationClass" / f"{name}.png", mask, with_palette=True)
        else:
            bare = np.where(mask == _VOID, 0, mask).astype(np.uint8)
            save_index(root / "SegmentationClassAug" / f"{name}.png", bare)
    folder = root / "ImageSets" / "Segmentation"
    folder.mkdir(parents=True, exist_ok=True)
    for kind, listed in lists.items():
        (folder / f"{kind}.txt").write_text("".join(f"{name}\n" for name in listed))
    return root


def write_cityscapes(
    root: Path,
    num_train: int,
    num_unlabeled: int = 0,
    num_val: int = 2,
    *,
    label_ids: bool,
    size: tuple[int, int] = (48, 96),
) -> Path:
    """Cityscapes with two cities in train and one in val; the last train images have no masks.

    Kinds 0 … 4 are road, building, sky, car and bicycle, as label ids or as train ids; borders
    are label id 0 or train id 255.
    """
    ids = (7, 11, 23, 26, 33) if label_ids else (0, 2, 10, 13, 18)
    kind = "labelIds" if label_ids else "labelTrainIds"
    for index in range(num_train + num_unlabeled + num_val):
        is_val = index >= num_train + num_unlabeled
        city = "munster" if is_val else ("aachen", "ulm")[index % 2]
        folder = Path("val" if is_val else "train", city)
        name = f"{city}_{index:06d}_000019"
        image, mask = scene(index, size)
        save_image(root / "leftImg8bit" / folder / f"{name}_leftImg8bit.png", image)
        if num_train <= index < num_train + num_unlabeled:
            continue
        table = np.full(256, 0 if label_ids else _VOID, dtype=np.uint8)
        table[:NUM_KINDS] = ids
        save_index(root / "gtFine" / folder / f"{name}_gtFine_{kind}.png", table[mask])
        (root / "gtFine" / folder / f"{name}_gtFine_polygons.json").write_text("{}")
    return root


def write_image_masks(
    root: Path,
    num_labeled: int,
    num_unlabeled: int = 0,
    num_val: int = 0,
    num_test: int = 0,
    *,
    size: tuple[int, int] = (48, 64),
    classes: tuple[str, ...] = ("ground", "red", "green"),
) -> Path:
    """`images/` and `masks/` with index PNGs and `classes.txt`; `val/` and `test/` likewise.

    Sizes differ a little from image to image. There are 2 to 5 `classes`.
    """
    root.mkdir(parents=True, exist_ok=True)
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in classes))
    places = [Path()] * (num_labeled + num_unlabeled)
    places += [Path("val")] * num_val + [Path("test")] * num_test
    for index, place in enumerate(places):
        height, width = size[0] + index % 3, size[1] - index % 2
        image, mask = scene(index, (height, width), len(classes))
        save_image(root / place / "images" / f"{index:04d}.jpg", image)
        if place != Path() or index < num_labeled:
            save_index(root / place / "masks" / f"{index:04d}.png", mask)
    return root
