"""The report's curves: metric by round, loss and weights over images. No files, no layout."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dmt.insight import numbers
from dmt.insight.charts import Axes, Point, Series, line_chart
from dmt.insight.read import CURVES, SUPERVISED, RunView

Row = Sequence[str]

_TABLE_ROWS = 24

METRIC_NAMES = {"error": "Error", "miou": "Mean IoU"}

_TITLES: dict[str, tuple[str, str, Callable[[float], str]]] = {
    "loss": ("Loss", "weighted cross-entropy", numbers.short),
    "agreement": ("Agreement", "student decides as the pseudo label says", numbers.percent),
    "mean_weight": ("Mean weight", "of the pseudo-labeled samples", numbers.short),
    "gamma": ("γ", "exponent of the weights", numbers.short),
    "lr": ("Learning rate", "of the optimizer", numbers.short),
    "images_per_second": ("Speed", "images trained on in a second", numbers.short),
}


@dataclass(frozen=True)
class Figure:
    """A chart with its words; `chart` is HTML, all else plain text."""

    title: str
    note: str
    chart: str
    legend: Sequence[tuple[str, str]] = ()
    header: Row = ()
    rows: Sequence[Row] = ()


def style_of(learner: str) -> str:
    """CSS class of a learner's colour."""
    return "ref" if learner == SUPERVISED else learner if learner in ("a", "b") else "c"


def learner_name(learner: str) -> str:
    """A learner as the reader calls it."""
    return learner if learner == SUPERVISED else f"peer {learner}"


def round_figure(view: RunView, decimals: int) -> Figure | None:
    """The metric by round and peer on the validation part, beside the baseline's; None without."""
    by_peer: dict[str, list[Point]] = defaultdict(list)
    for record in view.rounds:
        for peer, value in record.peers.items():
            if value is not None:
                by_peer[peer].append((record.round, value))
    if not by_peer:
        return None
    numbers_of = [record.round for record in view.rounds]
    reference, where = view.supervised_val, "on the same images"
    if reference is None and view.summary is not None:
        reference, where = view.summary.supervised, "on the held-out images"
    series = [Series(learner_name(p), style_of(p), points) for p, points in by_peer.items()]
    note = "After each round, on the validation part."
    if reference is not None:
        ends = [(float(numbers_of[0]), reference), (float(numbers_of[-1]), reference)]
        series.append(Series(SUPERVISED, "ref", ends))
        note += f" Dashed: the supervised baseline {where}."

    def shown(value: float | None) -> str:
        return numbers.fixed(value, decimals, "%")

    axes = Axes(
        slug="rounds",
        title=f"{METRIC_NAMES[view.metric]} by round",
        description="; ".join(
            f"{s.name}: " + ", ".join(f"round {x:.0f} {shown(y)}" for x, y in s.points)
            for s in series
            if s.style != "ref"
        ),
        x_format=lambda x: f"{x:.0f}",
        y_format=numbers.short,
        height=220,
        x_ticks=numbers_of,
    )
    return Figure(
        title=f"{METRIC_NAMES[view.metric]} by round, %",
        note=note,
        chart=line_chart(axes, series, dots=True),
        legend=[(s.style, s.name) for s in series],
        header=["round", *(learner_name(peer) for peer in by_peer)],
        rows=[
            [str(record.round), *(shown(record.peers.get(peer)) for peer in by_peer)]
            for record in view.rounds
        ],
    )


def curve_figures(view: RunView) -> list[Figure]:
    """Loss, agreement, mean weight, γ and learning rate over the images each learner has seen."""
    first = min(view.boundaries, default="")
    marks = [(images, f"R{number}") for number, images in view.boundaries.get(first, ())]
    end = max((p[0] for p in _points(view)), default=0.0)
    for peer, places in view.boundaries.items():
        for number, images in places:
            near = any(abs(images - x) <= 0.01 * end for x, _ in marks)
            if peer != first and not near:
                marks.append((images, f"R{number}{peer}"))
    figures = []
    for field in CURVES:
        lines = view.curves[field]
        if not lines or (field == "gamma" and not any(y for p in lines.values() for _, y in p)):
            continue
        title, note, shown = _TITLES[field]
        series = [Series(learner_name(k), style_of(k), points) for k, points in lines.items()]
        axes = Axes(
            slug=f"curve-{field}",
            title=f"{title} over images seen",
            description="; ".join(
                f"{s.name} goes from {shown(s.points[0][1])} to {shown(s.points[-1][1])}"
                for s in series
            ),
            x_format=numbers.short,
            y_format=shown if field != "agreement" else lambda y: numbers.percent(y, 0),
            x_from=0.0,
            x_to=end,
            y_from=None if field == "agreement" else 0.0,
            marks=sorted(marks),
        )
        figures.append(
            Figure(
                title=title,
                note=note,
                chart=line_chart(axes, series),
                legend=[(s.style, s.name) for s in series],
                header=["images seen", *(s.name for s in series)],
                rows=_sampled(series, shown),
            )
        )
    return figures


def _points(view: RunView) -> list[Point]:
    return [p for lines in view.curves.values() for points in lines.values() for p in points[-1:]]


def _sampled(series: Sequence[Series], shown: Callable[[float], str]) -> list[Row]:
    """Each series' newest value at evenly spaced places."""
    places = {s.name: [x for x, _ in s.points] for s in series}
    end = max(xs[-1] for xs in places.values())
    start = min(xs[0] for xs in places.values())
    num = min(_TABLE_ROWS, max(map(len, places.values())))
    rows: list[Row] = []
    for i in range(num):
        x = start + (end - start) * i / max(1, num - 1)
        cells = []
        for s in series:
            at = bisect_right(places[s.name], x) - 1
            cells.append(shown(s.points[at][1]) if at >= 0 else numbers.NONE)
        rows.append([numbers.count(x), *cells])
    return rows
