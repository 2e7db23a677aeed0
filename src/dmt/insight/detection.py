"""The report's section on what finds wrong pseudo labels. No files, no layout, no new figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dmt.insight import numbers
from dmt.insight.charts import Axes, Cell, Series, heat_table, line_chart
from dmt.insight.figures import Figure, Row, learner_name
from dmt.insight.read import RunView
from dmt.records import Gain, RoundRecord

_NAMES = {  # in a table, and in a sentence
    "confidence": ("confidence", "the teacher's confidence"),
    "margin": ("margin", "the teacher's margin"),
    "entropy": ("entropy", "the teacher's entropy"),
    "other_probability": ("other's p(label)", "the other network's p(label)"),
    "dmt_weight": ("DMT's weight", "DMT's weight"),
    "disagreement": ("disagreement", "disagreement"),
    "ensemble_confidence": ("both: confidence", "the confidence of both"),
    "ensemble_probability": ("both: p(label)", "the p(label) of both"),
}
_DRAWN = (
    ("confidence", "a"),
    ("disagreement", "b"),
    ("dmt_weight", "c"),
    ("ensemble_confidence", "good"),
)
_DRAWN_OF_ONE = (("confidence", "a"), ("margin", "b"), ("entropy", "c"))


@dataclass(frozen=True)
class Detection:
    """The section: sentences, a plot, and a table by round as HTML."""

    sentences: Sequence[str]
    note: str
    figure: Figure
    precision: str
    auroc: str


def detection_section(view: RunView) -> Detection | None:
    """Which scores found the wrong pseudo labels, by round; None where no truth is known."""
    rounds = [each for each in view.rounds if each.error_detection]
    last = next((each for each in reversed(rounds) if _means(each, "ap")), None)
    if last is None:
        return None
    return Detection(
        sentences=[_best(last), *_gains(last)],
        note=_note(last, view.unit),
        figure=_figure(rounds, view.unit),
        precision=_table("Average precision by round, %", rounds, "ap"),
        auroc=_table("AUROC by round, %", rounds, "auroc"),
    )


def _best(last: RoundRecord) -> str:
    means = _means(last, "ap")
    chance = _share_wrong(last)
    ranked = sorted(means, key=lambda name: -means[name])
    best, ours = ranked[0], means["confidence"]
    over = "" if len(last.error_detection) == 1 else ", mean over both teachers"
    start = (
        f"In round {last.round} {_NAMES[best][1]} found the wrong pseudo labels best: average "
        f"precision {numbers.percent(means[best])}{over}"
    )
    if best == "confidence":
        second = ranked[1]
        return (
            f"{start}; next is {_NAMES[second][1]} with {numbers.percent(means[second])}. "
            f"A random order has {numbers.percent(chance)}."
        )
    return (
        f"{start}, {numbers.fixed(100 * (means[best] - ours), 1)} points above the teacher's "
        f"confidence ({numbers.percent(ours)}). A random order has {numbers.percent(chance)}."
    )


def _gains(last: RoundRecord) -> list[str]:
    """Disagreement, and the weight made of it, against confidence, for each teacher's labels."""
    sentences = []
    for score, start in (("disagreement", "Disagreement"), ("dmt_weight", "DMT's weight")):
        parts = [
            f"{_gain(found.gains[score])} for the labels of {learner_name(teacher)}"
            for teacher, found in last.error_detection.items()
            if score in found.gains
        ]
        if parts:
            sentences.append(f"{start} against the teacher's confidence: {'; '.join(parts)}.")
    return sentences


def _gain(gain: Gain) -> str:
    value, low, high = (
        numbers.fixed(100 * x, 1, signed=True) for x in (gain.value, gain.low, gain.high)
    )
    word = "better" if gain.low > 0 else "worse" if gain.high < 0 else "cannot be told apart"
    return f"{word} ({value} points, 95{numbers.NARROW}% interval {low} to {high})"


def _note(last: RoundRecord, unit: str) -> str:
    found = next(iter(last.error_detection.values()))
    what = f"{numbers.count(found.num_images)} images of the pool"
    if unit == "pixels":
        what = f"{numbers.count(found.num_labels)} pixels of {what}"
    if len(found.scores) == len(_DRAWN_OF_ONE):
        both = "There is no second network that could disagree."
    else:
        both = (
            "The other network is the student as it was before the round, or in a chain the "
            "generation before the teacher; disagreement is 1 − Σ min of the two softmaxes."
        )
    return (
        f"Measured on {what} whose labels were hidden from training. Every score puts the labels "
        f"in an order, the most suspect first; confidence, margin and entropy are the teacher's. "
        f"{both}"
    )


def _figure(rounds: Sequence[RoundRecord], unit: str) -> Figure:
    known = [each for each in rounds if _means(each, "ap")]
    means = {each.round: _means(each, "ap") for each in known}
    drawn = _DRAWN if any("disagreement" in each for each in means.values()) else _DRAWN_OF_ONE
    series = [
        Series(
            _NAMES[name][0],
            style,
            [(float(r), 100 * each[name]) for r, each in means.items() if name in each],
        )
        for name, style in drawn
    ]
    chance = [(float(each.round), 100 * _share_wrong(each)) for each in known]
    series.append(Series("random order", "ref", chance))
    axes = Axes(
        slug="detection",
        title="Average precision in finding wrong pseudo labels, by round",
        description="; ".join(
            f"{s.name}: " + ", ".join(f"{y:.1f} %" for _, y in s.points) for s in series
        ),
        x_format=lambda x: f"R{x:.0f}",
        y_format=lambda y: numbers.fixed(y, 0, "%"),
        height=220,
        y_from=0.0,
        x_ticks=[each.round for each in known],
    )
    return Figure(
        title="Average precision, %",
        note="In finding wrong labels among all pseudo labels; mean of the round's teachers. "
        "Higher is better.",
        chart=line_chart(axes, series, dots=True),
        legend=[(s.style, s.name) for s in series],
        header=["round", "teacher", f"{unit} checked", "wrong", "score", "AP", "AUROC",
                "AP of kept", "AUROC of kept"],
        rows=[row for each in rounds for row in _rows(each, unit)],
    )  # fmt: skip


def _rows(record: RoundRecord, unit: str) -> list[Row]:
    return [
        [str(record.round), teacher, numbers.amount(found.num_labels, unit),
         numbers.amount(found.num_wrong, unit), _NAMES[name][0] if name in _NAMES else name,
         *(numbers.percent(x) for x in (each.ap, each.auroc, each.ap_selected,
                                        each.auroc_selected))]
        for teacher, found in record.error_detection.items()
        for name, each in found.scores.items()
    ]  # fmt: skip


def _table(caption: str, rounds: Sequence[RoundRecord], field: str) -> str:
    """Means over the teachers, score by round; the colour goes from the round's worst to its
    best."""
    means = {each.round: _means(each, field) for each in rounds}
    return heat_table(
        caption,
        "score",
        [f"R{number}" for number in means],
        [
            (shown, [_cell(by_name, name) for by_name in means.values()])
            for name, (shown, _) in _NAMES.items()
            if any(name in by_name for by_name in means.values())
        ],
    )


def _cell(means: Mapping[str, float], name: str) -> Cell:
    if name not in means:
        return Cell(numbers.NONE)
    low, high = min(means.values()), max(means.values())
    strength = (means[name] - low) / (high - low) if high > low else 0.0
    return Cell(numbers.fixed(100 * means[name], 1), strength, "a")


def _means(record: RoundRecord, field: str) -> dict[str, float]:
    """By score, the mean over the teachers for which it is known."""
    means = {}
    for name in _NAMES:
        known = [
            value
            for found in record.error_detection.values()
            if name in found.scores and (value := getattr(found.scores[name], field)) is not None
        ]
        if known:
            means[name] = sum(known) / len(known)
    return means


def _share_wrong(record: RoundRecord) -> float:
    """Of the labels where a score has an average precision: what a random order has."""
    shares = [
        found.num_wrong / found.num_labels for found in record.error_detection.values()
        if 0 < found.num_wrong < found.num_labels
    ]  # fmt: skip
    return sum(shares) / max(1, len(shares))
