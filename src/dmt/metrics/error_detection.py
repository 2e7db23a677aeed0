"""How well scores find wrong pseudo labels where the truth is known. The scores are `core`'s."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from dmt.data.hidden import HiddenLabels, HiddenMasks
from dmt.metrics.hidden_scores import find_wrong, find_wrong_pixels
from dmt.metrics.intervals import Interval
from dmt.records import DetectionScore, ErrorDetection, Gain

Scores = Mapping[str, NDArray[np.float64]]


class SampledScene(NamedTuple):
    """Some pixels of one image, and what its pseudo labels say."""

    id: int
    shape: tuple[int, int]  # of the image
    pixels: NDArray[np.int64]  # (P,), where they lie, row by row
    label: NDArray[np.int64]  # (P,)
    is_selected: NDArray[np.bool_]  # (P,)


def detect_in_images(
    ids: NDArray[np.int64],
    label: NDArray[np.int64],
    is_selected: NDArray[np.bool_],
    scores: Scores,
    hidden: HiddenLabels,
) -> ErrorDetection:
    """How well each score finds the wrong ones among pseudo labels of images.

    Args:
        ids: (N,), no two equal.
        label: what the teacher called, (N,).
        is_selected: which labels are learned from, (N,).
        scores: by name, (N,), larger for a label that is likelier wrong; those that are not
            finite are left out, with their labels.
        hidden: the truth, as far as it is known.
    """
    is_known, is_wrong = find_wrong(ids, label, hidden)
    return detection(scores, is_known, is_wrong, is_selected, ids, ids)


def detect_in_scenes(
    scenes: list[SampledScene],
    scores: Scores,
    hidden: HiddenMasks,
    blocks: NDArray[np.int64],
) -> ErrorDetection:
    """`detect_in_images` for pixels.

    Args:
        scenes: the pixels that were drawn of each image.
        scores: by name, (M,), over the pixels of all `scenes` one after the other.
        hidden: the truth, as far as it is known.
        blocks: of every image of the data set; images of one block count as one observation.
    """
    found = [
        find_wrong_pixels(each.id, each.shape, each.pixels, each.label, hidden) for each in scenes
    ]
    ids = np.repeat([each.id for each in scenes], [len(each.pixels) for each in scenes])
    return detection(
        scores,
        np.concatenate([is_known for is_known, _ in found]),
        np.concatenate([is_wrong for _, is_wrong in found]),
        np.concatenate([each.is_selected for each in scenes]),
        ids,
        blocks[ids],
    )


def detection(
    scores: Scores,
    is_known: NDArray[np.bool_],
    is_wrong: NDArray[np.bool_],
    is_selected: NDArray[np.bool_],
    ids: NDArray[np.int64],
    blocks: NDArray[np.int64],
) -> ErrorDetection:
    """The record of (M,) scores, facts, images and blocks; what is not known is left out."""
    is_used = is_known & np.logical_and.reduce([np.isfinite(each) for each in scores.values()])
    used = {name: each[is_used] for name, each in scores.items()}
    wrong, selected, block = is_wrong[is_used], is_selected[is_used], blocks[is_used]
    return ErrorDetection(
        num_images=len(np.unique(ids[is_used])),
        num_blocks=len(np.unique(block)),
        num_labels=len(wrong),
        num_wrong=int(wrong.sum()),
        num_selected=int(selected.sum()),
        num_selected_wrong=int((wrong & selected).sum()),
        scores={
            name: _score(areas(each, wrong), areas(each[selected], wrong[selected]))
            for name, each in used.items()
        },
        gains={name: Gain(**found._asdict()) for name, found in gains(used, wrong, block).items()},
    )


def _score(
    of_all: tuple[float | None, float | None], of_selected: tuple[float | None, float | None]
) -> DetectionScore:
    return DetectionScore(
        ap=of_all[0], auroc=of_all[1], ap_selected=of_selected[0], auroc_selected=of_selected[1]
    )


def gains(
    scores: Scores, is_wrong: NDArray[np.bool_], blocks: NDArray[np.int64]
) -> dict[str, Interval]:
    """Average precision of each score − that of `confidence`, with its 95 % interval.

    The infinitesimal jackknife over blocks (Efron, Tibshirani, An Introduction to the Bootstrap,
    1993, ch. 21), with Student's t for few of them: the spread that a bootstrap would find, without
    its resamples, which would cost more than the networks.

    Args:
        scores: by name, (M,), larger for a label that is likelier wrong.
        is_wrong: (M,).
        blocks: (M,), which labels count as one observation.

    Returns:
        Fractions in [−1, 1]; nothing without wrong labels, right labels or a second block.
    """
    names, block = np.unique(blocks, return_inverse=True)
    num = len(names)
    if num < 2 or is_wrong.all() or not is_wrong.any():
        return {}
    reach = float(special.stdtrit(num - 1, 0.975)) * math.sqrt(num / (num - 1))
    base, base_slope = precision_slope(scores["confidence"], is_wrong)
    found = {}
    for name in scores.keys() - {"confidence"}:
        precision, slope = precision_slope(scores[name], is_wrong)
        value = precision - base
        half = reach * float(np.linalg.norm(np.bincount(block, slope - base_slope)))
        found[name] = Interval(value, max(value - half, -1.0), min(value + half, 1.0))
    return {name: found[name] for name in scores if name in found}


def precision_slope(
    score: NDArray[np.float64], is_wrong: NDArray[np.bool_]
) -> tuple[float, NDArray[np.float64]]:
    """Average precision, and by how much it grows with the weight of each label.

    With the labels above a threshold or at it, `seen`, and the wrong ones among them, `found`, it
    is Σ found / seen over the wrong labels, divided by their number. More weight on one label
    changes the number, the label's own term if it is wrong, and `found` and `seen` of all
    thresholds at it or below.

    Args:
        score: (M,), larger for a label that is likelier wrong; labels of one score share a
            threshold.
        is_wrong: (M,), with at least one True.

    Returns:
        A fraction, and float64 (M,) whose sum is 0.
    """
    hits, at, group = _by_threshold(score, is_wrong)
    seen, found = at.cumsum(), hits.cumsum()
    precision = found / seen
    total = found[-1]
    average = float(hits @ precision) / total
    more_found = (hits / seen)[::-1].cumsum()[::-1]
    more_seen = (hits * precision / seen)[::-1].cumsum()[::-1]
    own = is_wrong * (precision[group] - average + more_found[group])
    slope: NDArray[np.float64] = (own - more_seen[group]) / total
    return average, slope


def areas(
    score: NDArray[np.float64], is_wrong: NDArray[np.bool_]
) -> tuple[float, float] | tuple[None, None]:
    """Average precision and AUROC of a score; None unless there are wrong labels and right ones.

    AUROC is the share of pairs of a wrong label and a right one in which the wrong one's score is
    larger, ties counting half. That the two are scikit-learn's, a test holds: a run asks hundreds
    of times, and its checks of the input take longer than the sort.
    """
    if is_wrong.all() or not is_wrong.any():
        return None, None
    hits, seen, _ = _by_threshold(score, is_wrong)
    precision = hits.cumsum() / seen.cumsum()
    right = seen - hits
    below = right.sum() - right.cumsum() + right / 2
    return (
        float(hits @ precision) / float(hits.sum()),
        float(hits @ below) / float(hits.sum() * right.sum()),
    )


def _by_threshold(
    score: NDArray[np.float64], is_wrong: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Wrong labels and all labels at each threshold, the largest first; each label's threshold."""
    _, group = np.unique(-score, return_inverse=True)
    hits = np.bincount(group, is_wrong).astype(np.float64)
    return hits, np.bincount(group).astype(np.float64), group
