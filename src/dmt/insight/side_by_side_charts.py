"""The charts of several runs on one page: differences, curves, reliability. No files, no layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from dmt.insight import numbers
from dmt.insight.charts import Axes, Point, Series, line_chart
from dmt.insight.comparison_charts import Span, span_chart
from dmt.insight.comparison_page import Placed
from dmt.insight.figures import METRIC_NAMES
from dmt.insight.read import RunView
from dmt.records import Summary

Run = tuple[str, str, RunView]  # name, CSS class of its colour, what is known of it
_TABLE_ROWS = 40


class _Plot(NamedTuple):
    """What a chart of one line a run is made of."""

    slug: str
    title: str
    note: str
    lines: Mapping[str, Sequence[Point]]
    x_format: Callable[[float], str]
    y_format: Callable[[float], str]
    has_dots: bool = True
    x_from: float | None = None
    x_to: float | None = None
    y_from: float | None = None
    y_to: float | None = None


def difference_figure(runs: Sequence[tuple[str, str, Summary]]) -> Placed | None:
    """Peer a against supervised in every run that measured it, with intervals."""
    rows = []
    for name, color, summary in runs:
        found = summary.interval
        if found is not None:
            value, low, high = (
                numbers.fixed(x, 1, signed=True) for x in (found.value, found.low, found.high)
            )
            text = f"{value} ({low} to {high})"
            rows.append(Span(name, color, found.value, (found.low, found.high), text))
    if not rows:
        return None
    axes = Axes(
        slug="differences",
        title="Difference to the supervised baseline and its 95 % interval",
        description="; ".join(f"{row.name} {row.text}" for row in rows),
        x_format=lambda x: numbers.fixed(x, 0 if x == round(x) else 1, signed=True),
        y_format=lambda x: numbers.fixed(x, 1, signed=True),
    )
    return Placed(
        title="Peer a − supervised and 95 % intervals, points",
        note="Each against the baseline of its own run. An interval that holds 0 cannot tell.",
        chart=span_chart(axes, rows, lower_is_better=runs[0][2].metric == "error"),
        header=["run", "difference (interval)"],
        rows=[[row.name, row.text] for row in rows],
        kind="spans",
    )


def run_figures(runs: Sequence[Run]) -> list[Placed]:
    """One line a run, in the colour of the run; a chart of which nothing is known is left out."""
    metric = METRIC_NAMES[runs[0][2].metric]
    plots = [
        _Plot("rounds", f"{metric} by round, %", "Peer a after each round, on the validation part.",
              _by_run(runs, _metric_by_round), _round, numbers.short),
        _Plot("truth", "True pseudo labels by round, %",
              "Of those kept, mean of the round's teachers; against hidden labels.",
              _by_run(runs, _truth_by_round), _round, numbers.short),
        _curve(runs, "loss", "Loss", "Of peer a, over the images it has seen.", numbers.short),
        _curve(runs, "agreement", "Agreement", "Peer a decides as the pseudo label says.",
               lambda y: numbers.percent(y, 0)),
        _curve(runs, "mean_weight", "Mean weight", "Of peer a's pseudo-labeled samples.",
               numbers.short),
        _Plot("reliability", "Accuracy by confidence, %",
              "Of the model handed out, on the held-out images. As sure as right: the diagonal.",
              _by_run(runs, _reliability), numbers.short, numbers.short,
              x_from=0.0, x_to=100.0, y_from=0.0, y_to=100.0),
    ]  # fmt: skip
    colors = {name: color for name, color, _ in runs}
    return [_figure(plot, colors) for plot in plots if plot.lines]


def _by_run(
    runs: Sequence[Run], points_of: Callable[[RunView], list[Point]]
) -> dict[str, Sequence[Point]]:
    return {name: points for name, _, view in runs if (points := points_of(view))}


def _metric_by_round(view: RunView) -> list[Point]:
    found = ((each.round, each.peers.get("a")) for each in view.rounds)
    return [(float(number), value) for number, value in found if value is not None]


def _truth_by_round(view: RunView) -> list[Point]:
    return [
        (float(each.round), 100 * each.pseudo_label_accuracy)
        for each in view.rounds
        if each.pseudo_label_accuracy is not None
    ]


def _reliability(view: RunView) -> list[Point]:
    headline = view.summary.headline if view.summary else "ensemble"
    found = view.examples.reliability if view.examples else []
    return [
        (100 * sure, 100 * right / num)
        for each in found
        if each.model == headline
        for num, right, sure in zip(each.num, each.right, each.confidence, strict=True)
        if num and sure is not None
    ]


def _curve(
    runs: Sequence[Run], field: str, title: str, note: str, shown: Callable[[float], str]
) -> _Plot:
    lines = _by_run(runs, lambda view: view.curves[field].get("a", []))
    return _Plot(
        f"curve-{field}", title, note, lines, numbers.short, shown, has_dots=False, x_from=0.0
    )


def _round(x: float) -> str:
    return f"R{x:.0f}"


def _figure(plot: _Plot, colors: Mapping[str, str]) -> Placed:
    series = [Series(name, colors[name], points) for name, points in plot.lines.items()]
    rounds = sorted({x for s in series for x, _ in s.points}) if plot.x_format is _round else None
    axes = Axes(
        slug=plot.slug,
        title=plot.title,
        description="; ".join(
            f"{s.name} from {plot.y_format(s.points[0][1])} to {plot.y_format(s.points[-1][1])}"
            for s in series
        ),
        x_format=plot.x_format,
        y_format=plot.y_format,
        height=220,
        x_ticks=rounds,
        x_from=plot.x_from,
        x_to=plot.x_to,
        y_from=plot.y_from,
        y_to=plot.y_to,
    )
    is_short = plot.has_dots
    return Placed(
        title=plot.title,
        note=plot.note,
        chart=line_chart(axes, series, dots=plot.has_dots),
        legend=[(s.style, s.name) for s in series],
        header=["run", "at", "value"] if is_short else [],
        rows=[[s.name, plot.x_format(x), plot.y_format(y)] for s in series for x, y in s.points]
        [:_TABLE_ROWS] if is_short else [],
    )  # fmt: skip
