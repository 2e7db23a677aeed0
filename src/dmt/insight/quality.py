"""The report's figures of quality: pseudo labels and confusion. No files, no layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dmt.insight import numbers
from dmt.insight.charts import Axes, Cell, Series, bar_chart, heat_table, line_chart
from dmt.insight.figures import Figure, Row, learner_name, style_of
from dmt.insight.read import Event, RunView
from dmt.records import Confusion

Matrices = Sequence[tuple[str, Confusion]]

MAX_MATRIX_CLASSES = 30
"""Above, a confusion matrix is no longer read; the most frequent mistakes are listed alone."""
MAX_TABLE_CLASSES = 200


def label_figures(view: RunView) -> list[Figure]:
    """How many pseudo labels were kept in each round, and how many of them are true."""
    if not view.labelings:
        return []
    rounds = sorted({event["round"] for event in view.labelings})
    by_round = {r: [e for e in view.labelings if e["round"] == r] for r in rounds}
    names = [f"round {r}" if len(rounds) < 5 else f"R{r}" for r in rounds]
    truth = _truth_figure(view, rounds)
    return [_kept_figure(by_round, names, view.unit), *([truth] if truth else [])]


def confusion_tables(matrices: Matrices, classes: Sequence[str], unit: str) -> list[str]:
    """The confusion matrices as heat maps, rows the truth; none above MAX_MATRIX_CLASSES.

    Of pixels, a cell says the share of its true class: the counts are too large to be read.
    """
    if len(classes) > MAX_MATRIX_CLASSES:
        return []
    # column names longer than a digit or two stand upright, or the matrix grows too wide
    upright = max(map(len, classes), default=0) > 3
    tables = []
    for name, confusion in matrices:
        rows = [
            (truth, [_confusion_cell(row, i, j, classes, unit) for j in range(len(row))])
            for i, (truth, row) in enumerate(zip(classes, confusion.counts, strict=False))
        ]
        tables.append(heat_table(name, "true ↓  called →", classes, rows, upright=upright))
    return tables


def mistakes(
    matrices: Matrices, classes: Sequence[str], unit: str, num: int = 8
) -> tuple[Row, list[Row]]:
    """The most frequent wrong answers over all `matrices`: header and rows of a table."""
    size = range(len(classes))
    ranked = sorted(
        (
            (sum(c.counts[i][j] for _, c in matrices), i, j)
            for i in size
            for j in size
            if i != j and any(c.counts[i][j] for _, c in matrices)
        ),
        key=lambda item: (-item[0], item[1], item[2]),
    )
    header = ["true class", "called", *(name for name, _ in matrices)]
    return header, [
        [classes[i], classes[j], *(_mistake(c.counts[i], j, unit) for _, c in matrices)]
        for _, i, j in ranked[:num]
    ]


def _kept_figure(by_round: dict[int, list[Event]], names: Sequence[str], unit: str) -> Figure:
    """Stacked bars of the pool, in means over the round's teachers."""

    def mean(events: list[Event], value: Callable[[Event], float]) -> float:
        return sum(map(value, events)) / len(events)

    groups = list(by_round.values())
    rest = [mean(g, lambda e: e["pool"] - e["selected"]) for g in groups]
    if all(e.get("pseudo_label_accuracy") is not None for g in groups for e in g):
        true = [mean(g, lambda e: e["selected"] * e["pseudo_label_accuracy"]) for g in groups]
        false = [mean(g, lambda e: e["selected"]) - t for g, t in zip(groups, true, strict=True)]
        series = [
            Series("kept and true", "good", values=true),
            Series("kept and wrong", "bad", values=false),
        ]
    else:
        series = [Series("kept", "a", values=[mean(g, lambda e: e["selected"]) for g in groups])]
    series.append(Series("left out", "rest", values=rest))
    axes = Axes(
        slug="kept",
        title="Pseudo labels kept by round",
        description="; ".join(
            f"{name}: " + ", ".join(f"{numbers.amount(s.values[i], unit)} {s.name}" for s in series)
            for i, name in enumerate(names)
        ),
        y_format=numbers.short,
        height=200,
    )
    return Figure(
        title="How many are kept",
        note=f"Of the{' pixels of the' if unit == 'pixels' else ''} unlabeled pool; mean of the "
        "round's teachers.",
        chart=bar_chart(axes, names, series, stacked=True),
        legend=[(f"{s.style} swatch", s.name) for s in series],
        header=["round", "teacher → student", "label fraction", "pool", "kept", "lowest confidence",
                "true of kept", "true of pool"],
        rows=[_label_row(event) for events in groups for event in events],
    )  # fmt: skip


def _truth_figure(view: RunView, rounds: Sequence[int]) -> Figure | None:
    """Accuracy of the kept and of all pseudo labels by round and teacher; None if unknown."""
    series = []
    for teacher in sorted({str(event["teacher"]) for event in view.labelings}):
        for field, word, faint in (
            ("pseudo_label_accuracy", "kept", ""),
            ("pool_accuracy", "whole pool", " faint"),
        ):
            points = [
                (float(event["round"]), 100 * event[field])
                for event in view.labelings
                if str(event["teacher"]) == teacher and event.get(field) is not None
            ]
            if points:
                label = f"{word}, by {learner_name(teacher)}"
                series.append(Series(label, style_of(teacher) + faint, points))
    if not series:
        return None
    axes = Axes(
        slug="truth",
        title="Share of true pseudo labels by round",
        description="; ".join(
            f"{s.name}: " + ", ".join(f"{y:.1f} %" for _, y in s.points) for s in series
        ),
        x_format=lambda x: f"R{x:.0f}",
        y_format=lambda y: numbers.fixed(y, 0, "%"),
        height=200,
        x_ticks=rounds,
    )
    note = "Compared with labels that were hidden from training."
    chart = line_chart(axes, series, dots=True)
    legend = [(s.style, s.name) for s in series]
    return Figure("How many are true", note, chart, legend)


def _label_row(event: Event) -> Row:
    unit = str(event.get("unit", "images"))
    return [
        str(event["round"]),
        f"{event['teacher']} → {event['student']}",
        numbers.percent(event.get("label_fraction"), 0),
        numbers.amount(event["pool"], unit),
        numbers.amount(event["selected"], unit),
        threshold_text(event.get("threshold")),
        numbers.percent(event.get("pseudo_label_accuracy")),
        numbers.percent(event.get("pool_accuracy")),
    ]


def threshold_text(value: Any) -> str:
    """One cut, or the range of the cuts by class."""
    cuts = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list):
        cuts = [value]
    known = [cut for cut in cuts if isinstance(cut, int | float)]
    if not known:
        return numbers.NONE
    low, high = numbers.fixed(min(known), 3), numbers.fixed(max(known), 3)
    return low if low == high else f"{low} to {high}"


def _mistake(row: Sequence[int], called: int, unit: str) -> str:
    """How many of a true class were called another; of pixels also their share."""
    if unit != "pixels" or not row[called]:
        return numbers.count(row[called])
    return f"{numbers.short(row[called])} ({numbers.percent(row[called] / sum(row))})"


def _confusion_cell(row: Sequence[int], i: int, j: int, classes: Sequence[str], unit: str) -> Cell:
    share = row[j] / (sum(row) or 1)
    num = numbers.amount(row[j], unit)
    hint = f"{classes[i]} called {classes[j]}: {num} ({numbers.percent(share)})"
    if not row[j] or (unit == "pixels" and share < 0.005):
        return Cell("·", hint=hint)
    # a wrong answer is rare beside the diagonal; the root keeps it visible
    strength = share if i == j else share**0.5
    if unit == "pixels":
        text = numbers.fixed(100 * share, 0)
    else:
        text = num if sum(row) < 10_000 else numbers.percent(share, 0)
    return Cell(text, strength, "a" if i == j else "bad", hint)
