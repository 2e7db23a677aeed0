"""Hand-written inline SVG charts and heat-map tables as strings of HTML. No reading of files.

Text in an SVG keeps its size at every width: positions across are percentages, heights are pixels,
and the lines live in a nested, stretched `<svg>` whose strokes do not scale. Everything that comes
from outside goes through `html.escape`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

Point = tuple[float, float]
Stretch = tuple[float, float, float, float]
Format = Callable[[float], str]

_SPAN = 1000  # width of the stretched drawing, in its own units
_STRETCHES = 130  # of a long line: a point of the mean and two of the band, so < 400 in all
_ROW = 34  # height of a row of `dots`, px


@dataclass(frozen=True)
class Series:
    """One line, or one colour of bars. `style` is a CSS class: a, b, c, ref, good, bad, rest."""

    name: str
    style: str
    points: Sequence[Point] = ()
    values: Sequence[float] = ()


@dataclass(frozen=True)
class Axes:
    """What a chart says about itself; `slug` makes its ids unique on the page."""

    slug: str
    title: str
    description: str
    x_format: Format = str
    y_format: Format = str
    height: int = 170
    x_from: float | None = None
    x_to: float | None = None
    y_from: float | None = None
    y_to: float | None = None
    x_ticks: Sequence[float] | None = None
    marks: Sequence[tuple[float, str]] = field(default=())
    """Vertical lines: where, and what they say."""


@dataclass(frozen=True)
class Cell:
    """A cell of a heat map: text, strength of its colour (0-1), CSS class, tooltip."""

    text: str
    strength: float = 0.0
    style: str = ""
    hint: str = ""


def downsample(points: Sequence[Point], limit: int = _STRETCHES) -> list[Stretch]:
    """At most `limit` stretches (x, mean, lowest, highest) of about equally many points each."""
    num = min(limit, len(points))
    stretches = []
    for i in range(num):
        part = points[i * len(points) // num : (i + 1) * len(points) // num]
        ys = [y for _, y in part]
        middle = (part[0][0] + part[-1][0]) / 2
        stretches.append((middle, sum(ys) / len(ys), min(ys), max(ys)))
    return stretches


def ticks(low: float, high: float, num: int = 4) -> list[float]:
    """About `num` round numbers within [low, high]."""
    if not high > low:
        return [low]
    raw = (high - low) / num
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def line_chart(axes: Axes, series: Sequence[Series], *, dots: bool = False) -> str:
    """Lines over a common axis.

    Args:
        axes: titles, formats, limits. Without limits the axis holds all points and some air.
        series: each with `points`, ordered by x.
        dots: mark every point (for few points).

    Returns:
        An `<svg>`.
    """
    drawn = [s for s in series if s.points]
    xs = [x for s in drawn for x, _ in s.points]
    ys = [y for s in drawn for _, y in s.points]
    x_low = axes.x_from if axes.x_from is not None else min(xs, default=0.0)
    x_high = axes.x_to if axes.x_to is not None else max(xs, default=1.0)
    y_low, y_high = limits(ys, axes.y_from, axes.y_to)

    def across(x: float) -> float:
        return 50.0 if x_high == x_low else 100 * (x - x_low) / (x_high - x_low)

    def down(y: float) -> float:
        return axes.height * (1 - (y - y_low) / (y_high - y_low))

    parts = grid_lines(axes, down, ticks(y_low, y_high))
    marks = [(across(x), text) for x, text in axes.marks if x_low <= x <= x_high]
    parts += _marks(marks, axes.height)
    x_ticks = ticks(x_low, x_high) if axes.x_ticks is None else axes.x_ticks
    inside = [x for x in x_ticks if x_low <= x <= x_high]
    parts += x_labels([(across(x), axes.x_format(x)) for x in inside], axes.height)
    parts.append(
        f'<svg viewBox="0 0 {_SPAN} {axes.height}" preserveAspectRatio="none" width="100%" '
        f'height="{axes.height}" class="lines" data-x0="{x_low:.6g}" data-x1="{x_high:.6g}" '
        f'data-y0="{y_low:.6g}" data-y1="{y_high:.6g}">'
    )
    for s in drawn:
        parts += _line(s, lambda x, y: f"{across(x) * _SPAN / 100:.1f},{down(y):.1f}")
    parts.append("</svg>")
    if dots:
        parts += [
            f'<circle class="{s.style}" cx="{across(x):.2f}%" cy="{down(y):.1f}" r="4"/>'
            for s in drawn
            if s.style != "ref"
            for x, y in s.points
        ]
    return svg(axes, axes.height + 24, parts)


def bar_chart(
    axes: Axes, categories: Sequence[str], series: Sequence[Series], *, stacked: bool
) -> str:
    """Bars by category, the series' `values` stacked or side by side; the axis starts at 0."""
    if stacked:
        tops = [sum(s.values[i] for s in series) for i in range(len(categories))]
    else:
        tops = [value for s in series for value in s.values]
    y_high = axes.y_to if axes.y_to is not None else 1.08 * max([*tops, 0.0]) or 1.0
    slot = 100 / max(1, len(categories))
    width = 0.62 * slot / (1 if stacked else max(1, len(series)))
    parts = grid_lines(axes, lambda y: axes.height * (1 - y / y_high), ticks(0, y_high))
    for i, name in enumerate(categories):
        parts += x_labels([((i + 0.5) * slot, name)], axes.height)
        base = 0.0
        for j, s in enumerate(series):
            tall = axes.height * s.values[i] / y_high
            left = (i + 0.19) * slot + (0 if stacked else j * width)
            bottom = axes.height - (base if stacked else 0.0)
            parts.append(
                f'<rect class="{s.style}" x="{left:.2f}%" width="{width:.2f}%" '
                f'y="{bottom - tall:.1f}" height="{max(tall, 0):.1f}">'
                f"<title>{escape(f'{name}: {s.name} {axes.y_format(s.values[i])}')}</title></rect>"
            )
            base += tall
    return svg(axes, axes.height + 24, parts)


def interval_chart(
    axes: Axes, value: float, low: float, high: float, *, lower_is_better: bool, style: str
) -> str:
    """A difference and its interval against 0; the better side is tinted and named."""
    reach = 1.25 * max(abs(low), abs(high), abs(value), 0.5)

    def across(x: float) -> float:
        return 50 + 50 * x / reach

    middle, bottom = 40, 66
    left, right = ("better", "worse") if lower_is_better else ("worse", "better")
    parts = [
        f'<rect class="{left}" x="0" y="0" width="50%" height="{bottom}"/>',
        f'<rect class="{right}" x="50%" y="0" width="50%" height="{bottom}"/>',
        f'<text class="side" x="12" y="18">{left}</text>',
        f'<text class="side" x="100%" dx="-12" y="18" text-anchor="end">{right}</text>',
        f'<line class="zero" x1="50%" x2="50%" y1="0" y2="{bottom}"/>',
        f'<line class="range {style}" x1="{across(low):.2f}%" x2="{across(high):.2f}%" '
        f'y1="{middle}" y2="{middle}"/>',
        f'<circle class="{style}" cx="{across(value):.2f}%" cy="{middle}" r="7"/>',
    ]
    for end in (low, high):
        parts.append(
            f'<line class="cap {style}" x1="{across(end):.2f}%" x2="{across(end):.2f}%" '
            f'y1="{middle - 7}" y2="{middle + 7}"/>'
        )
    parts += x_labels([(across(x), axes.x_format(x)) for x in ticks(-reach, reach)], bottom)
    return svg(axes, bottom + 24, parts)


def dot_chart(axes: Axes, rows: Sequence[Series], reference: float | None) -> str:
    """One dot a row (`values[0]`) on a common axis, with a stem from the reference value."""
    found = [row.values[0] for row in rows]
    low, high = limits(found, axes.y_from, axes.y_to)

    def across(x: float) -> float:
        return 100 * (x - low) / (high - low)

    height = _ROW * len(rows)
    parts = x_labels([(across(x), axes.x_format(x)) for x in ticks(low, high)], height)
    parts += [
        f'<line class="grid" x1="{across(x):.2f}%" x2="{across(x):.2f}%" y1="0" y2="{height}"/>'
        for x in ticks(low, high)
    ]
    if reference is not None:
        x = f"{across(reference):.2f}%"
        parts.append(f'<line class="zero" x1="{x}" x2="{x}" y1="0" y2="{height}"/>')
    for i, row in enumerate(rows):
        y, at = (i + 0.5) * _ROW, across(row.values[0])
        parts.append(f'<text class="name" x="-12" y="{y + 4:.0f}">{escape(row.name)}</text>')
        if reference is not None:
            parts.append(
                f'<line class="stem {row.style}" x1="{across(reference):.2f}%" x2="{at:.2f}%" '
                f'y1="{y:.0f}" y2="{y:.0f}"/>'
            )
        parts.append(f'<circle class="{row.style}" cx="{at:.2f}%" cy="{y:.0f}" r="6"/>')
        parts.append(
            f'<text class="value" x="100%" dx="12" y="{y + 4:.0f}">'
            f"{escape(axes.y_format(row.values[0]))}</text>"
        )
    return svg(axes, height + 24, parts)


def heat_table(
    caption: str,
    corner: str,
    columns: Sequence[str],
    rows: Sequence[tuple[str, Sequence[Cell]]],
    *,
    upright: bool = False,
) -> str:
    """A table whose cells carry a colour by strength; `upright` turns the column names."""
    head = "".join(f'<th scope="col"><span>{escape(name)}</span></th>' for name in columns)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(map(_cell, cells))}</tr>'
        for name, cells in rows
    )
    kind = "heat upright" if upright else "heat"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<table class="{kind}"><caption>{escape(caption)}</caption>'
        f'<thead><tr><th scope="col" class="corner">{escape(corner)}</th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _line(series: Series, place: Callable[[float, float], str]) -> list[str]:
    """A line; a long one as the mean of each stretch before a band from lowest to highest."""
    stretches = downsample(series.points)
    parts = []
    if len(stretches) < len(series.points):
        band = [place(x, high) for x, _, _, high in stretches]
        band += [place(x, low) for x, _, low, _ in reversed(stretches)]
        parts.append(f'<polygon class="{series.style}" points="{" ".join(band)}"/>')
    line = " ".join(place(x, mean) for x, mean, _, _ in stretches)
    name = escape(series.name)
    parts.append(f'<polyline class="{series.style}" data-name="{name}" points="{line}"/>')
    return parts


def _cell(cell: Cell) -> str:
    hint = f' title="{escape(cell.hint)}"' if cell.hint else ""
    if not cell.style:
        return f"<td{hint}>{escape(cell.text)}</td>"
    strength = min(max(cell.strength, 0.0), 1.0)
    return f'<td class="{cell.style}" style="--v:{strength:.2f}"{hint}>{escape(cell.text)}</td>'


def limits(values: Sequence[float], low: float | None, high: float | None) -> Point:
    """Axis limits: those given, else the values' with 8 % of air, never an empty range."""
    bottom, top = (min(values), max(values)) if values else (0.0, 1.0)
    air = 0.08 * (top - bottom) or 0.08 * abs(top) or 1.0
    lower = bottom - air if low is None else low
    upper = top + air if high is None else high
    return (lower, upper) if upper > lower else (lower, lower + 1.0)


def grid_lines(axes: Axes, down: Callable[[float], float], at: Sequence[float]) -> list[str]:
    """Horizontal lines at the values `at`, each with its value; `down` gives their pixels."""
    parts = []
    for value in at:
        y = down(value)
        parts.append(f'<line class="grid" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="y" x="-8" y="{y + 4:.1f}">{escape(axes.y_format(value))}</text>'
        )
    return parts


def _marks(marks: Sequence[tuple[float, str]], height: int) -> list[str]:
    """Vertical lines; a label is left out where it would run into the one before."""
    parts, free_from = [], 0.0
    for x, text in marks:
        parts.append(f'<line class="mark" x1="{x:.2f}%" x2="{x:.2f}%" y1="-14" y2="{height}"/>')
        if x >= free_from:
            parts.append(f'<text class="mark" x="{x:.2f}%" dx="4" y="-5">{escape(text)}</text>')
            free_from = x + 4.0 + 2.2 * len(text)
    return parts


def x_labels(labels: Sequence[tuple[float, str]], height: float) -> list[str]:
    """Texts below a drawing of `height` pixels, each at so many percent across."""
    return [
        f'<text class="x" x="{x:.2f}%" y="{height + 18:.0f}">{escape(text)}</text>'
        for x, text in labels
        if text
    ]


def svg(axes: Axes, height: int, parts: Sequence[str]) -> str:
    """The drawing with the name and the description of its axes."""
    name, about = f"{axes.slug}-title", f"{axes.slug}-about"
    return (
        f'<svg class="chart" role="img" aria-labelledby="{name} {about}" width="100%" '
        f'height="{height}"><title id="{name}">{escape(axes.title)}</title>'
        f'<desc id="{about}">{escape(axes.description)}</desc>{"".join(parts)}</svg>'
    )
