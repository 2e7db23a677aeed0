"""Unlabeled images from another place than a data set's own: a folder, a list, tar shards, Parquet.

Names of a small pool are held in memory, those of a large one lie on the disk. The forms a place
may have: `data.pools.training`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, islice

import numpy as np

from dmt.data.catalog import UNLABELED, Catalog, Elsewhere, Part
from dmt.data.decode import shown
from dmt.data.pools.copies import Progress
from dmt.data.pools.large import Names, gather, names_in_index
from dmt.data.pools.training import TrainingPlace, place_of
from dmt.errors import DataError


def with_unlabeled(
    catalog: Catalog,
    address: str | None,
    *,
    follow_links: bool = False,
    large_from: int,
    is_skipping: bool = False,
    progress: Progress | None = None,
) -> Catalog:
    """A catalog and the unlabeled images of another place behind its own.

    Args:
        catalog: of images with one label each, in files.
        address: a folder, a list, tar shards or Parquet, as `data.pools` knows them; shards
            elsewhere are copied first. None: nothing is added.
        follow_links: whether links and paths may leave that place.
        large_from: from so many images on names are left on the disk.
        is_skipping: go on without the rest of a damaged shard (`Elsewhere.damage` says so).
        progress: told how many shards of a pool elsewhere were copied, and of how many.

    Raises:
        DataError: there is no such place or no image in it, or the catalog cannot be added to.
        EnvironmentFault: a package is missing that an address elsewhere needs.
        RunError: the index of a large pool, or a copy, cannot be written.
    """
    if address is None:
        return catalog
    if catalog.root is None or catalog.masks is not None:
        raise DataError(
            f"data.unlabeled={shown(address)} is for images with one label each, in files, and "
            f"{catalog.name} is none such; leave it out"
        )
    place = place_of(address, follow_links, is_skipping, progress)
    paths, elsewhere = _added(catalog.paths, place, address, large_from)
    num = len(elsewhere)
    return replace(
        catalog,
        paths=paths,
        labels=np.concatenate([catalog.labels, np.full(num, UNLABELED)]),
        parts=np.concatenate([catalog.parts, np.full(num, Part.TRAIN, np.uint8)]),
        problems=tuple(each for each in catalog.problems if each.kind != "no-unlabeled"),
        elsewhere=elsewhere,
    )


def _added(
    own: Sequence[str], place: TrainingPlace, address: str, large_from: int
) -> tuple[Sequence[str], Elsewhere]:
    """All paths, and the images of the place."""
    known = place.index()
    if known is not None and known.is_dir():  # it was gathered before, and is large
        names = names_in_index(known)
        if len(names) >= large_from:
            return Names(own, names, place.prefix), place.large(known, names)
    images = place.images()
    first = list(islice(images, large_from))
    if not first:
        raise DataError(f"there is no image in data.unlabeled={shown(address)}")
    if len(first) == large_from:
        known = gather(known, chain(first, images), place.damage)
        del first
        names = names_in_index(known)
        return Names(own, names, place.prefix), place.large(known, names)
    paths = (*own, *(place.prefix + name for name, _ in first))
    if len(set(paths)) != len(paths):
        twin = next(path for path, num in Counter(paths).items() if num > 1)
        raise DataError(f"{shown(twin)} is there twice with data.unlabeled; rename one of the two")
    return paths, place.small(first)
