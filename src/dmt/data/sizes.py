"""How large the images of a set are, from a few headers, and how large they are to become."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import suppress

import numpy as np

from dmt.data.catalog import Catalog
from dmt.data.headers import Header, read_header
from dmt.errors import DataError

_NUM_LOOKED_AT = 64


def typical_side(catalog: Catalog) -> int:
    """The median of the shorter sides of up to 64 images spread over the set, in pixels.

    Files that are no images are passed over: who decodes them says so.
    """
    if catalog.images is not None:
        return int(min(catalog.images.shape[1:3]))
    return int(statistics.median([min(header[:2]) for header in _headers(catalog)] or [1]))


def typical_size(catalog: Catalog) -> tuple[int, int]:
    """The median height and the median width of up to 64 images spread over the set, in pixels.

    Files that are no images are passed over: who decodes them says so.
    """
    if catalog.images is not None:
        return int(catalog.images.shape[1]), int(catalog.images.shape[2])
    sizes = [header[:2] for header in _headers(catalog)] or [(1, 1)]
    heights, widths = zip(*sizes, strict=True)
    return int(statistics.median(heights)), int(statistics.median(widths))


def fit_within(height: int, width: int, max_side: int | None) -> tuple[int, int]:
    """The size (H, W) of an image whose longer side is brought down to `max_side` pixels.

    Smaller images, and all where `max_side` is None, stay as they are; no side falls below 1.
    """
    longest = max(height, width)
    if max_side is None or longest <= max_side:
        return height, width
    return tuple(  # type: ignore[return-value]
        max(1, (2 * side * max_side + longest) // (2 * longest)) for side in (height, width)
    )


def _headers(catalog: Catalog) -> Iterator[Header]:
    """The headers of up to 64 files spread over the set."""
    assert catalog.root is not None
    num = catalog.num_own
    for row in np.linspace(0, num - 1, min(num, _NUM_LOOKED_AT)).astype(int):
        with suppress(DataError):
            yield read_header(catalog.root / catalog.paths[row])
