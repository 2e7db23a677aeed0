"""From images and their masks, as a layout has found them, to the catalog of a segmentation."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dmt.data.catalog import UNLABELED, Catalog, MaskFiles, Part, Problem, natural_key
from dmt.data.decode import shown
from dmt.data.finding import is_folder, walk
from dmt.data.layouts.folders import hidden_folders, ignored_files, refuse_twins
from dmt.data.mask_files import Coding
from dmt.errors import DataError

_NUM_NAMED = 3


@dataclass
class SceneRows:
    """What is being gathered: (image, mask or "", part), problems, and files that are no images."""

    rows: list[tuple[str, str, Part]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    follow_links: bool = False

    def images_in(self, root: Path, folder: Path) -> list[str]:
        """The images below `folder`, relative to `root`; what is passed over is noted."""
        found = walk(folder, root, follow_links=self.follow_links)
        self.others += found.others
        self.problems += hidden_folders(found)
        return found.images

    def tell(self, kind: str, path: str, message: str) -> None:
        """Add a problem."""
        self.problems.append(Problem(kind, path, message))

    def tell_unused(self, root: Path, names: Iterable[str], reason: str) -> None:
        """Add a problem for each file of `names` that is in `root` though the layout has no use."""
        for name in names:
            if (root / name).is_file():
                self.tell("ignored-files", name, f"{name} is not used, since there is {reason}")

    def add(self, images: Mapping[str, str], masks: Mapping[str, str], part: Part) -> None:
        """Gather images by stem with the masks of the same stem.

        Raises:
            DataError: a mask has no image.
        """
        orphans = sorted(masks[stem] for stem in masks if stem not in images)
        if orphans:
            has = "has" if len(orphans) == 1 else "have"
            raise DataError(
                f"{listed(orphans)} {has} no image of the same name: add it or remove the mask"
            )
        self.rows += [(path, masks.get(stem, ""), part) for stem, path in images.items()]

    @property
    def masks(self) -> list[str]:
        """The paths of all masks, sorted."""
        return sorted(mask for _, mask, _ in self.rows if mask)


def listed(paths: list[str]) -> str:
    """Up to three of `paths`, and the number of the others."""
    more = f" and {len(paths) - _NUM_NAMED} more" if len(paths) > _NUM_NAMED else ""
    return ", ".join(shown(path) for path in paths[:_NUM_NAMED]) + more


def subfolders(folder: Path) -> list[str]:
    """The names of the folders in `folder` that are not hidden, in natural order.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if is_folder(entry)]
    except OSError as error:
        raise DataError(f"the folder {shown(folder)} cannot be read: {error.strerror}") from error
    return sorted((name for name in names if not name.startswith(".")), key=natural_key)


def by_stem(paths: Iterable[str], prefix: str, ending: str = "") -> dict[str, str]:
    """`paths` by what lies between `prefix` and the suffix of the file.

    Args:
        paths: relative POSIX paths that begin with `prefix`.
        prefix: of a folder, with its slash.
        ending: of every stem, left out of it too.

    Raises:
        DataError: two paths have one stem.
    """
    found: dict[str, str] = {}
    for path in paths:
        stem = unicodedata.normalize("NFC", os.path.splitext(path[len(prefix) :])[0])
        twin = found.setdefault(stem.removesuffix(ending), path)
        if twin != path:
            raise DataError(
                f"{shown(twin)} and {shown(path)} differ by suffix alone, so a name does not tell "
                "which mask and image belong together: rename or remove one"
            )
    return found


def require_masks(root: Path, gathered: SceneRows, where: str) -> None:
    """Raise DataError unless there is an image to train on that has a mask.

    Args:
        root: the data folder.
        gathered: everything found in it.
        where: what is missing, in words that end the sentence.
    """
    if not gathered.rows:
        raise DataError(f"{shown(root)} holds no image: give the folder that holds your images")
    if not any(mask and part is Part.TRAIN for _, mask, part in gathered.rows):
        raise DataError(f"no image to train on in {shown(root)} has a mask: {where}")


def scene_catalog(
    root: Path, layout: str, classes: tuple[str, ...], coding: Coding, gathered: SceneRows
) -> Catalog:
    """The catalog of what was gathered; images of val and test without a mask are told and left.

    Raises:
        DataError: two paths look the same.
    """
    problems = list(gathered.problems)
    for part in (Part.VAL, Part.TEST):
        useless = [path for path, mask, of in gathered.rows if of is part and not mask]
        if useless:
            what = (
                "image has no mask and is" if len(useless) == 1 else "images have no mask and are"
            )
            message = f"{len(useless)} {part.name.lower()} {what} not used"
            problems.append(Problem("no-mask", min(useless), message))
    rows = sorted(row for row in gathered.rows if row[1] or row[2] is Part.TRAIN)
    paths = tuple(path for path, _, _ in rows)
    refuse_twins(root, paths)
    labels = np.array([0 if mask else UNLABELED for _, mask, _ in rows], dtype=np.int64)
    if (labels == 0).all():
        message = (
            "there are no unlabeled images: training equals supervised training, unless "
            "labels=0.125 hides some masks"
        )
        problems.append(Problem("no-unlabeled", "", message))
    return Catalog(
        name=root.name or "data",
        layout=layout,
        root=root,
        classes=classes,
        paths=paths,
        labels=labels,
        parts=np.array([part for _, _, part in rows], dtype=np.uint8),
        images=None,
        problems=(*problems, *ignored_files(gathered.others)),
        masks=MaskFiles(tuple(mask for _, mask, _ in rows), coding),
    )
