"""How well scores find wrong pseudo labels where the truth is known. The scores are `core`'s."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dmt.data.hidden import HiddenLabels, HiddenMasks
from dmt.metrics.hidden_scores import find_wrong, find_wrong_pixels
from dmt.metrics.intervals import Interval, widening
from dmt.records import DetectionScore, ErrorDetection, Gain

COMPARED = ("disagreement", "dmt_weight")
"""Scores whose average precision is compared with that of the teacher's confidence."""
_RESAMPLES = 1000
_RESAMPLES_AT_ONCE = 32

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
    *,
    seed: int,
) -> ErrorDetection:
    """How well each score finds the wrong ones among pseudo labels of images.

    Args:
        ids: (N,), no two equal.
        label: what the teacher called, (N,).
        is_selected: which labels are learned from, (N,).
        scores: by name, (N,), larger for a label that is likelier wrong; those that are not
            finite are left out, with their labels.
        hidden: the truth, as far as it is known.
        seed: names the resamples.
    """
    is_known, is_wrong = find_wrong(ids, label, hidden)
    return detection(scores, is_known, is_wrong, is_selected, ids, seed=seed, blocks=ids)


def detect_in_scenes(
    scenes: list[SampledScene],
    scores: Scores,
    hidden: HiddenMasks,
    blocks: NDArray[np.int64],
    *,
    seed: int,
) -> ErrorDetection:
    """`detect_in_images` for pixels.

    Args:
        scenes: the pixels that were drawn of each image.
        scores: by name, (M,), over the pixels of all `scenes` one after the other.
        hidden: the truth, as far as it is known.
        blocks: of every image of the data set; images of one block count as one observation.
        seed: names the resamples.
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
        seed=seed,
        blocks=blocks[ids],
    )


def detection(
    scores: Scores,
    is_known: NDArray[np.bool_],
    is_wrong: NDArray[np.bool_],
    is_selected: NDArray[np.bool_],
    ids: NDArray[np.int64],
    *,
    seed: int,
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
            name: DetectionScore(
                **_areas(each, wrong, ""),
                **_areas(each[selected], wrong[selected], "_selected"),
            )
            for name, each in used.items()
        },
        gains={
            name: Gain(**found._asdict())
            for name, found in gains(used, wrong, block, seed=seed).items()
        },
    )


def gains(
    scores: Scores, is_wrong: NDArray[np.bool_], blocks: NDArray[np.int64], *, seed: int
) -> dict[str, Interval]:
    """Average precision of each of `COMPARED` − that of `confidence`, with its 95 % interval.

    Paired percentile bootstrap over blocks, widened for few of them as decision 013 has it.

    Args:
        scores: by name, (M,), larger for a label that is likelier wrong.
        is_wrong: (M,).
        blocks: (M,), which labels count as one observation.
        seed: names the resamples.

    Returns:
        Fractions in [−1, 1]; nothing without wrong labels, right labels or a second block.
    """
    names, block = np.unique(blocks, return_inverse=True)
    num = len(names)
    if num < 2 or is_wrong.all() or not is_wrong.any():
        return {}
    generator = np.random.Generator(np.random.PCG64(seed))
    rankings = {
        name: Ranking(scores[name], is_wrong) for name in ("confidence", *COMPARED)
        if name in scores
    }  # fmt: skip
    draws: dict[str, list[NDArray[np.float64]]] = {name: [] for name in rankings}
    share = np.full(num, 1 / num)
    for start in range(0, _RESAMPLES, _RESAMPLES_AT_ONCE):
        times = generator.multinomial(num, share, min(_RESAMPLES_AT_ONCE, _RESAMPLES - start))
        weights = times.astype(np.float32)[:, block]
        for name, ranking in rankings.items():
            draws[name].append(ranking.average_precision(weights))
    every, factor = np.ones((1, len(is_wrong)), np.float32), widening(num)
    found = {}
    for name in rankings.keys() - {"confidence"}:
        value = float(
            (rankings[name].average_precision(every)
             - rankings["confidence"].average_precision(every))[0]
        )  # fmt: skip
        differences = np.concatenate(draws[name]) - np.concatenate(draws["confidence"])
        low, high = np.nanquantile(differences, [0.025, 0.975])
        low, high = value + factor * (low - value), value + factor * (high - value)
        found[name] = Interval(value, max(float(low), -1.0), min(float(high), 1.0))
    return {name: found[name] for name in COMPARED if name in found}


class Ranking:
    """Labels in the order of a score, so that many weightings of them are judged at once."""

    def __init__(self, score: NDArray[np.float64], is_wrong: NDArray[np.bool_]) -> None:
        """Sort `is_wrong` (M,) by `score` (M,), the largest first."""
        self._order = np.argsort(-score, kind="stable")
        ordered = score[self._order]
        # A threshold cannot part labels of one score: they are taken together.
        self._last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
        self._is_wrong = is_wrong[self._order]

    def average_precision(self, weights: NDArray[np.float32]) -> NDArray[np.float64]:
        """Σ (recall gained) · precision over the thresholds, for each row of weights (R, M).

        Returns:
            (R,), nan where no wrong label has a weight.
        """
        ranked = weights[:, self._order]
        # Whole numbers below 2²⁴ are exact in float32, which is half of the work.
        seen = np.cumsum(ranked, axis=1)[:, self._last]
        hits = np.cumsum(ranked * self._is_wrong, axis=1)[:, self._last]
        gained = np.diff(hits, axis=1, prepend=np.float32(0))
        area = (gained * (hits / np.maximum(seen, 1))).sum(axis=1, dtype=np.float64)
        total = hits[:, -1].astype(np.float64)
        mean: NDArray[np.float64] = np.where(total > 0, area / np.maximum(total, 1), np.nan)
        return mean


def _areas(
    score: NDArray[np.float64], is_wrong: NDArray[np.bool_], suffix: str
) -> dict[str, float | None]:
    """`ap` and `auroc` of a score; None unless there are wrong labels and right ones."""
    from sklearn.metrics import average_precision_score, roc_auc_score  # a second to import

    if is_wrong.all() or not is_wrong.any():
        return {f"ap{suffix}": None, f"auroc{suffix}": None}
    return {
        f"ap{suffix}": float(average_precision_score(is_wrong, score)),
        f"auroc{suffix}": float(roc_auc_score(is_wrong, score)),
    }
