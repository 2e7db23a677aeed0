"""`compare.html`: one self-contained page of a comparison. Computes no figure, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

from dmt.escapes import visible
from dmt.insight import numbers
from dmt.insight.charts import Axes, Series, line_chart
from dmt.insight.comparison_charts import Span, Spot, Spread, span_chart, spot_chart, spread_chart
from dmt.insight.figures import METRIC_NAMES, Figure
from dmt.insight.html import environment, script, style
from dmt.insight.listing import list_settings
from dmt.records.comparison import (
    ORACLE,
    PAIR_SUFFIX,
    SUPERVISED,
    Comparison,
    ComparisonRecord,
    MethodResult,
    PairResult,
    answer,
    sentence,
    signed,
    table,
)

_OWN_STYLES = {"dmt": "a", "dmt-online": "c", SUPERVISED: "ref", ORACLE: "good"}
_KINDS = {"better": "helped", "worse": "hurt", "unclear": "unclear"}
_STYLES = {"better": "good", "worse": "bad", "unclear": "unsure"}
_NOT_COMMON = {"method", "seed", "out"}


@dataclass(frozen=True)
class Placed(Figure):
    """A figure and how the page lays it out: a CSS class."""

    kind: str = ""


def render_comparison(record: ComparisonRecord, name: str) -> str:
    """The page as HTML.

    Args:
        record: finished.
        name: of the comparison's folder.
    """
    result = record.result
    assert result is not None
    header, rows = table(result)
    first = _first_pair(result)
    kind, word = ("none", "") if first is None else _verdict(first, result)
    settings = {k: v for k, v in record.asked.settings.items() if k not in _NOT_COMMON}
    num = len(record.asked.seeds)
    code = script("report.js")
    page = (
        environment()
        .get_template("comparison.html.j2")
        .render(
            style=style("report.css", "comparison.css"),
            script=code.text,
            script_hash=code.hash,
            name=name,
            about=[
                result.dataset,
                result.task,
                f"{len(record.asked.methods)} methods",
                f"{num} seed{'' if num == 1 else 's'}",
            ],
            kind=kind,
            word=word,
            headline=_headline(result) if first is None else sentence(first, result),
            header=header,
            rows=rows,
            figures=_figures(result),
            spans=_spans(result),
            sentences=[sentence(pair, result) for pair in result.pairs],
            notes=record.notes,
            command=record.command,
            machine=[("hardware", record.hardware), *record.versions.items()],
            settings=list_settings(settings),
        )
    )
    return visible(page, keep="\n\t")


def _first_pair(result: Comparison) -> PairResult | None:
    """The pair that the page begins with: ours against supervised, or against the first other."""
    measured = [pair for pair in result.pairs if pair.difference is not None]
    ours = [pair for pair in measured if pair.a in ("dmt", "dmt-online")]
    return next(iter([*(p for p in ours if p.b == SUPERVISED), *ours, *measured]), None)


def _verdict(pair: PairResult, result: Comparison) -> tuple[str, str]:
    found = answer(pair, result.metric)
    words = {"better": "Better", "worse": "Worse", "unclear": "Cannot tell"}
    if pair.b == SUPERVISED:
        words |= {"better": "Helped", "worse": "Hurt"}
    return _KINDS[found], words[found]


def _headline(result: Comparison) -> str:
    names = ", ".join(dict.fromkeys(each.method for each in result.methods))
    return f"{METRIC_NAMES[result.metric]} of {names} on {result.dataset}."


def _figures(result: Comparison) -> list[Placed]:
    measured = [each for each in result.methods if each.mean is not None]
    if not measured:
        return []
    styles = _styles(result)
    first = _by_labels if result.labels else _spread
    timed = [each for each in measured if each.seconds is not None]
    return [first(result, measured, styles), *([_cost(result, timed, styles)] if timed else [])]


def _styles(result: Comparison) -> dict[str, str]:
    """CSS class of every method's colour; a pair has that of its method."""
    others = cycle([f"o{number}" for number in range(1, 9)])
    styles = dict(_OWN_STYLES)
    for each in result.methods:
        name = each.method.removesuffix(PAIR_SUFFIX)
        if name not in styles:
            styles[name] = next(others)
    return {each.method: styles[each.method.removesuffix(PAIR_SUFFIX)] for each in result.methods}


def _better(result: Comparison) -> str:
    return f"{'Lower' if result.metric == 'error' else 'Higher'} is better."


def _spread(result: Comparison, measured: Sequence[MethodResult], styles: dict[str, str]) -> Placed:
    rows = [
        Spread(
            each.method,
            styles[each.method],
            [value for value in each.values if value is not None],
            each.mean or 0.0,
            each.sd,
        )
        for each in measured
    ]
    name = METRIC_NAMES[result.metric]
    reference = next((row.mean for row in rows if row.name == SUPERVISED), None)
    axes = Axes(
        slug="methods",
        title=f"{name} of every method",
        description="; ".join(f"{row.name} {numbers.fixed(row.mean, 2, '%')}" for row in rows),
        x_format=numbers.short,
        y_format=lambda value: numbers.fixed(value, 2),
    )
    return Placed(
        title=f"{name} on the held-out images, %",
        note=f"{_better(result)} Mean ± sd, a small dot a seed.",
        chart=spread_chart(axes, rows, reference),
        header=["method", *(f"run {number + 1}" for number in range(len(measured[0].values)))],
        rows=[[each.method, *(numbers.fixed(v, 2) for v in each.values)] for each in measured],
        kind="ladder",
    )


def _by_labels(
    result: Comparison, measured: Sequence[MethodResult], styles: dict[str, str]
) -> Placed:
    names = list(dict.fromkeys(each.method for each in measured))
    at = sorted(result.labels or [])
    means = {(each.method, each.labels): each.mean for each in measured}
    series = [
        Series(
            name,
            styles[name],
            points=[(x, mean) for x in at if (mean := means.get((name, x))) is not None],
        )
        for name in names
    ]
    metric = METRIC_NAMES[result.metric]
    axes = Axes(
        slug="labels",
        title=f"{metric} against labels",
        description="; ".join(
            f"{s.name} " + ", ".join(f"{numbers.fixed(y, 2, '%')} at {x:g}" for x, y in s.points)
            for s in series
        ),
        x_format=lambda value: f"{value:g}",
        y_format=numbers.short,
        height=260,
        x_ticks=at,
    )
    return Placed(
        title=f"{metric} against labels, %",
        note=f"{_better(result)} Means over seeds.",
        chart=line_chart(axes, series, dots=True),
        legend=[(styles[name], name) for name in names],
        header=["labels", *names],
        rows=[[f"{x:g}", *(numbers.fixed(means.get((name, x)), 2) for name in names)] for x in at],
    )


def _cost(result: Comparison, timed: Sequence[MethodResult], styles: dict[str, str]) -> Placed:
    # Of several numbers of labels the largest: the others would only repeat its seconds.
    last = max(each.labels or 0.0 for each in timed)
    shown = [
        each for each in timed
        if (each.labels or 0.0) == last and not each.method.endswith(PAIR_SUFFIX)
    ]  # fmt: skip
    spots = [
        Spot(each.method, styles[each.method], each.seconds or 0.0, each.mean or 0.0)
        for each in shown
    ]
    metric = METRIC_NAMES[result.metric]
    axes = Axes(
        slug="seconds",
        title=f"{metric} against seconds",
        description="; ".join(
            f"{spot.name} {numbers.fixed(spot.y, 2, '%')} in {numbers.duration(spot.x)}"
            for spot in spots
        ),
        x_format=numbers.duration,
        y_format=numbers.short,
        height=260,
    )
    at = f" At {last:g} labels." if result.labels else ""
    return Placed(
        title=f"{metric} against time, %",
        note=f"{_better(result)} Seconds of training and labeling, means over seeds.{at}",
        chart=spot_chart(axes, spots),
        header=["method", "seconds", metric.lower()],
        rows=[[s.name, numbers.fixed(s.x, 1), numbers.fixed(s.y, 2)] for s in spots],
    )


def _spans(result: Comparison) -> list[Placed]:
    """Every pair's difference, one chart for each number of labels."""
    figures = []
    for number, at in enumerate(result.labels or [None]):
        rows = [
            Span(
                f"{pair.a} − {pair.b}",
                _STYLES[answer(pair, result.metric)],
                pair.difference,
                pair.interval,
                _with_interval(pair.difference, pair.interval),
            )
            for pair in result.pairs
            if pair.labels == at and pair.difference is not None
        ]
        if not rows:
            continue
        axes = Axes(
            slug=f"differences{number}",
            title="Differences" + ("" if at is None else f" at {at:g} labels"),
            description="; ".join(f"{row.name} {row.text}" for row in rows),
            x_format=lambda x: numbers.fixed(x, 0 if x == round(x) else 1, signed=True),
            y_format=signed,
        )
        figures.append(
            Placed(
                title="Differences and their 95 % intervals, points"
                + ("" if at is None else f", {at:g} labels"),
                note="An interval that holds 0 cannot tell.",
                chart=span_chart(axes, rows, lower_is_better=result.metric == "error"),
                header=["pair", "difference (interval)"],
                rows=[[row.name, row.text] for row in rows],
                kind="spans",
            )
        )
    return figures


def _with_interval(value: float, ends: tuple[float, float] | None) -> str:
    interval = "" if ends is None else f" ({signed(ends[0])} to {signed(ends[1])})"
    return signed(value) + interval
