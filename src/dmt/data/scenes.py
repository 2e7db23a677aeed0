"""Images of many sizes by id, held decoded or read when asked for. Not masks, not views."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dmt.data.catalog import Catalog
from dmt.data.decode import _load
from dmt.data.headers import read_header
from dmt.data.pool import refuse_unreadable
from dmt.data.read_ahead import Progress, read_all
from dmt.data.sizes import fit_within
from dmt.data.unchanged import watched


class ScenePool:
    """`num` images of their own sizes, asked for by id, from several threads at once.

    Attributes:
        num: how many there are, unreadable ones included.
        sizes: int64 (N, 2), read-only: height and width; (0, 0) where an image is unreadable.
    """

    def __init__(self, sizes: NDArray[np.int64], read: Callable[[int], NDArray[np.uint8]]) -> None:
        """Take the `sizes` and what gives an image: uint8 (H, W, 3) of its size."""
        assert sizes.dtype == np.int64, "sizes are whole numbers"
        assert sizes.ndim == 2, "sizes are (N, 2)"
        assert sizes.shape[1] == 2, "height and width"
        self.num = len(sizes)
        self.sizes = sizes.copy()
        self.sizes.flags.writeable = False
        self._read = read

    def image(self, id: int) -> NDArray[np.uint8]:
        """The image of an id: uint8 (H, W, 3), read-only.

        Raises:
            DataError: an image that is not held has vanished or changed since it was checked.
        """
        assert self.sizes[id].all(), "an unreadable image is not asked for"
        image = self._read(id).view()
        image.flags.writeable = False
        return image


def open_scenes(
    catalog: Catalog,
    *,
    max_side: int | None,
    workers: int,
    memory_limit: int,
    bad_images: Literal["stop", "skip"],
    progress: Progress | None = None,
) -> tuple[ScenePool, list[str]]:
    """A pool of every image of `catalog`, held decoded if that takes at most `memory_limit` bytes.

    Every image is decoded once before this returns, also where they are read again afterwards:
    an image that cannot be read is to be known before training, not in the middle of it.

    Args:
        catalog: the data set; row i of it is id i of the pool.
        max_side: images whose longer side has more pixels are brought down to that, see
            `fit_within`; None leaves all as they are.
        workers: threads that decode; 0 decodes in the caller's.
        memory_limit: bytes that the decoded images may take in the CPU's memory. A set that is in
            memory at these sizes already stays there whatever the limit.
        bad_images: stop at unreadable images, or go on without them.
        progress: called with (images decoded, images in all) now and then.

    Returns:
        The pool, and the relative paths of unreadable images in the catalog's order. Their ids
        must not be asked for.

    Raises:
        DataError: unreadable images and `bad_images="stop"`, or no readable image at all.
    """
    num = len(catalog)
    images = catalog.images
    if images is not None:
        size = images.shape[1], images.shape[2]
        fitted = fit_within(*size, max_side)
        sizes = np.tile(np.array(fitted, dtype=np.int64), (num, 1))
        if fitted == size:
            return ScenePool(sizes, lambda id: images[id]), []
        headless: list[int] = []
    else:
        sizes, headless = _fitted_sizes(catalog, max_side, workers)
    read = _reader(catalog, sizes)
    ends = np.cumsum(3 * sizes.prod(axis=1))
    is_held = num > 0 and int(ends[-1]) <= memory_limit
    # One buffer for all: a hundred thousand arrays of their own would scatter the memory.
    held = np.zeros(int(ends[-1]) if is_held else 0, dtype=np.uint8)

    def look_up(id: int) -> NDArray[np.uint8]:
        height, width = sizes[id].tolist()
        end = int(ends[id])
        return held[end - 3 * height * width : end].reshape(height, width, 3)

    def check(id: int) -> None:
        if sizes[id].all():
            image = read(id)
            if is_held:
                look_up(id)[...] = image

    bad = sorted({*headless, *read_all(check, num, workers, progress)})
    unreadable = refuse_unreadable(catalog.paths, bad, bad_images)
    known = sizes.copy()  # the offsets in the buffer still go by what the headers said
    known[bad] = 0
    return ScenePool(known, look_up if is_held else read), unreadable


def _fitted_sizes(
    catalog: Catalog, max_side: int | None, workers: int
) -> tuple[NDArray[np.int64], list[int]]:
    """int64 (N, 2), from the headers, and the rows of those unreadable, whose size is (0, 0)."""
    assert catalog.root is not None, "a catalog has files or arrays"
    root, paths = catalog.root, catalog.paths
    sizes = np.zeros((len(paths), 2), dtype=np.int64)

    def look(id: int) -> None:
        header = read_header(root / paths[id])
        sizes[id] = fit_within(header.height, header.width, max_side)

    return sizes, read_all(look, len(paths), workers, None)


def _reader(catalog: Catalog, sizes: NDArray[np.int64]) -> Callable[[int], NDArray[np.uint8]]:
    images, root, paths = catalog.images, catalog.root, catalog.paths
    if images is not None:
        return lambda id: _resized(Image.fromarray(images[id]), *sizes[id].tolist())
    assert root is not None, "a catalog has files or arrays"

    def place(id: int) -> Path:
        return root / paths[id]

    def read(id: int) -> NDArray[np.uint8]:
        height, width = sizes[id].tolist()
        # The shorter side, so that a JPEG comes reduced to no less than twice either side.
        return _resized(_load(place(id), min(height, width)), height, width)

    return watched(read, place, len(paths))


def _resized(image: Image.Image, height: int, width: int) -> NDArray[np.uint8]:
    if image.size != (width, height):
        # A gap of 3 is indistinguishable from none, and much faster for large reductions.
        image = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.asarray(image)
