"""What `dmt check` finds by looking at pixels: strangers among the unlabeled, unreadable files.

No learning here, only statistics of thumbnails; what the listing shows is `catalog`'s.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from dmt.core.random import hashed
from dmt.data.catalog import Catalog, Part, Problem
from dmt.data.decode import decode, decode_square, fit_square
from dmt.data.pools.prints import some_of
from dmt.errors import DataError

Floats = NDArray[np.float64]

_SIDE = 32  # of a thumbnail: a power of two, halved down to 2
_MIN_LABELED = 10  # fewer give no idea of how far apart images of this set are
_LABELED_SPREADS = 3.0  # how far beyond the labeled images' own distances is too far ...
_POOL_SPREADS = 3.5  # ... and beyond the pool's own: quieter where few labels misjudge that
_LEAST_DISTANCE = 5.0  # never a stranger within this, in spreads of the labeled images' statistics
_DARKEST_DETAIL = 0.004  # about one grey level of 256: less is not told from none
# The least deviation of each statistic that counts as one: colour, detail at four scales in
# light and in colour, direction, flatness, slopes.
FLOORS = np.array([0.05, 0.02, 0.02, *[0.15] * 8, 0.15, 0.1, *[0.15] * 3])
_HASHED = 1_000_000  # paths
_CHUNK = 16  # images a task


def unlike_any_class(
    catalog: Catalog, *, limit: int = 2000, workers: int | None = None
) -> list[str]:
    """Unlabeled images that look like no labeled one: noise, blank frames, screenshots, others.

    Each image becomes 16 statistics of a 32×32 thumbnail, scaled by the labeled images' median
    and spread. An unlabeled image is a stranger if its nearest labeled image is farther than
    labeled images are from their nearest other one *and* than is usual in the pool, by three and
    3.5 robust standard deviations of the logarithm. The second condition keeps the warning quiet
    where few labels show too little of a varied set; it also means that strangers which make up
    most of the pool are not found. Nothing within five spreads is called a stranger.

    Args:
        catalog: the data set.
        limit: look at this many labeled and this many unlabeled images at most; which ones is a
            function of their paths.
        workers: threads that decode (default: one a core).

    Returns:
        Their relative paths, the most unlike first; none where fewer than ten labeled images
        can be read. Unreadable images are left to `unreadable`.
    """
    in_training = catalog.parts == Part.TRAIN
    labeled_ids = sample(catalog, np.flatnonzero(in_training & (catalog.labels >= 0)), limit)
    pool_ids = sample(catalog, np.flatnonzero(in_training & (catalog.labels < 0)), limit)
    _, labeled = statistics(catalog, labeled_ids, workers)
    pool_ids, pool = statistics(catalog, pool_ids, workers)
    if len(labeled) < _MIN_LABELED or len(pool) == 0:
        return []
    center = np.median(labeled, axis=0)
    scale = np.maximum(1.4826 * np.median(np.abs(labeled - center), axis=0), FLOORS)
    labeled, pool = (labeled - center) / scale, (pool - center) / scale
    among_labeled = _distances(labeled, labeled)
    np.fill_diagonal(among_labeled, np.inf)
    distance = _log(_distances(pool, labeled).min(axis=1))
    cut = max(
        np.log(_LEAST_DISTANCE),
        _upper(_log(among_labeled.min(axis=1)), _LABELED_SPREADS),
        _upper(distance, _POOL_SPREADS),
    )
    far = np.flatnonzero(distance > cut)
    far = far[np.argsort(-distance[far], kind="stable")]
    return [catalog.paths[row] for row in pool_ids[far]]


def unreadable(
    catalog: Catalog,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Problem]:
    """Decode every image once, at full size, and report those that cannot be.

    Args:
        catalog: the data set; images in memory are readable.
        workers: threads that decode (default: one a core).
        progress: called with (images read, images in all) now and then.

    Returns:
        One problem of kind `unreadable` an image, in the catalog's order.
    """
    if catalog.images is not None:
        return []
    root, num = catalog.root, len(catalog)
    assert root is not None, "a catalog has files or arrays"

    def look(start: int) -> list[Problem]:
        found = []
        for path in catalog.paths[start : start + _CHUNK]:
            try:
                decode(root / path)
            except DataError as error:
                found.append(Problem("unreadable", path, str(error)))
        return found

    problems: list[Problem] = []
    starts = range(0, num, _CHUNK)
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as executor:
        for start, found in zip(starts, executor.map(look, starts), strict=True):
            problems += found
            if progress is not None:
                progress(min(start + _CHUNK, num), num)
    return problems


def sample(catalog: Catalog, ids: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """At most `limit` of `ids`, by a hash of their paths, ascending; of more than a million by a
    permutation of their numbers."""
    if len(ids) <= limit:
        return ids
    if len(ids) > _HASHED:  # of a large pool: reading all names would take minutes
        return ids[some_of(len(ids), limit)]
    keys = [hashed(0, "outliers", catalog.paths[row]) for row in ids]
    order = np.argsort(np.array(keys, dtype=np.uint64), kind="stable")
    return np.sort(ids[order[:limit]])


def statistics(
    catalog: Catalog, ids: NDArray[np.int64], workers: int | None
) -> tuple[NDArray[np.int64], Floats]:
    """Those of `ids` that can be read, and 16 statistics of each one's thumbnail.

    These are mean brightness, red − green and yellow − blue (in 0–1); the logarithm of the detail
    in light at four scales, finest first, and of that in colour; direction; flatness; slopes.

    Args:
        catalog: the data set.
        ids: int64 (N,).
        workers: threads that decode (default: one a core).

    Returns:
        int64 (M,) and float64 (M, 16), M ≤ N.
    """

    def look(start: int) -> tuple[list[int], Floats]:
        rows, thumbnails = [], []
        for row in ids[start : start + _CHUNK].tolist():
            try:
                thumbnails.append(_thumbnail(catalog, row))
            except DataError:
                continue
            rows.append(row)
        return rows, _describe(np.array(thumbnails).reshape(len(rows), _SIDE, _SIDE, 3))

    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as executor:
        found = list(executor.map(look, range(0, len(ids), _CHUNK)))
    readable = np.array([row for rows, _ in found for row in rows], dtype=np.int64)
    return readable, np.concatenate([np.empty((0, len(FLOORS))), *(each for _, each in found)])


def _thumbnail(catalog: Catalog, row: int) -> NDArray[np.uint8]:
    if catalog.images is not None:
        return fit_square(catalog.images[row], _SIDE)
    path, content = catalog.source(row)
    return decode_square(path, _SIDE, content)


def _describe(thumbnails: NDArray[np.uint8]) -> Floats:
    """Statistics of thumbnails, uint8 (n, 32, 32, 3), in the order of `FLOORS`: (n, 16).

    All at once: one by one, calling numpy takes longer than decoding.
    """
    red, green, blue = np.moveaxis(thumbnails / 255, -1, 0)
    light = 0.299 * red + 0.587 * green + 0.114 * blue
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    detail = _log_detail(light)
    color_detail = np.logaddexp(_log_detail(red_green), _log_detail(yellow_blue))
    across, down = (np.abs(np.diff(light, axis=each)).mean(axis=(1, 2)) for each in (2, 1))
    direction = np.log((across + _DARKEST_DETAIL) / (down + _DARKEST_DETAIL))
    level = (light * 15.999).astype(np.int64) + 16 * np.arange(len(light))[:, None, None]
    histogram = np.bincount(level.ravel(), minlength=16 * len(light)).reshape(-1, 16)
    # Detail of natural images grows with scale at a nearly constant rate; noise and text differ.
    slopes = [detail[0] - detail[2], color_detail[0] - color_detail[2], color_detail[0] - detail[0]]
    means = [each.mean(axis=(1, 2)) for each in (light, red_green, yellow_blue)]
    flatness = np.sqrt(histogram.max(axis=1) / _SIDE**2)
    return np.stack([*means, *detail, *color_detail, direction, flatness, *slopes], axis=1)


def _log_detail(planes: Floats) -> Floats:
    """Log of what each halving of (n, 32, 32) down to 2 loses (root mean square): (4, n), finest
    first."""
    lost = []
    while planes.shape[1] > 2:
        half = planes.shape[1] // 2
        low = planes.reshape(-1, half, 2, half, 2).mean(axis=(2, 4))
        rest = planes - low.repeat(2, axis=1).repeat(2, axis=2)
        lost.append(np.sqrt((rest**2).mean(axis=(1, 2))))
        planes = low
    return np.log(np.array(lost) + _DARKEST_DETAIL)


def _distances(a: Floats, b: Floats) -> Floats:
    """Euclidean, (len(a), len(b)), by the binomial formula: no (len(a), len(b), 16) array."""
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    distances: Floats = np.sqrt(np.maximum(squares, 0))
    return distances


def _log(distance: Floats) -> Floats:
    logs: Floats = np.log(np.maximum(distance, 1.0))  # copies of an image are at 0
    return logs


def _upper(values: Floats, spreads: float) -> float:
    middle = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - middle)))
    return middle + spreads * spread
