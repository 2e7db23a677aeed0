"""The report's figures of selection: how many pseudo labels of which class, above which cut.

How many of them are true is `quality`'s, except by class. No files, no layout.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dmt.insight import numbers
from dmt.insight.charts import Axes, Cell, Series, heat_table, line_chart
from dmt.insight.figures import Figure, learner_name, style_of
from dmt.insight.quality import MAX_TABLE_CLASSES, threshold_text
from dmt.insight.read import Event, RunView


@dataclass(frozen=True)
class ClassTables:
    """Class by round, as HTML, empty where nothing is known; how many classes were too many."""

    kept: str
    coverage: str
    thresholds: str
    true: str
    num_left_out: int


@dataclass
class _Sums:
    """Over a round's students; `known` are those kept whose truth is known."""

    predicted: float = 0.0
    selected: float = 0.0
    known: float = 0.0
    true: float = 0.0


def cut_figure(view: RunView) -> Figure | None:
    """Label fraction and lowest confidence kept by round; None where a run has no labelings."""
    events = view.labelings
    if not events:
        return None
    rounds = sorted({event["round"] for event in events})
    fractions = {
        event["round"]: event["label_fraction"] for event in events
        if event.get("label_fraction") is not None
    }  # fmt: skip
    series = [Series("label fraction", "ref", [(float(r), 100 * f) for r, f in fractions.items()])]
    for teacher in sorted({str(event["teacher"]) for event in events}):
        points = [
            (float(event["round"]), 100 * cut)
            for event in events
            if str(event["teacher"]) == teacher and (cut := _lowest(event)) is not None
        ]
        series.append(Series(f"lowest kept, {learner_name(teacher)}", style_of(teacher), points))
    series = [each for each in series if each.points]
    axes = Axes(
        slug="cuts",
        title="Label fraction and lowest confidence kept, by round",
        description="; ".join(
            f"{s.name}: " + ", ".join(f"{y:.1f} %" for _, y in s.points) for s in series
        ),
        x_format=lambda x: f"R{x:.0f}",
        y_format=lambda y: numbers.fixed(y, 0, "%"),
        height=200,
        y_from=0.0,
        y_to=100.0,
        x_ticks=rounds,
    )
    return Figure(
        title="Where the cut lies",
        note="Label fraction: the share of the pool that a round keeps. Lowest confidence of what "
        "was kept.",
        chart=line_chart(axes, series, dots=True),
        legend=[(each.style, each.name) for each in series],
        header=["round", "teacher", "label fraction", "coverage", "lowest confidence"],
        rows=[
            [str(e["round"]), str(e["teacher"]), numbers.percent(e.get("label_fraction"), 0),
             numbers.percent(e["selected"] / e["pool"] if e["pool"] else None),
             threshold_text(e.get("threshold"))]
            for e in events
        ],
    )  # fmt: skip


def class_tables(view: RunView) -> ClassTables:
    """Class by round: kept, coverage, lowest confidence (where the cut is by class), true."""
    sums: dict[str, dict[int, _Sums]] = defaultdict(dict)
    for event in view.labelings:
        for entry in event.get("classes") or []:
            cell = sums[str(entry["name"])].setdefault(event["round"], _Sums())
            cell.predicted += entry["predicted"]
            cell.selected += entry["selected"]
            if entry.get("accuracy") is not None:
                cell.known += entry["selected"]
                cell.true += entry["selected"] * entry["accuracy"]
    shown = dict(list(sums.items())[:MAX_TABLE_CLASSES])
    if not shown:
        return ClassTables("", "", "", "", 0)
    rounds = sorted({event["round"] for event in view.labelings})
    heads = [f"R{number}" for number in rounds]

    def table(caption: str, cell: Callable[[_Sums, str], Cell]) -> str:
        rows = [
            (name, [cell(by_round.get(r, _Sums()), view.unit) for r in rounds])
            for name, by_round in shown.items()
        ]
        return heat_table(caption, "class", heads, rows)

    is_known = any(cell.known for cells in sums.values() for cell in cells.values())
    return ClassTables(
        kept=table("Pseudo labels kept", _kept_cell),
        coverage=table("Share kept of what was predicted", _coverage_cell),
        thresholds=_thresholds(view, rounds, heads),
        true=table("True among the kept", _true_cell) if is_known else "",
        num_left_out=len(sums) - len(shown),
    )


def _thresholds(view: RunView, rounds: list[int], heads: list[str]) -> str:
    """Lowest confidence kept, class by round, the lower of the teachers'; empty for one cut."""
    lowest: dict[str, dict[int, float]] = defaultdict(dict)
    for event in view.labelings:
        for name, cut in _by_class(event).items():
            if cut is not None:
                lowest[name][event["round"]] = min(cut, lowest[name].get(event["round"], 1.0))
    rows = [
        (name, [_cut_cell(by_round.get(r)) for r in rounds])
        for name, by_round in list(lowest.items())[:MAX_TABLE_CLASSES]
    ]
    return heat_table("Lowest confidence kept", "class", heads, rows) if rows else ""


def _by_class(event: Event) -> Mapping[str, float | None]:
    cuts = event.get("threshold")
    if isinstance(cuts, list):
        return {str(each["name"]): cut
                for each, cut in zip(event.get("classes") or [], cuts, strict=False)}  # fmt: skip
    return cuts if isinstance(cuts, dict) else {}


def _lowest(event: Event) -> float | None:
    cuts: Any = event.get("threshold")
    known = [
        each for each in (_by_class(event).values() or [cuts]) if isinstance(each, int | float)
    ]
    return min(known, default=None)


def _kept_cell(sums: _Sums, unit: str) -> Cell:
    if not sums.predicted:
        return Cell(numbers.NONE)
    amounts = [numbers.amount(each, unit) for each in (sums.selected, sums.predicted)]
    hint = f"{amounts[0]} kept of {amounts[1]} predicted"
    return Cell(numbers.short(sums.selected), sums.selected / sums.predicted, "a", hint)


def _coverage_cell(sums: _Sums, unit: str) -> Cell:
    if not sums.predicted:
        return Cell(numbers.NONE)
    share = sums.selected / sums.predicted
    return Cell(numbers.percent(share, 0), share, "a")


def _true_cell(sums: _Sums, unit: str) -> Cell:
    if not sums.known:
        return Cell(numbers.NONE)
    accuracy = sums.true / sums.known
    hint = f"of {numbers.amount(sums.known, unit)} kept"
    return Cell(numbers.percent(accuracy), (1 - accuracy) / 0.4, "bad", hint)


def _cut_cell(cut: float | None) -> Cell:
    return Cell(numbers.NONE) if cut is None else Cell(numbers.fixed(cut, 3), cut, "a")
