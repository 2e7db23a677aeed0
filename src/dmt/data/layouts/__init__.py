"""Which layout a built-in's name or a folder is; each layout is read in a file of its own."""

from __future__ import annotations

from pathlib import Path

from dmt.data.catalog import Catalog
from dmt.data.layouts.cifar10 import batches_folder, find_cifar10, read_batches
from dmt.data.layouts.digits import read_digits
from dmt.data.layouts.folders import read_folders


def open_builtin(name: str) -> Catalog | None:
    """The built-in data set called `name` (`digits`, `cifar10`, `cifar10:PATH`), if it is one.

    Raises:
        DataError: CIFAR-10 is not where it was looked for, or is damaged.
    """
    if name == "digits":
        return read_digits()
    if name == "cifar10":
        return open_folder(find_cifar10(None))
    if name.startswith("cifar10:"):
        return open_folder(find_cifar10(Path(name.removeprefix("cifar10:"))))
    return None


def open_folder(root: Path) -> Catalog:
    """The data set in the folder `root`: CIFAR-10's batches, or folders of images.

    Raises:
        DataError: the layout is not known, or the data set cannot be trained on.
    """
    batches = batches_folder(root)
    return read_folders(root) if batches is None else read_batches(batches)
