"""The plot of a leaderboard: every dated result, and over the years the best that was claimed and
the best that was measured, each as a line of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import pairwise

from dmt.insight import numbers
from dmt.insight.charts import Axes, grid_lines, limits, svg, ticks, x_labels

_HEIGHT = 260
_MOST_DOTS = 300  # besides the records
_WIDTH = 960  # px that labels are laid out for; narrow screens hide them (the list below names all)
_SCALE = _WIDTH / 100
_LETTER = 6.6  # px, about, of a label

Place = tuple[float, float]
"""% across, px down."""
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Dot:
    """One result: when (years), how good, whose, and whether this board has checked it."""

    year: float
    value: float
    model: str
    shown: str
    is_measured: bool
    is_record: bool = False

    @property
    def kind(self) -> str:
        """`measured` or `claimed`."""
        return "measured" if self.is_measured else "claimed"


def mark_records(dots: Sequence[Dot], *, lower_is_better: bool) -> list[Dot]:
    """The dots by time, each told whether it was better than all of its kind before it."""
    sign = 1 if lower_is_better else -1
    ordered = sorted(dots, key=lambda dot: (dot.year, sign * dot.value))
    best = {True: math.inf, False: math.inf}
    marked = []
    for dot in ordered:
        is_record = sign * dot.value < best[dot.is_measured]
        best[dot.is_measured] = min(best[dot.is_measured], sign * dot.value)
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
    # More air than elsewhere: names stand above and below the outermost dots.
    low, high = limits([dot.value for dot in drawn], None, None)
    bottom, top = low - 0.1 * (high - low), high + 0.06 * (high - low)

    def across(year: float) -> float:
        return 100 * (year - start) / (end - start)

    def down(value: float) -> float:
        return _HEIGHT * (1 - (value - bottom) / (top - bottom))

    best = "; ".join(
        f"{math.floor(dot.year)}: {dot.model}, {dot.shown}, {dot.kind}" for dot in records
    )
    axes = Axes(
        slug=slug,
        title=f"Best {metric} over time",
        description=f"{len(dots)} results. The best so far, by year: {best}",
        y_format=numbers.short,
        height=_HEIGHT,
    )
    parts = grid_lines(axes, down, ticks(bottom, top))
    parts += x_labels([(across(y), str(y)) for y in _whole_years(start, end)], _HEIGHT)
    places = {dot: (across(dot.year), down(dot.value)) for dot in drawn}
    lines = [
        _steps([places[dot] for dot in records if dot.kind == kind])
        for kind in ("claimed", "measured")
    ]
    parts.append(
        f'<svg viewBox="0 0 100 {_HEIGHT}" preserveAspectRatio="none" width="100%" '
        f'height="{_HEIGHT}" class="steps">'
    )
    for line, kind in zip(lines, ("claimed", "measured"), strict=True):
        points = " ".join(f"{x:.2f},{y:.1f}" for x, y in line)
        parts.append(f'<polyline class="{kind}" points="{points}"/>' if line else "")
    parts.append("</svg>")
    parts += [_mark(dot, *place) for dot, place in places.items()]
    parts += _labels({dot: places[dot] for dot in records}, list(places.values()), lines)
    return svg(axes, _HEIGHT + 24, parts)


def _whole_years(start: float, end: float) -> list[int]:
    step = max(1, math.ceil((end - start) / 6))
    return list(range(math.ceil(start), math.floor(end) + 1, step))


def _steps(places: Sequence[Place]) -> list[Place]:
    """The corners of the line through records, which stays at the last one."""
    corners: list[Place] = []
    for x, y in places:
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    return [*corners, (100.0, corners[-1][1])] if corners else []


def _mark(dot: Dot, x: float, y: float) -> str:
    """Measured: a filled diamond. Claimed: a ring. Records are larger."""
    kind = dot.kind
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
    records: Mapping[Dot, Place], dots: Sequence[Place], lines: Sequence[Sequence[Place]]
) -> list[str]:
    """Names beside the records, the newest first; one that would cover anything is left out."""
    taken: list[Box] = [(x * _SCALE - 6, y - 6, x * _SCALE + 6, y + 6) for x, y in dots]
    for line in lines:
        taken += [
            (a * _SCALE - 2, min(b, d) - 2, c * _SCALE + 2, max(b, d) + 2)
            for (a, b), (c, d) in pairwise(line)
        ]
    parts = []
    for dot, (x, y) in reversed(list(records.items())):
        text = f"{dot.model} {dot.shown}"
        if len(text) > 40:
            text = f"{text[:38]}…"
        for dx, dy, anchor in ((10, -9, "start"), (-10, -9, "end"), (10, 19, "start"),
                               (-10, 19, "end")):  # fmt: skip
            left = x * _SCALE + dx - (len(text) * _LETTER if anchor == "end" else 0)
            box = (left, y + dy - 11, left + len(text) * _LETTER, y + dy + 3)
            is_inside = min(box) >= 0 and box[2] <= _WIDTH and box[3] <= _HEIGHT
            if is_inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                parts.append(
                    f'<text class="label" x="{x:.2f}%" dx="{dx}" y="{y + dy:.1f}" '
                    f'text-anchor="{anchor}">{escape(text)}</text>'
                )
                break
    return parts


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
