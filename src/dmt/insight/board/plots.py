"""The plot of a leaderboard: every dated result, and the best so far as a line over the years."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html import escape

from dmt.insight import numbers
from dmt.insight.charts import Axes, grid_lines, limits, svg, ticks, x_labels

_HEIGHT = 260
_MOST_DOTS = 300  # besides the records
_WIDTH = 960  # px that labels are laid out for; narrow screens hide them (the list below names all)
_LETTER = 6.6  # px, about, of a label
_SPAN = 1000  # width of the stretched drawing, in its own units


@dataclass(frozen=True)
class Dot:
    """One result: when (years), how good, whose, and whether this board has checked it."""

    year: float
    value: float
    model: str
    shown: str
    is_measured: bool
    is_record: bool = False


def mark_records(dots: Sequence[Dot], *, lower_is_better: bool) -> list[Dot]:
    """The dots by time, each told whether it was better than all before it."""
    sign = 1 if lower_is_better else -1
    ordered = sorted(dots, key=lambda dot: (dot.year, sign * dot.value))
    best = math.inf
    marked = []
    for dot in ordered:
        is_record = sign * dot.value < best
        best = min(best, sign * dot.value)
        marked.append(replace(dot, is_record=is_record))
    return marked


def record_chart(slug: str, metric: str, dots: Sequence[Dot]) -> str:
    """The drawing.

    Args:
        slug: makes its ids unique on the page.
        metric: what is measured.
        dots: from `mark_records`, at least one.
    """
    records = [dot for dot in dots if dot.is_record]
    others = [dot for dot in dots if not dot.is_record]
    step = max(1, math.ceil(len(others) / _MOST_DOTS))
    drawn = [*others[::step], *records]
    years = [dot.year for dot in dots]
    air = max(0.35, 0.05 * (max(years) - min(years)))
    start, end = min(years) - air, max(years) + air
    bottom, top = limits([dot.value for dot in drawn], None, None)

    def across(year: float) -> float:
        return 100 * (year - start) / (end - start)

    def down(value: float) -> float:
        return _HEIGHT * (1 - (value - bottom) / (top - bottom))

    best = "; ".join(f"{math.floor(dot.year)}: {dot.model}, {dot.shown}" for dot in records)
    axes = Axes(
        slug=slug,
        title=f"Best {metric} over time",
        description=f"{len(dots)} results. The best so far, by year: {best}",
        y_format=numbers.short,
        height=_HEIGHT,
    )
    parts = grid_lines(axes, down, ticks(bottom, top))
    parts += x_labels([(across(y), str(y)) for y in _whole_years(start, end)], _HEIGHT)
    parts.append(_steps(records, across, down))
    places = [(across(dot.year), down(dot.value)) for dot in drawn]
    parts += [_mark(dot, *place) for dot, place in zip(drawn, places, strict=True)]
    parts += _labels(records, places[len(drawn) - len(records) :], places)
    return svg(axes, _HEIGHT + 24, parts)


def _whole_years(start: float, end: float) -> list[int]:
    step = max(1, math.ceil((end - start) / 6))
    return list(range(math.ceil(start), math.floor(end) + 1, step))


def _steps(
    records: Sequence[Dot], across: Callable[[float], float], down: Callable[[float], float]
) -> str:
    points = []
    for i, dot in enumerate(records):
        x, y = _SPAN * across(dot.year) / 100, down(dot.value)
        if i:
            points.append(f"{x:.1f},{down(records[i - 1].value):.1f}")
        points.append(f"{x:.1f},{y:.1f}")
    points.append(f"{_SPAN},{down(records[-1].value):.1f}")
    return (
        f'<svg viewBox="0 0 {_SPAN} {_HEIGHT}" preserveAspectRatio="none" width="100%" '
        f'height="{_HEIGHT}" class="steps"><polyline class="a" points="{" ".join(points)}"/></svg>'
    )


def _mark(dot: Dot, x: float, y: float) -> str:
    """Measured: a filled diamond. Claimed: a ring. Records are larger."""
    kind = "measured" if dot.is_measured else "claimed"
    size = "record" if dot.is_record else "other"
    hint = f"<title>{escape(f'{dot.model}: {dot.shown}, {kind}')}</title>"
    if dot.is_measured:
        r = 7 if dot.is_record else 5.5
        return (
            f'<svg x="{x:.2f}%" y="{y:.1f}" overflow="visible" class="dot {kind} {size}">'
            f'<path d="M0-{r}L{r} 0L0 {r}L-{r} 0z"/>{hint}</svg>'
        )
    r = 5 if dot.is_record else 3.5
    return f'<circle class="dot {kind} {size}" cx="{x:.2f}%" cy="{y:.1f}" r="{r}">{hint}</circle>'


def _labels(
    records: Sequence[Dot],
    places: Sequence[tuple[float, float]],
    all_places: Sequence[tuple[float, float]],
) -> list[str]:
    """Names beside the records, the newest first; one that would cover another is left out."""
    taken: list[tuple[float, float, float, float]] = [
        (x * _WIDTH / 100 - 6, y - 6, x * _WIDTH / 100 + 6, y + 6) for x, y in all_places
    ]
    parts = []
    for dot, (x, y) in reversed(list(zip(records, places, strict=True))):
        text = f"{dot.model} {dot.shown}"
        if len(text) > 40:
            text = f"{text[:38]}…"
        wide, at = len(text) * _LETTER, x * _WIDTH / 100
        for dx, dy, anchor in ((10, -9, "start"), (-10, -9, "end"), (10, 19, "start"),
                               (-10, 19, "end")):  # fmt: skip
            left = at + dx if anchor == "start" else at + dx - wide
            box = (left, y + dy - 11, left + wide, y + dy + 3)
            inside = 0 <= box[0] and box[2] <= _WIDTH and 0 <= box[1] and box[3] <= _HEIGHT
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                parts.append(
                    f'<text class="label" x="{x:.2f}%" dx="{dx}" y="{y + dy:.1f}" '
                    f'text-anchor="{anchor}">{escape(text)}</text>'
                )
                break
    return parts


def _overlap(
    a: tuple[float, float, float, float], b: tuple[float, float, float, float]
) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
