"""Folders of images: `labeled/<class>/…`, `train/<class>/…`, or plain `<class>/…`.

What each holds is found by name alone; no image is opened and no label is hidden here.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dmt.data.catalog import UNLABELED, Catalog, Part, Problem, natural_key, no_unlabeled
from dmt.data.decode import is_image, shown
from dmt.data.finding import Listing, is_folder, is_of_copies, walk
from dmt.errors import DataError

_HELD_OUT = {"val": Part.VAL, "test": Part.TEST}
# Never classes of a plain root: our names, and those by which segmentation data are known.
_RESERVED = {"labeled", "unlabeled", "train", "val", "test", "images", "masks", "leftImg8bit"}
_RESERVED |= {"JPEGImages", "SegmentationClass", "ImageSets", "Annotations", "gtFine"}
_KNOWN = (
    "known are labeled/<class>/… with unlabeled/, train/<class>/… with test/, plain <class>/… "
    "folders (at least two), and with masks images/ and masks/, a list labeled.txt, VOC's "
    "JPEGImages/ and Cityscapes' leftImg8bit/"
)


@dataclass
class _Rows:
    """What is being gathered: paths with their class (None: unlabeled) and part."""

    rows: list[tuple[str, str | None, Part]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    follow_links: bool = False

    def found(self, root: Path, folder: Path) -> Listing:
        """What lies below `folder`; what is no image is noted."""
        found = walk(folder, root, follow_links=self.follow_links)
        self.others += found.others
        self.problems += hidden_folders(found)
        return found

    def tell(self, kind: str, path: str, message: str) -> None:
        self.problems.append(Problem(kind, path, message))


def read_folders(root: Path, *, follow_links: bool = False) -> Catalog:
    """The images below `root`, with the labels and parts that its folders' names give them.

    Args:
        root: absolute path of the data folder.
        follow_links: whether links may leave it.

    Returns:
        A catalog of layout `class-folders` or `train-test-folders`. `labeled/` wins over
        `train/`, and both over plain class folders, which are all labeled and for training.

    Raises:
        DataError: the layout is not known, there is no image, fewer than two classes, a class
            without an image, an image without a class, a class only in val/ or test/, or a
            link that leaves `root`.
    """
    folders, has_images = _top(root)
    gathered = _Rows(follow_links=follow_links)
    if "labeled" in folders or "train" in folders:
        labeled = "labeled" if "labeled" in folders else "train"
        classes = _labeled(root, labeled, gathered)
        if "unlabeled" in folders:
            found = gathered.found(root, root / "unlabeled")
            gathered.rows += [(path, None, Part.TRAIN) for path in found.images]
        for name in folders:
            if name in _HELD_OUT:
                _held_out(root, name, classes, labeled, gathered)
            elif name not in (labeled, "unlabeled"):
                gathered.tell(
                    "ignored-folder",
                    name,
                    f"the folder {shown(name)}/ is not used, since there is {labeled}/",
                )
    else:
        labeled = ""
        classes = _plain(root, folders, has_images, gathered)
    _require_two(root, classes, labeled)
    return _catalog(root, "class-folders" if labeled != "train" else "train-test-folders",
                    classes, gathered)  # fmt: skip


def _top(root: Path) -> tuple[list[str], bool]:
    """The visible folders directly in `root`, and whether images lie beside them."""
    try:
        with os.scandir(root) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
            folders = [entry.name for entry in visible if is_folder(entry)]
            files = [entry.name for entry in visible if not is_folder(entry)]
    except OSError as error:
        raise DataError(f"the folder {shown(root)} cannot be read: {error.strerror}") from error
    folders = [name for name in folders if not is_of_copies(name)]
    return sorted(folders, key=natural_key), any(is_image(name) for name in files)


def _by_class(found: Listing, prefix: str) -> tuple[dict[str, list[str]], list[str]]:
    """Images by the folder directly below `prefix` (empty folders too), and those in none."""
    start = len(prefix)
    by_class: dict[str, list[str]] = {
        path[start:]: [] for path in found.folders if "/" not in path[start:]
    }
    loose = []
    for path in found.images:
        name, slash, _ = path[start:].partition("/")
        if slash:
            by_class[name].append(path)
        else:
            loose.append(path)
    return by_class, loose


def _labeled(root: Path, name: str, gathered: _Rows) -> list[str]:
    """Gather the labeled images of `labeled/` or `train/`; the names of the classes."""
    found = gathered.found(root, root / name)
    by_class, loose = _by_class(found, name + "/")
    if loose:
        raise DataError(
            f"{_count(len(loose), 'image')} in {shown(root / name)} {_be(len(loose))} in no class "
            f"folder, for example {shown(loose[0])}: move to {name}/<class>/ or to unlabeled/"
        )
    if not found.images:
        raise DataError(
            f"{shown(root / name)} holds no image: give every class a folder there, "
            f"{name}/<class>/, with its images"
        )
    for class_name, paths in by_class.items():
        if not paths:
            raise DataError(
                f"the class folder {shown(root / name / class_name)} holds no image: "
                "add some or remove it"
            )
        gathered.rows += [(path, class_name, Part.TRAIN) for path in paths]
    return sorted(by_class, key=natural_key)


def _held_out(root: Path, name: str, classes: list[str], labeled: str, gathered: _Rows) -> None:
    """Gather the images of `val/` or `test/`."""
    found = gathered.found(root, root / name)
    by_class, loose = _by_class(found, name + "/")
    strange = sorted((c for c in by_class if by_class[c] and c not in classes), key=natural_key)
    if strange:
        more = f" (and {len(strange) - 1} more)" if len(strange) > 1 else ""
        raise DataError(
            f"{shown(root / name)} has the class {shown(strange[0])}{more}, which {labeled}/ "
            f"lacks: add {labeled}/{shown(strange[0])}/ with images or remove it from {name}/"
        )
    for class_name, paths in by_class.items():
        gathered.rows += [(path, class_name, _HELD_OUT[name]) for path in paths]
        if not paths:
            gathered.tell(
                "empty-class",
                f"{name}/{class_name}",
                f"the class folder {name}/{shown(class_name)} holds no image",
            )
    for class_name in classes:
        if any(by_class.values()) and class_name not in by_class:
            gathered.tell(
                "missing-class", name, f"{name}/ has no images of class {shown(class_name)}"
            )
    if loose:
        gathered.tell(
            "no-class",
            name,
            f"{_count(len(loose), 'image')} directly in {name}/ {_be(len(loose))} in no class "
            "folder and not used",
        )


def _plain(root: Path, folders: list[str], has_images: bool, gathered: _Rows) -> list[str]:
    """Gather a root whose folders are the classes themselves; the names of the classes."""
    if not folders and not has_images:
        raise DataError(f"{shown(root)} holds no image: give the folder that holds your images")
    if len(folders) < 2 or not _RESERVED.isdisjoint(folders) or _data_sets(root, folders):
        raise _not_recognised(root, folders, has_images)
    found = gathered.found(root, root)
    by_class, loose = _by_class(found, "")
    by_class = {name: by_class[name] for name in folders}
    if not any(by_class.values()) and not loose:
        raise DataError(f"{shown(root)} holds no image: give the folder that holds your images")
    if loose:
        raise DataError(
            f"{_count(len(loose), 'image')} in {shown(root)} {_be(len(loose))} in no class folder, "
            f"for example {shown(loose[0])}: move into one, or sort all into labeled/<class>/ and "
            "unlabeled/"
        )
    for class_name, paths in by_class.items():
        gathered.rows += [(path, class_name, Part.TRAIN) for path in paths]
        if not paths:
            gathered.tell(
                "empty-class",
                class_name,
                f"the folder {shown(class_name)} holds no image and is not a class",
            )
    return sorted((name for name in by_class if by_class[name]), key=natural_key)


def _data_sets(root: Path, folders: list[str]) -> list[str]:
    """Which of `folders` look like whole data sets rather than like classes of one."""
    return [n for n in folders if (root / n / "labeled").is_dir() or (root / n / "train").is_dir()]


def _not_recognised(root: Path, folders: list[str], has_images: bool) -> DataError:
    found = [f"{shown(name)}/" for name in folders[:6]]
    if len(folders) > 6:
        found.append(f"{len(folders) - 6} more folders")
    if has_images:
        found.append("images in no folder")
    inner = _data_sets(root, folders)
    hint = f"; perhaps you mean {shown(root / inner[0])}" if inner else ""
    return DataError(
        f"the layout of {shown(root)} is not known: found {', '.join(found)}, {_KNOWN}{hint}"
    )


def _require_two(root: Path, classes: list[str], labeled: str) -> None:
    where = shown(root / labeled)
    normal: dict[str, str] = {}
    for name in classes:
        twin = normal.setdefault(unicodedata.normalize("NFC", name), name)
        if twin != name:
            raise DataError(
                f"{where} has two class folders whose names look the same ({twin!a} and "
                f"{name!a}): merge them"
            )
    if len(classes) < 2:
        raise DataError(
            f"{where} has one class only ({shown(classes[0])}): a classifier needs at least two"
        )


def _catalog(root: Path, layout: str, classes: list[str], gathered: _Rows) -> Catalog:
    rows = sorted(gathered.rows)
    paths = tuple(path for path, _, _ in rows)
    refuse_twins(root, paths)
    index: dict[str | None, int] = {name: number for number, name in enumerate(classes)}
    index[None] = UNLABELED
    labels = np.array([index[name] for _, name, _ in rows], dtype=np.int64)
    return Catalog(
        name=root.name or "data",
        layout=layout,
        root=root,
        classes=tuple(classes),
        paths=paths,
        labels=labels,
        parts=np.array([part for _, _, part in rows], dtype=np.uint8),
        images=None,
        problems=(*gathered.problems, *ignored_files(gathered.others), *no_unlabeled(labels)),
    )


def refuse_twins(root: Path, paths: Iterable[str]) -> None:
    """Raise DataError if two of the `paths` below `root` are one once normalised (Unicode NFC)."""
    seen: dict[str, str] = {}
    for path in paths:
        if path.isascii():
            continue
        twin = seen.setdefault(unicodedata.normalize("NFC", path), path)
        if twin != path:
            raise DataError(
                f"{shown(root)} has two files whose names look the same ({twin!a} and "
                f"{path!a}): rename one"
            )


def ignored_files(others: list[str]) -> list[Problem]:
    """The problem to tell of files that are no images by suffix, if there are any."""
    if not others:
        return []
    kinds = Counter(os.path.splitext(path)[1].lower() or "no suffix" for path in others)
    told = ", ".join(f"{shown(kind)}: {num}" for kind, num in kinds.most_common(4))
    message = f"{_count(len(others), 'file')} {_be(len(others))} no image by suffix ({told})"
    return [Problem("ignored-files", min(others), message)]


def hidden_folders(found: Listing) -> list[Problem]:
    """The problems to tell of folders that hold images but are passed over for their names."""
    reason = "are not used, since its name begins with a dot"
    return [
        Problem("ignored-folder", path, f"the images in {shown(path)}/ {reason}")
        for path in found.hidden
    ]


def _count(num: int, noun: str) -> str:
    return f"{num} {noun}" if num == 1 else f"{num} {noun}s"


def _be(num: int) -> str:
    return "is" if num == 1 else "are"
