"""From what a person names to a catalog; each layout is read in a file of its own."""

from __future__ import annotations

import os
from pathlib import Path

from dmt.data.catalog import Catalog
from dmt.data.finding import refuse_bad_name, refuse_outside
from dmt.data.layouts.cifar10 import batches_folder, find_cifar10, read_batches
from dmt.data.layouts.cityscapes import has_cityscapes, read_cityscapes
from dmt.data.layouts.digits import read_digits
from dmt.data.layouts.folders import read_folders
from dmt.data.layouts.image_masks import has_image_masks, read_image_masks
from dmt.data.layouts.shapes import read_shapes
from dmt.data.layouts.split_lists import has_split_lists, read_split_lists
from dmt.data.layouts.table import read_table
from dmt.data.layouts.voc import has_voc, read_voc, voc_folder
from dmt.errors import DataError


def open_catalog(data: str | Path, *, follow_links: bool = False) -> Catalog:
    """Find out what `data` is and list it; nothing is decoded but what comes as one array.

    Args:
        data: a built-in's name (as `open_builtin` knows them), a folder or a CSV, tried in this
            order. A `Path`, or a string such as `./digits`, is never a built-in's name.
        follow_links: whether links in a folder may leave it.

    Returns:
        The catalog of all images.

    Raises:
        DataError: there is no such data, its layout is not known, it cannot be trained on, or a
            link in it leaves it and may not.
    """
    if isinstance(data, str):
        if not data:
            raise DataError("no data was named: give a folder, a CSV, digits, shapes or cifar10")
        builtin = open_builtin(data, follow_links=follow_links)
        if builtin is not None:
            return builtin
    refuse_bad_name(str(data))
    path = Path(os.path.abspath(os.path.expanduser(data)))
    if os.path.isdir(path):
        return open_folder(path, follow_links=follow_links)
    if os.path.isfile(path):
        if path.suffix.lower() == ".csv":
            return read_table(path, follow_links=follow_links)
        raise DataError(
            f"{data} is neither a folder nor a CSV: give the folder that holds the images "
            "(unpack an archive first)"
        )
    raise DataError(
        f"there is no {data}: give a folder of images, a CSV, or one of the built-ins "
        "digits, shapes and cifar10"
    )


def open_builtin(name: str, *, follow_links: bool = False) -> Catalog | None:
    """The built-in data set called `name`, if it is one.

    These are `digits`, `shapes`, `shapes:96`, `shapes:96x128`, `cifar10` and `cifar10:PATH`.

    Raises:
        DataError: CIFAR-10 is not where it was looked for, or is damaged; the size of `shapes`
            is none.
    """
    if name == "digits":
        return read_digits()
    if name == "cifar10":
        return open_folder(find_cifar10(None), follow_links=follow_links)
    if name.startswith("cifar10:"):
        where = Path(name.removeprefix("cifar10:"))
        return open_folder(find_cifar10(where), follow_links=follow_links)
    return read_shapes(name)


def open_folder(root: Path, *, follow_links: bool = False) -> Catalog:
    """The data set in the folder `root`, by the first of the known layouts that it has.

    Raises:
        DataError: the layout is not known, the data set cannot be trained on, or a link in it
            leaves `root` and may not.
    """
    limit = None if follow_links else os.path.realpath(root)
    batches = batches_folder(root)
    if batches is not None:
        refuse_outside(batches, limit)
        return read_batches(batches, follow_links=follow_links)
    if has_cityscapes(root):
        return read_cityscapes(root, follow_links=follow_links)
    if has_voc(root):
        return read_voc(root, follow_links=follow_links)
    if has_split_lists(root):
        return read_split_lists(root, follow_links=follow_links)
    if has_image_masks(root):
        return read_image_masks(root, follow_links=follow_links)
    is_plain = not any((root / name).is_dir() for name in ("labeled", "train"))
    voc = voc_folder(root) if is_plain else None
    if voc is None:
        return read_folders(root, follow_links=follow_links)
    refuse_outside(voc, limit)
    return read_voc(voc, follow_links=follow_links)
