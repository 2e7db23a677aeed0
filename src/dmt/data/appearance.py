"""Whether labeled and unlabeled images look alike as groups. Single strangers: `outliers`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dmt.data.catalog import Catalog
from dmt.data.decode import opened, shown
from dmt.data.outliers import FLOORS, Floats, sample, statistics
from dmt.records import DATA_STAGE, Alarm

_LOOKED_AT = 200  # images of either sort
_LEAST = 8  # fewer show too little of what a sort looks like
_FAR = 0.8  # standard deviations between two means: a large effect (Cohen 1988)
_SPREADS = 3.0  # standard errors that the difference may be smaller in truth
_SIZE_FLOOR = 0.1  # of the logarithm of a side: a tenth

# What is compared: its column in `statistics`, and the words for more and for less of it.
_WORDS = (
    (0, "brighter", "darker"),
    (1, "redder", "greener"),
    (2, "yellower", "bluer"),
    (3, "sharper", "more blurred"),
    (5, "richer in contrast", "poorer in contrast"),
    (8, "more colourful", "less colourful"),
)


def appearance_alarms(
    catalog: Catalog,
    labeled: NDArray[np.int64],
    unlabeled: NDArray[np.int64],
    workers: int | None = None,
) -> list[Alarm]:
    """Compare simple statistics of labeled and unlabeled images: light, tint, sharpness, size.

    A difference counts where the two means are, in standard deviations inside a sort, surely (by
    three standard errors) a large effect apart.

    Args:
        catalog: the data set.
        labeled: int64 (N,), rows of it; of each sort 200 at most are looked at.
        unlabeled: int64 (M,).
        workers: threads that decode (default: one a core).

    Returns:
        One alarm, or none; none where one sort has fewer than eight readable images.
    """
    (some, ours), (others, theirs) = (
        statistics(catalog, sample(catalog, ids, _LOOKED_AT), workers)
        for ids in (labeled, unlabeled)
    )
    if min(len(some), len(others)) < _LEAST:
        return []
    columns = [column for column, _, _ in _WORDS]
    floors = [*FLOORS[columns], _SIZE_FLOOR]
    first = np.column_stack([ours[:, columns], _log_sides(catalog, some)])
    second = np.column_stack([theirs[:, columns], _log_sides(catalog, others)])
    far = _differences(first, second, np.array(floors))
    words = [*((more, less) for _, more, less in _WORDS), ("larger", "smaller")]
    found = [
        f"{more if value > 0 else less} (by {abs(value):.1f} standard deviations)"
        for value, (more, less) in zip(far.tolist(), words, strict=True)
        if value
    ]
    if not found:
        return []
    return [
        Alarm(
            kind="unlike-unlabeled",
            stage=DATA_STAGE,
            message="The unlabeled images look different from the labeled ones: they are "
            f"{', '.join(found)} on average.",
            remedy="Take both from one source, or label some of the others: pseudo labels are "
            "guesses where nothing alike is labeled.",
            about=[shown(catalog.paths[rows[0]]) for rows in (some, others)],
        )
    ]


def _differences(ours: Floats, theirs: Floats, floors: Floats) -> Floats:
    """theirs − ours in standard deviations, (S,); 0 where it is not surely large."""
    variance = (ours.var(axis=0, ddof=1) + theirs.var(axis=0, ddof=1)) / 2
    value: Floats = (theirs.mean(axis=0) - ours.mean(axis=0)) / np.maximum(
        np.sqrt(variance), floors
    )
    num = len(ours), len(theirs)
    error = np.sqrt(1 / num[0] + 1 / num[1] + value**2 / (2 * sum(num)))
    return np.where(np.abs(value) - _SPREADS * error > _FAR, value, 0.0)


def _log_sides(catalog: Catalog, rows: NDArray[np.int64]) -> Floats:
    """The logarithm of every image's side, the geometric mean of its two."""
    if catalog.images is not None:
        return np.zeros(len(rows))
    logs = []
    for row in rows.tolist():
        with opened(*catalog.source(row)) as image:
            logs.append(np.log(image.height * image.width) / 2)
    return np.array(logs)
