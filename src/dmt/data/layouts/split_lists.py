"""Lists of images and masks in the data folder: `labeled.txt`, `unlabeled.txt`, `val.txt`, …

Masks are opened only to find out what their values mean.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path

from dmt.data.catalog import Catalog, Part
from dmt.data.decode import shown
from dmt.data.layouts.list_files import ListLine, inside, read_list
from dmt.data.layouts.mask_coding import find_coding
from dmt.data.layouts.scene_rows import SceneRows, require_masks, scene_catalog

LABELED = "labeled.txt"
_UNLABELED = "unlabeled.txt"
_LISTS = {
    LABELED: Part.TRAIN,
    "val.txt": Part.VAL,
    "test.txt": Part.TEST,
    _UNLABELED: Part.TRAIN,  # last, so that what is labeled is known
}


def has_split_lists(root: Path) -> bool:
    """Whether `root` holds `labeled.txt`."""
    return (root / LABELED).is_file()


def read_split_lists(root: Path, *, follow_links: bool = False) -> Catalog:
    """The images that the lists in `root` name, with paths relative to it.

    Args:
        root: absolute path of a folder with `labeled.txt` (a line is `image mask`) and perhaps
            `val.txt`, `test.txt` (likewise), `unlabeled.txt` (masks there are not used; images
            that `labeled.txt` names as well stay labeled) and `classes.txt`.
        follow_links: whether links may leave it.

    Returns:
        A catalog of layout `split-lists`.

    Raises:
        DataError: a line names no file, an image without a mask where one is needed, or an image
            that was named before; no image is labeled; or `classes.txt` or a mask cannot be used.
    """
    gathered = SceneRows()
    first: dict[str, ListLine] = {}
    num_again = num_masks = 0
    for name, part in _LISTS.items():
        for line in read_list(root / name, root, follow_links=follow_links) or []:
            key = unicodedata.normalize("NFC", line.image)
            twin = first.setdefault(key, line)
            if twin is not line:
                if (twin.file.name, name) == (LABELED, _UNLABELED):
                    num_again += 1
                    continue
                line.refuse(
                    f"{shown(line.image)} is already on line {twin.number} of {twin.file.name}: "
                    "remove one of the two"
                )
            _check(root, line, follow_links, needs_mask=name != _UNLABELED)
            num_masks += name == _UNLABELED and bool(line.mask)
            mask = "" if name == _UNLABELED else line.mask
            gathered.rows.append((line.image, mask, part))
    if num_again:
        message = (
            f"{num_again} of the images in {_UNLABELED} are in {LABELED} too: they are labeled"
        )
        gathered.tell("listed-twice", _UNLABELED, message)
    if num_masks:
        message = f"{num_masks} of the images in {_UNLABELED} come with masks, which are not used"
        gathered.tell("ignored-files", _UNLABELED, message)
    require_masks(root, gathered, f"write lines 'image mask' into {LABELED}")
    classes, coding, problems = find_coding(root, gathered.masks, follow_links=follow_links)
    gathered.problems += problems
    return scene_catalog(root, "split-lists", classes, coding, gathered)


def _check(root: Path, line: ListLine, follow_links: bool, needs_mask: bool) -> None:
    if fault := inside(root, line.image, follow_links=follow_links):
        line.refuse(fault)
    if needs_mask and not line.mask:
        line.refuse(
            f"{shown(line.image)} comes without a mask: write 'image mask', or move the line to "
            f"{_UNLABELED}"
        )
    if needs_mask and (fault := inside(root, line.mask, follow_links=follow_links)):
        line.refuse(fault)
