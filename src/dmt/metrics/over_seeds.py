"""Methods over seeds: means, paired differences with intervals, gap closed. No reading of runs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from dmt.metrics.intervals import paired_t_interval
from dmt.records import Difference
from dmt.records.comparison import (
    ORACLE,
    PAIR_SUFFIX,
    SUPERVISED,
    Comparison,
    MethodResult,
    PairResult,
    Seen,
)

OURS = ("dmt-online", "dmt")
"""Each is compared with every method that is not before it here."""


class Entry(NamedTuple):
    """What one run says of one method; figures of the metric in %, None where it has none.

    `supervised` and `oracle` are those of the same run, with as many images; `interval` and
    `gap_closed` what the run says of itself.
    """

    value: float | None
    supervised: float | None = None
    oracle: float | None = None
    interval: Difference | None = None
    gap_closed: float | None = None
    seconds: float | None = None
    seen: Seen | None = None


Key = tuple[str, float | None]
"""Method, and labels where several numbers of them are compared."""


def compare_methods(
    entries: Mapping[Key, Mapping[int, Entry]],
    seeds: Sequence[int],
    *,
    dataset: str,
    task: Literal["classification", "segmentation"],
    metric: Literal["error", "miou"],
) -> Comparison:
    """The table of a comparison, and every pair that answers a question.

    Every method is compared with `supervised`, ours with every other but the oracle; single
    models with single models and pairs of models (`PAIR_SUFFIX`) with pairs.

    Args:
        entries: by method and labels in the order of the table, and seed; a seed may be missing.
        seeds: all of them.
        dataset, task, metric: of all runs.
    """
    labels = list(dict.fromkeys(at for _, at in entries))
    pairs = [
        _pair(a, b, at, entries, seeds)
        for at in labels
        for a, b in questions([method for method, where in entries if where == at])
    ]
    swept = [at for at in labels if at is not None]
    return Comparison(
        dataset=dataset,
        task=task,
        metric=metric,
        labels=swept or None,
        methods=[_method(key, found, seeds, metric) for key, found in entries.items()],
        pairs=pairs,
    )


def mean_gap_closed(found: Sequence[Entry], metric: str) -> float | None:
    """Mean over seeds of (method − supervised) / (oracle − supervised), a fraction.

    Returns:
        None where a figure is missing, where an oracle is no better than its supervised model,
        or where all oracles together are not so beyond chance: the ratio would be noise. Of a
        single seed the run's own figure, which is held to the same.
    """
    if len(found) < 2:
        return found[0].gap_closed if found else None
    gaps, gains = [], []
    for value, supervised, oracle, *_ in found:
        if value is None or supervised is None or oracle is None or oracle == supervised:
            return None
        gains.append(oracle - supervised)
        gaps.append((value - supervised) / gains[-1])
    sign = -1 if metric == "error" else 1
    if min(sign * gain for gain in gains) <= 0:
        return None
    if paired_t_interval([sign * gain for gain in gains]).low <= 0:
        return None
    return statistics.fmean(gaps)


def questions(methods: Sequence[str]) -> list[tuple[str, str]]:
    """Which pairs of methods are compared, the first less the second; see `compare_methods`."""
    asked = []
    for suffix in ("", PAIR_SUFFIX):
        names = [
            name.removesuffix(PAIR_SUFFIX)
            for name in methods
            if name.endswith(PAIR_SUFFIX) == bool(suffix)
        ]
        if SUPERVISED in names:
            asked += [(name, SUPERVISED, suffix) for name in names if name != SUPERVISED]
        done = {SUPERVISED, ORACLE}
        for ours in (each for each in OURS if each in names):
            done.add(ours)
            asked += [(ours, name, suffix) for name in names if name not in done]
    return [(a + suffix, b + suffix) for a, b, suffix in asked]


def _method(
    key: Key, found: Mapping[int, Entry], seeds: Sequence[int], metric: str
) -> MethodResult:
    there = [found[seed] for seed in seeds if seed in found]
    values = [found[seed].value if seed in found else None for seed in seeds]
    known = [value for value in values if value is not None]
    seen = [each.seen for each in there if each.seen is not None]
    alone = [each.forward_only for each in seen if each.forward_only is not None]
    return MethodResult(
        method=key[0],
        labels=key[1],
        mean=_mean(known),
        sd=statistics.stdev(known) if len(known) > 1 else None,
        values=values,
        gap_closed=mean_gap_closed([e for e in there if e.value is not None], metric),
        seconds=_mean(each.seconds for each in there if each.seconds is not None),
        images_seen=Seen(
            trained=statistics.fmean(each.trained for each in seen),
            per_model=statistics.fmean(each.per_model for each in seen),
            forward_only=_mean(alone),
        )
        if seen
        else None,
    )


def _pair(
    a: str, b: str, at: float | None, entries: Mapping[Key, Mapping[int, Entry]],
    seeds: Sequence[int],
) -> PairResult:  # fmt: skip
    ours, theirs = entries[a, at], entries[b, at]
    is_alone = b.removesuffix(PAIR_SUFFIX) == SUPERVISED
    differences, own = [], None
    for seed in seeds:
        if seed not in ours or (seed not in theirs and not is_alone):
            continue
        entry = ours[seed]
        # With its own baseline, which has seen as many images as it, whatever others have.
        other = entry.supervised if is_alone else theirs[seed].value
        if entry.value is None or other is None:
            continue
        differences.append(entry.value - other)
        own = entry.interval if is_alone else None
    if len(differences) > 1:
        mean, low, high = paired_t_interval(differences)
        return PairResult(a=a, b=b, labels=at, difference=mean, interval=(low, high))
    return PairResult(
        a=a,
        b=b,
        labels=at,
        difference=_mean(differences),
        interval=(own.low, own.high) if own is not None and differences else None,
    )


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return statistics.fmean(known) if known else None
