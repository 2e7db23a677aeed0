"""`dmt check`: what is in a data set, what is labeled, what is wrong. Nothing is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dmt.data.catalog import Part, Problem
from dmt.data.checks.data_checkup import data_problems, found
from dmt.data.checks.mask_checkup import check_masks
from dmt.data.layouts import open_catalog
from dmt.data.outliers import unlike_any_class, unreadable


def check(data: str | Path, *, follow_links: bool = False) -> dict[str, Any]:
    """Look at every image once.

    Args:
        data: as `open_catalog` takes it.
        follow_links: whether links in it may lead out of it.

    Returns:
        `task, name, layout, labeled, unlabeled, val, test, classes: [{name, count}]` (count: of
        the labeled ones to train on) and `problems: [{kind, path, message}]`; for a segmentation
        see `check_masks`.

    Raises:
        DataError: there is no such data, or it cannot be trained on at all.
    """
    catalog = open_catalog(data, follow_links=follow_links)
    if catalog.task == "segmentation":
        return check_masks(catalog)
    is_train = catalog.parts == Part.TRAIN
    is_labeled = catalog.labels >= 0
    problems = [*catalog.problems, *unreadable(catalog)]
    bad = {each.path for each in problems if each.kind == "unreadable"}
    problems += data_problems(catalog, lambda row: int(catalog.labels[row]), bad)
    problems += [
        Problem("unlike-any-class", path, "looks like no class; is it meant to be here?")
        for path in unlike_any_class(catalog)
    ]
    counts = np.bincount(catalog.labels[is_train & is_labeled], minlength=len(catalog.classes))
    classes = [
        {"name": name, "count": int(count)}
        for name, count in zip(catalog.classes, counts, strict=True)
    ]
    return found(catalog, classes, problems)
