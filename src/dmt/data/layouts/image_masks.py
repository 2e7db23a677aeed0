"""Folders of images and masks: `images/` and `masks/`, in `val/` and `test/` too.

Masks are opened only to find out what their values mean.
"""

from __future__ import annotations

from pathlib import Path

from dmt.data.catalog import Catalog, Part
from dmt.data.decode import shown
from dmt.data.layouts.mask_coding import find_coding
from dmt.data.layouts.scene_rows import (
    SceneRows,
    by_stem,
    require_masks,
    scene_catalog,
    subfolders,
)
from dmt.errors import DataError

_IMAGES, _MASKS = "images", "masks"
_HELD_OUT = {"val": Part.VAL, "test": Part.TEST}


def has_image_masks(root: Path) -> bool:
    """Whether `root` or its folder `train/` holds `images/` and `masks/`.

    A root with one of them alone is taken too, so that what is missing can be said.
    """
    if _is_in(root, "train"):
        return True
    num = sum((root / name).is_dir() for name in (_IMAGES, _MASKS))
    return num == 2 or (num == 1 and not (root / "labeled").is_dir())


def _is_in(root: Path, name: str) -> bool:
    return all((root / name / each).is_dir() for each in (_IMAGES, _MASKS))


def read_image_masks(root: Path, *, follow_links: bool = False) -> Catalog:
    """The images of `root`, each with the mask of the same relative path but for the suffix.

    Args:
        root: absolute path of a folder with `images/` and `masks/` (or both in `train/`), and
            perhaps both in `val/` and in `test/`, images in `unlabeled/`, and `classes.txt`.
        follow_links: whether links may leave it.

    Returns:
        A catalog of layout `image-mask-folders`; an image without a mask is unlabeled.

    Raises:
        DataError: a folder is missing, a mask has no image, two files have one stem, there is no
            image or no mask to train on, or `classes.txt` or a mask cannot be used.
    """
    gathered = SceneRows(follow_links=follow_links)
    is_plain = any((root / name).is_dir() for name in (_IMAGES, _MASKS))
    used = (_IMAGES, _MASKS) if is_plain else ("train",)
    _gather(root, "" if is_plain else "train/", Part.TRAIN, gathered)
    for name in subfolders(root):
        if name in _HELD_OUT:
            _gather(root, name + "/", _HELD_OUT[name], gathered)
        elif name == "unlabeled":
            unlabeled = gathered.images_in(root, root / name)
            gathered.rows += [(path, "", Part.TRAIN) for path in unlabeled]
        elif name not in used:
            gathered.tell(
                "ignored-folder",
                name,
                f"the folder {shown(name)}/ is not used, since there are images/ and masks/",
            )
    require_masks(root, gathered, "put masks of the same name into masks/")
    classes, coding, problems = find_coding(root, gathered.masks, follow_links=follow_links)
    gathered.problems += problems
    return scene_catalog(root, "image-mask-folders", classes, coding, gathered)


def _gather(root: Path, prefix: str, part: Part, gathered: SceneRows) -> None:
    def found(name: str) -> dict[str, str]:
        folder = root / prefix / name
        if not folder.is_dir():
            raise DataError(
                f"{shown(root / prefix)} lacks the folder {name}/: a segmentation needs images/ "
                "and masks/ side by side"
            )
        return by_stem(gathered.images_in(root, folder), f"{prefix}{name}/")

    gathered.add(found(_IMAGES), found(_MASKS), part)
