"""A smaller data set out of a larger one, for measurements that would take too long; no script."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dmt.data.catalog import Catalog


def subset(
    catalog: Catalog, num: int, random: np.random.Generator, *, has_test: bool
) -> Catalog:  # fmt: skip
    """As many images of every class to train on, `num` in all.

    Args:
        catalog: of images with one label each, in files.
        num: images to train on.
        random: draws them.
        has_test: whether the images to test on stay, all of them; else there are none.
    """
    from dmt.data.catalog import Part

    assert catalog.images is None
    order = random.permutation(np.flatnonzero(catalog.parts == Part.TRAIN))
    each = num // len(catalog.classes)
    kept = [order[catalog.labels[order] == label][:each] for label in range(len(catalog.classes))]
    if has_test:
        kept.append(np.flatnonzero(catalog.parts == Part.TEST))
    rows = np.sort(np.concatenate(kept))
    paths = tuple(catalog.paths[row] for row in rows)
    return replace(catalog, paths=paths, labels=catalog.labels[rows], parts=catalog.parts[rows])
