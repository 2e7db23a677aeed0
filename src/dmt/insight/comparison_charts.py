"""The charts of a comparison as inline SVG: spreads, intervals against 0, metric against cost.

As in `charts`: positions across are percentages, heights are pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from dmt.insight.charts import Axes, grid_lines, limits, svg, ticks, x_labels

_ROW = 34
_TALL_ROW = 48  # a name above its interval, so that long names fit a phone
_APART = 15  # least distance of two names, px


@dataclass(frozen=True)
class Spread:
    """A method's row: a dot for every seed, and their mean ± sd."""

    name: str
    style: str
    values: Sequence[float]
    mean: float
    sd: float | None


@dataclass(frozen=True)
class Span:
    """A difference with its interval, None where there is none; `text` says both."""

    name: str
    style: str
    value: float
    ends: tuple[float, float] | None
    text: str


@dataclass(frozen=True)
class Spot:
    """A named dot."""

    name: str
    style: str
    x: float
    y: float


def spread_chart(axes: Axes, rows: Sequence[Spread], reference: float | None) -> str:
    """One row a method on a common axis, with a line at the reference value."""
    ends = [row.mean + sign * (row.sd or 0.0) for row in rows for sign in (-1, 1)]
    low, high = limits([*ends, *(v for row in rows for v in row.values)], axes.y_from, axes.y_to)

    def across(x: float) -> str:
        return f"{100 * (x - low) / (high - low):.2f}%"

    height = _ROW * len(rows)
    at = ticks(low, high)
    parts = x_labels([(100 * (x - low) / (high - low), axes.x_format(x)) for x in at], height)
    parts += [
        f'<line class="grid" x1="{across(x)}" x2="{across(x)}" y1="0" y2="{height}"/>' for x in at
    ]
    if reference is not None:
        x = across(reference)
        parts.append(f'<line class="zero" x1="{x}" x2="{x}" y1="0" y2="{height}"/>')
    for i, row in enumerate(rows):
        y = round((i + 0.5) * _ROW)
        parts.append(f'<text class="name" x="-12" y="{y + 4}">{escape(row.name)}</text>')
        if row.sd is not None:
            parts.append(
                f'<line class="stem {row.style}" x1="{across(row.mean - row.sd)}" '
                f'x2="{across(row.mean + row.sd)}" y1="{y}" y2="{y}"/>'
            )
            parts += [
                f'<circle class="faint {row.style}" cx="{across(value)}" cy="{y}" r="3"/>'
                for value in row.values
            ]
        parts.append(f'<circle class="{row.style}" cx="{across(row.mean)}" cy="{y}" r="6"/>')
        parts.append(
            f'<text class="value" x="100%" dx="12" y="{y + 4}">'
            f"{escape(axes.y_format(row.mean))}</text>"
        )
    return svg(axes, height + 24, parts)


def span_chart(axes: Axes, rows: Sequence[Span], *, lower_is_better: bool) -> str:
    """One row a difference: its interval against 0, its name and value above it."""
    ends = [abs(end) for row in rows for end in (row.ends or (row.value, row.value))]
    reach = 1.12 * max([*ends, 0.5])

    def across(x: float) -> float:
        return 50 + 50 * x / reach

    height = 30 + _TALL_ROW * len(rows)
    left, right = ("better", "worse") if lower_is_better else ("worse", "better")
    parts = [
        f'<rect class="{left}" x="0" y="0" width="50%" height="{height}"/>',
        f'<rect class="{right}" x="50%" y="0" width="50%" height="{height}"/>',
        f'<text class="side" x="10" y="18">{left}</text>',
        f'<text class="side" x="100%" dx="-10" y="18" text-anchor="end">{right}</text>',
        f'<line class="zero" x1="50%" x2="50%" y1="0" y2="{height}"/>',
    ]
    for i, row in enumerate(rows):
        top = 30 + i * _TALL_ROW
        y = top + 32
        parts.append(f'<text class="of" x="10" y="{top + 16}">{escape(row.name)}</text>')
        parts.append(
            f'<text class="of" x="100%" dx="-10" y="{top + 16}" text-anchor="end">'
            f"{escape(axes.y_format(row.value))}</text>"
        )
        if row.ends is not None:
            low, high = (f"{across(end):.2f}%" for end in row.ends)
            parts.append(
                f'<line class="range {row.style}" x1="{low}" x2="{high}" y1="{y}" y2="{y}"/>'
            )
        parts.append(
            f'<circle class="{row.style}" cx="{across(row.value):.2f}%" cy="{y}" r="6">'
            f"<title>{escape(f'{row.name}: {row.text}')}</title></circle>"
        )
    parts += x_labels([(across(x), axes.x_format(x)) for x in ticks(-reach, reach)], height)
    return svg(axes, height + 24, parts)


def spot_chart(axes: Axes, spots: Sequence[Spot]) -> str:
    """Named dots over two axes; the one across begins at 0."""
    x_high = 1.08 * max((spot.x for spot in spots), default=1.0) or 1.0
    y_low, y_high = limits([spot.y for spot in spots], axes.y_from, axes.y_to)

    def across(x: float) -> float:
        return 100 * x / x_high

    def down(y: float) -> float:
        return axes.height * (1 - (y - y_low) / (y_high - y_low))

    parts = grid_lines(axes, down, ticks(y_low, y_high))
    parts += x_labels([(across(x), axes.x_format(x)) for x in ticks(0, x_high)], axes.height)
    free_from = -float(_APART)
    for spot in sorted(spots, key=lambda each: -each.y):
        x, y = across(spot.x), down(spot.y)
        at = max(y + 4, free_from + _APART)  # names go down until they are apart
        free_from = at
        side, shift = ("end", -11) if x > 50 else ("start", 11)
        parts.append(
            f'<circle class="{spot.style}" cx="{x:.2f}%" cy="{y:.1f}" r="6"/>'
            f'<text class="of" x="{x:.2f}%" dx="{shift}" y="{at:.1f}" text-anchor="{side}">'
            f"{escape(spot.name)}</text>"
        )
    return svg(axes, axes.height + 24, parts)
