"""`dmt apply`: a person's corrections, checked, as a new label file. It changes no other file.

How files of corrections are read is `annotations`', what is written `label_correcting`'s and
`mask_correcting`'s.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from dmt.annotations import coco, label_studio
from dmt.annotations.lines import Line, Lines, read_content, table_lines
from dmt.config import Settings
from dmt.data.catalog import Catalog
from dmt.data.decode import shown
from dmt.data.finding import COPIES
from dmt.data.layouts import open_catalog
from dmt.errors import DataError, RunError, SettingError
from dmt.inference.using import settings_of
from dmt.records import parse_json
from dmt.records.data import read_data
from dmt.records.links import refuse_links
from dmt.reviews.label_correcting import rows_by_path, write_labels
from dmt.reviews.mask_correcting import MaskMaker, networks_of
from dmt.runs.materials import with_pool

LABELS, MASKS = f"{COPIES}.csv", "masks-corrected.csv"
_ACTIONS = ("label", "keep", "unusable", "none")
_MASK_ACTIONS = ("accept", "keep", "unusable", "annotate")
_MOST_NAMED = 20


class Change(NamedTuple):
    """What became of an image: `after` is a class or a mask, or says why it is left out."""

    path: str
    before: str
    after: str


class Applied(NamedTuple):
    """What `apply` wrote and why."""

    path: Path
    changes: list[Change]
    num_kept: int  # images that nothing is changed of
    twice: list[str]  # paths with more than one line
    waiting: list[str]  # paths that are still to be annotated
    copies: dict[str, str]  # of images of `data.unlabeled` that got a label: the file's own paths
    in_pool: list[str]  # paths of those that are unusable or of no class, and stay there
    pool: str | None  # the run's `data.unlabeled`


def apply(
    run: str | Path,
    corrections: str | Path,
    *,
    out: str | None = None,
    rest: str | None = None,
    device: str = "auto",
    trust_code: bool = False,
    follow_links: bool = False,
) -> Applied:
    """Write the labels of a run's data anew, with corrections, as a CSV that `dmt train` reads.

    Args:
        run: its folder.
        corrections: a CSV with the columns `path`, `label` and `action`: `label` gives an image the
            class of the second column, `keep` leaves it as it is, `unusable` and `none` (none of
            the classes) leave the image out; without `action`, a label means `label`. Of a
            segmentation `accept` gives an image the mask of the network that the second column
            names, `annotate` leaves it for a labeling tool. Or JSON as Label Studio exports it, or
            COCO's.
        out: the new file, in the data's folder or above it (of masks: in it); None:
            `labels-corrected.csv` or `masks-corrected.csv` in the data's folder, with a number
            behind it if there is one. New masks are in a folder of the same name beside it.
            Images of `data.unlabeled` that got a label are copied into `labels-corrected/` in the
            data's folder, numbered alike.
        rest: of a segmentation, the class of what no area of a tool covers; None: it is left out.
        device, trust_code: as in `using.load`, for accepted masks.
        follow_links: whether links may leave the data's folder.

    Raises:
        DataError: lines that are wrong: all of them are named, nothing is written.
        SettingError: `out` is there already or cannot see the images; `rest` is no class.
        RunError: no run, or its data have other classes by now.
    """
    path = Path(run)
    refuse_links(path)
    settings, data = settings_of(path), read_data(path)
    assert settings.dataset is not None
    catalog = open_catalog(settings.dataset, follow_links=follow_links)
    if catalog.root is None:
        raise DataError(
            f"the images of {catalog.name} are no files, so a label file could not name them; "
            "only data in a folder or a CSV can be corrected"
        )
    if list(catalog.classes) != data["classes"]:
        raise RunError(
            f"{path} was trained on other classes than its data have now; put the data back as "
            "they were, or train anew"
        )
    target = _target(catalog, out)
    settings = settings.model_copy(update={"device": device, "trust_code": trust_code})
    maker = None
    if catalog.task == "segmentation":
        maker = MaskMaker(path, catalog, settings, networks_of(path), rest, follow_links)
    elif rest is not None:
        raise SettingError(f"rest={shown(rest)} is for masks; leave it out")
    else:
        catalog = _with_named(catalog, settings, Path(corrections), follow_links)
    found, twice = _checked(Path(corrections), catalog, maker)
    copies, in_pool = dict[str, str](), list[str]()
    if maker is None:
        made, copies, in_pool = write_labels(catalog, found, target)
    else:
        made = maker.write(found, target)
    changes = [Change(*each) for each in made]
    waiting = [each.path for each in found.values() if each.action == "annotate"]
    num_kept = len(found) - len(changes) - len(waiting) - len(in_pool)
    return Applied(
        target, changes, num_kept, twice, waiting, copies, in_pool, settings.data.unlabeled
    )


def _with_named(catalog: Catalog, settings: Settings, path: Path, follow_links: bool) -> Catalog:
    """The catalog with the images of `data.unlabeled`, where corrections name others than its own.

    Raises:
        DataError: the corrections cannot be read, or the pool is needed and not there.
    """
    known = rows_by_path(catalog)
    if settings.data.unlabeled is None or all(
        line.path in known for line in read_corrections(path, known, is_dense=False).found
    ):
        return catalog
    try:
        return with_pool(catalog, settings, follow_links=follow_links)
    except DataError as error:
        raise DataError(
            f"{shown(path)} names images that are not in the data's folder, and those of "
            f"data.unlabeled cannot be looked at: {error}"
        ) from error


def _target(catalog: Catalog, out: str | None) -> Path:
    """Where the new file goes: below no folder that an image is not below, and nobody's yet."""
    assert catalog.root is not None
    is_dense = catalog.task == "segmentation"
    if out is None:
        name = Path(MASKS if is_dense else LABELS)
        target, number = catalog.root / name, 2
        while os.path.lexists(target) or os.path.lexists(target.with_suffix("")):
            target = catalog.root / f"{name.stem}-{number}.csv"
            number += 1
        return target
    target = Path(os.path.abspath(os.path.expanduser(out)))
    if os.path.lexists(target):
        raise SettingError(f"out={shown(out)} is there already and is not replaced; name another")
    if target.suffix.lower() != ".csv":
        raise SettingError(f"out={shown(out)} must end in .csv, so that it is read as a label file")
    if not target.parent.is_dir():
        raise SettingError(f"out={shown(out)} is in no folder; make {shown(target.parent)} first")
    if is_dense and os.path.lexists(target.with_suffix("")):
        raise SettingError(
            f"out={shown(out)} would have its masks in {shown(target.stem)}, which is there "
            "already; name another"
        )
    if is_dense and target.parent.resolve() != catalog.root.resolve():
        raise SettingError(
            f"out={shown(out)} must lie in {shown(catalog.root)}, where the names of the classes "
            "are found"
        )
    if not catalog.root.resolve().is_relative_to(target.parent.resolve()):
        raise SettingError(
            f"out={shown(out)} must lie in {shown(catalog.root)} or above it, as a label file "
            "names images below its own folder"
        )
    return target


def _checked(
    path: Path, catalog: Catalog, maker: MaskMaker | None
) -> tuple[dict[str, Line], list[str]]:
    """What is decided of every image, the last line of each, and the paths named twice.

    Raises:
        DataError: some lines are wrong: all are named.
    """
    known = rows_by_path(catalog)
    is_dense = catalog.task == "segmentation"
    lines, faults = read_corrections(path, known, is_dense=is_dense)
    classes = set(catalog.classes)
    actions = _ACTIONS if maker is None else _MASK_ACTIONS
    found: dict[str, Line] = {}
    twice: dict[str, None] = {}
    for line in lines:
        wrong = []
        if line.path not in known:
            wrong.append(f"the data have no image {shown(line.path)}")
        is_drawn = maker is not None and line.regions
        if line.action not in actions and not is_drawn:
            wrong.append(f"there is no action {shown(line.action)}")
        named = [line.label] if line.action == "label" else [one.label for one in line.regions]
        for label in dict.fromkeys(named):
            if label not in classes:
                what = f"class {shown(label)}" if label else "class in it"
                wrong.append(f"the run knows no {what}")
        if maker is not None and not wrong:
            wrong += maker.faults(line)
        faults += [f"{line.where}: {each}" for each in wrong]
        if line.path in found:
            twice[line.path] = None
        found[line.path] = line
    if faults:
        more = len(faults) - _MOST_NAMED
        rest = f"; and {more} more" if more > 0 else ""
        raise DataError(
            f"{shown(path)} is not applied, nothing was written: "
            f"{'; '.join(faults[:_MOST_NAMED])}{rest}. Actions are {', '.join(actions)}; classes "
            f"are {', '.join(shown(name) for name in catalog.classes[:20])}"
        )
    if not found:
        raise DataError(f"{shown(path)} holds no correction; save it from the review again")
    return found, list(twice)


def read_corrections(path: Path, known: Mapping[str, int], *, is_dense: bool) -> Lines:
    """The lines of a CSV, or of the JSON of a labeling tool.

    Args:
        path: of the file.
        known: paths of the data.
        is_dense: whether images have masks.

    Raises:
        DataError: it is neither.
    """
    text = read_content(path)
    if text.lstrip()[:1] not in {"[", "{"}:
        return table_lines(path, text)
    try:
        value = parse_json(text)
    except ValueError as error:
        raise DataError(f"{shown(path)} cannot be read as JSON: {error}") from error
    if isinstance(value, list):
        try:
            return label_studio.read_tasks(value, known, is_dense=is_dense)
        except DataError as error:
            raise DataError(f"{shown(path)} is not applied: {error}") from error
    return coco.read_document(value, known, is_dense=is_dense)
