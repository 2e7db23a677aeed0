"""How large the images of a set are, from a few headers, and how large they are to become."""

from __future__ import annotations

import statistics

import numpy as np
from PIL import Image, UnidentifiedImageError

from dmt.data.catalog import Catalog
from dmt.data.headers import read_header
from dmt.errors import DataError

_NUM_LOOKED_AT = 64


def typical_side(catalog: Catalog) -> int:
    """The median of the shorter sides of up to 64 images spread over the set, in pixels.

    Files that are no images are passed over: who decodes them says so.
    """
    if catalog.images is not None:
        return int(min(catalog.images.shape[1:3]))
    assert catalog.root is not None
    sides = []
    for row in np.linspace(0, len(catalog) - 1, min(len(catalog), _NUM_LOOKED_AT)).astype(int):
        try:
            with Image.open(catalog.root / catalog.paths[row]) as image:
                sides.append(min(image.size))
        except (OSError, ValueError, UnidentifiedImageError, Image.DecompressionBombError):
            continue
    return int(statistics.median(sides)) if sides else 1


def typical_size(catalog: Catalog) -> tuple[int, int]:
    """The median height and the median width of up to 64 images spread over the set, in pixels.

    Files that are no images are passed over: who decodes them says so.
    """
    if catalog.images is not None:
        return int(catalog.images.shape[1]), int(catalog.images.shape[2])
    assert catalog.root is not None
    sizes = []
    for row in np.linspace(0, len(catalog) - 1, min(len(catalog), _NUM_LOOKED_AT)).astype(int):
        try:
            header = read_header(catalog.root / catalog.paths[row])
        except DataError:
            continue
        sizes.append((header.height, header.width))
    heights, widths = zip(*sizes or [(1, 1)], strict=True)
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
