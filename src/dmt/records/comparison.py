"""What `compare.json` holds: the record types of a comparison, and its sentences. No torch here.

How its figures come about is in `metrics.over_seeds`, who runs the runs in `comparisons`.
"""

from __future__ import annotations

from typing import Any, Literal

from dmt.records import Record

COMPARE = "compare.json"
MARKDOWN = "compare.md"
PAGE = "compare.html"
METRIC_NAMES = {"error": "error", "miou": "mean IoU"}
SUPERVISED = "supervised"
ORACLE = "oracle"
NONE = "–"
PAIR_SUFFIX = " (pair)"
"""Behind a method's name: its two peers together, compared with two supervised models together."""


class Seen(Record):
    """Images in one run, means over seeds. `trained`: forward and backward, all models of the
    method; `per_model`: by one of them; `forward_only`: weighting, labeling and evaluation in the
    whole run, null where they are not counted apart."""

    trained: float
    per_model: float
    forward_only: float | None


class MethodResult(Record):
    """One method over seeds. `values` are % of the metric by seed, null where a run has none;
    `seconds` of training and labeling, mean over seeds; `sd` is null for fewer than two."""

    method: str
    labels: float | None = None
    mean: float | None
    sd: float | None
    values: list[float | None]
    gap_closed: float | None
    seconds: float | None
    images_seen: Seen | None


class PairResult(Record):
    """`a − b` in points of the metric, seed by seed, and the 95 % interval of its mean.

    With one seed the interval is the run's own, over its held-out images, where b is the
    supervised model; else null.
    """

    a: str
    b: str
    labels: float | None = None
    difference: float | None
    interval: tuple[float, float] | None


class Comparison(Record):
    """The outcome: what `dmt compare --json` prints."""

    dataset: str
    task: Literal["classification", "segmentation"]
    metric: Literal["error", "miou"]
    labels: list[float] | None = None
    methods: list[MethodResult]
    pairs: list[PairResult]

    def contract(self) -> dict[str, Any]:
        """As JSON values; `labels` only where several numbers of them were compared."""
        found = self.model_dump(mode="json")
        if self.labels is None:
            for each in (found, *found["methods"], *found["pairs"]):
                del each["labels"]
        return found


class Asked(Record):
    """What a comparison was asked for, to which it is held when it goes on."""

    methods: list[str]
    seeds: list[int]
    labels: list[float] | None
    settings: dict[str, Any]
    data: str
    """A hash of the images and labels."""


class ComparisonRecord(Record):
    """`compare.json`."""

    version: Literal[1] = 1
    command: str
    asked: Asked
    result: Comparison | None
    """None until every run has come to its end."""
    notes: list[str]
    hardware: str
    versions: dict[str, str]


def table(result: Comparison) -> tuple[list[str], list[list[str]]]:
    """The table in words: the names of its columns, and its rows."""
    is_swept = result.labels is not None
    header = [
        "method",
        *(["labels"] if is_swept else []),
        f"{METRIC_NAMES[result.metric]} in %",
        "gap closed",
        "images a model",
        "seconds",
    ]
    rows = []
    for each in result.methods:
        seen, gap = each.images_seen, each.gap_closed
        rows.append(
            [
                each.method,
                *([] if each.labels is None else [f"{each.labels:g}"]),
                spread(each),
                NONE if gap is None else f"{100 * gap:.0f} %".replace("-", "−"),
                NONE if seen is None else f"{seen.per_model:,.0f}",
                NONE if each.seconds is None else f"{each.seconds:,.1f}",
            ]
        )
    return header, rows


def spread(result: MethodResult) -> str:
    """Mean ± standard deviation, as far as there are any, and of how many seeds if not of all."""
    if result.mean is None:
        return NONE
    text = f"{result.mean:.2f}" + ("" if result.sd is None else f" ± {result.sd:.2f}")
    num = sum(value is not None for value in result.values)
    if num == len(result.values):
        return text
    return f"{text} ({num} seed{'s' if num > 1 else ''})"


def answer(pair: PairResult, metric: str) -> Literal["better", "worse", "unclear"]:
    """On which side of 0 the whole interval lies: `better` where a is; unclear without one."""
    if pair.interval is None or pair.interval[0] <= 0 <= pair.interval[1]:
        return "unclear"
    return "better" if (pair.interval[1] < 0) == (metric == "error") else "worse"


def sentence(pair: PairResult, result: Comparison) -> str:
    """A pair in words: the two values, their difference, and whether the interval excludes 0."""
    values = {
        each.method: dict(enumerate(each.values))
        for each in result.methods
        if each.labels == pair.labels
    }
    seeds = [
        seed for seed, value in values[pair.a].items()
        if value is not None and values[pair.b].get(seed) is not None
    ]  # fmt: skip
    at = "" if pair.labels is None else f" at {pair.labels:g} labels"
    start = f"{pair.a} − {pair.b}{at}"
    if pair.difference is None:
        return f"{start}: not measured."
    start += f": {signed(pair.difference)} points of {METRIC_NAMES[result.metric]}"
    if pair.interval is None:
        return f"{start} on one seed, which has no interval: cannot tell."
    low, high = map(signed, pair.interval)
    against = pair.b.startswith(SUPERVISED)
    words = {
        "better": "it helped" if against else f"{pair.a} is better",
        "worse": "it hurt" if against else f"{pair.a} is worse",
        "unclear": "cannot tell, as the interval holds 0",
    }
    over = f"over {len(seeds)} seeds" if len(seeds) > 1 else "of one seed, over its held-out images"
    return f"{start}, 95 % interval {low} to {high} {over}: {words[answer(pair, result.metric)]}."


def signed(number: float, digits: int = 2) -> str:
    """With a sign, a true minus, and never a negative zero."""
    return f"{round(number, digits) + 0.0:+.{digits}f}".replace("-", "−")
