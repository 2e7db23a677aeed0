"""The SVG helpers: where they put things, and that they are well-formed and escaped."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from dmt.insight.charts import (
    Axes,
    Cell,
    Series,
    bar_chart,
    dot_chart,
    downsample,
    heat_table,
    interval_chart,
    line_chart,
    ticks,
)

EVIL = '"><img src=x onerror=alert(1)>'
AXES = Axes(slug="s", title="A title", description="A description", height=100)


def found(svg: str, tag: str, style: str) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(svg)
    return [e for e in root.iter(tag) if style in (e.get("class") or "").split()]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.25, 0.5, 0.75, 1]),
        (0, 46_000, [0, 20_000, 40_000]),
        (-7, 7, [-5, 0, 5]),
        (3, 3, [3]),
    ],
)
def test_ticks_are_round_and_inside(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_downsample_leaves_short_lines_alone() -> None:
    points = [(float(i), float(i * i)) for i in range(100)]
    assert downsample(points) == [(x, y, y, y) for x, y in points]


def test_downsample_keeps_mean_and_extremes() -> None:
    points = [(float(i), 1.0) for i in range(10_000)]
    points[4321] = (4321.0, 101.0)
    points[77] = (77.0, -50.0)
    stretches = downsample(points)
    assert len(stretches) == 130
    assert max(high for *_, high in stretches) == 101
    assert min(low for _, _, low, _ in stretches) == -50
    assert [x for x, *_ in stretches] == sorted(x for x, *_ in stretches)
    assert sum(mean for _, mean, _, _ in stretches) / 130 == pytest.approx(1.005, abs=0.002)


def test_line_chart_places_points_on_the_axes() -> None:
    axes = Axes(slug="s", title="t", description="d", height=100, y_from=0.0, y_to=10.0)
    svg = line_chart(axes, [Series("peer a", "a", points=[(0, 0), (5, 5), (10, 10)])], dots=True)
    (line,) = found(svg, "polyline", "a")
    assert line.get("points") == "0.0,100.0 500.0,50.0 1000.0,0.0"
    dots = [(dot.get("cx"), dot.get("cy")) for dot in found(svg, "circle", "a")]
    assert dots == [("0.00%", "100.0"), ("50.00%", "50.0"), ("100.00%", "0.0")]


def test_long_line_draws_at_most_400_points_and_a_band() -> None:
    points = [(float(i), float(i % 7)) for i in range(50_000)]
    svg = line_chart(AXES, [Series("a", "a", points=points)])
    drawn = [
        e.get("points") or "" for e in (*found(svg, "polyline", "a"), *found(svg, "polygon", "a"))
    ]
    assert len(drawn) == 2
    assert sum(len(path.split()) for path in drawn) <= 400


@pytest.mark.parametrize("points", [[], [(3.0, 2.0)], [(0.0, 1.0), (1.0, 1.0)]])
def test_line_chart_survives_nothing_one_point_and_no_range(
    points: list[tuple[float, float]],
) -> None:
    svg = line_chart(AXES, [Series("a", "a", points=points)], dots=True)
    assert "nan" not in svg
    assert len(found(svg, "circle", "a")) == len(points)


def test_marks_keep_their_line_and_drop_a_crowded_label() -> None:
    axes = Axes(slug="s", title="t", description="d", marks=[(0, "R0"), (1, "R1"), (50, "R2")])
    svg = line_chart(axes, [Series("a", "a", points=[(0, 0), (100, 1)])])
    assert len(found(svg, "line", "mark")) == 3
    assert [text.text for text in found(svg, "text", "mark")] == ["R0", "R2"]


def test_stacked_bars_stand_on_each_other() -> None:
    axes = Axes(slug="s", title="t", description="d", height=100, y_to=10.0)
    series = [Series("low", "good", values=[2]), Series("high", "bad", values=[3])]
    svg = bar_chart(axes, ["one"], series, stacked=True)
    (low,), (high,) = found(svg, "rect", "good"), found(svg, "rect", "bad")
    assert (low.get("y"), low.get("height")) == ("80.0", "20.0")
    assert (high.get("y"), high.get("height")) == ("50.0", "30.0")
    assert low.get("x") == high.get("x")


def test_grouped_bars_stand_side_by_side() -> None:
    axes = Axes(slug="s", title="t", description="d", height=100, y_to=10.0)
    series = [Series("low", "a", values=[2]), Series("high", "b", values=[3])]
    svg = bar_chart(axes, ["one"], series, stacked=False)
    (a,), (b,) = found(svg, "rect", "a"), found(svg, "rect", "b")
    assert b.get("y") == "70.0"
    left = float((a.get("x") or "").rstrip("%")) + float((a.get("width") or "").rstrip("%"))
    assert left == pytest.approx(float((b.get("x") or "").rstrip("%")))


@pytest.mark.parametrize("lower_is_better", [True, False])
def test_interval_lies_on_its_side_of_zero(lower_is_better: bool) -> None:
    svg = interval_chart(AXES, -4.0, -7.0, -1.0, lower_is_better=lower_is_better, style="good")
    (line,) = found(svg, "line", "range")
    ends = [float((line.get(name) or "").rstrip("%")) for name in ("x1", "x2")]
    assert 0 < ends[0] < ends[1] < 50
    (better,) = found(svg, "rect", "better")
    assert better.get("x") == ("0" if lower_is_better else "50%")


def test_dot_chart_has_a_row_for_each_model() -> None:
    rows = [Series("supervised", "ref", values=[12.0]), Series("peer a", "a", values=[8.0])]
    svg = dot_chart(AXES, rows, 12.0)
    assert [t.text for t in found(svg, "text", "name")] == ["supervised", "peer a"]
    (stem,) = found(svg, "line", "a")
    (dot,) = found(svg, "circle", "a")
    assert stem.get("x2") == dot.get("cx")


def test_titles_are_tied_to_the_drawing() -> None:
    root = ElementTree.fromstring(line_chart(AXES, []))
    ids = {e.get("id"): e.text for e in root.iter() if e.get("id")}
    assert [ids[name] for name in (root.get("aria-labelledby") or "").split()] == [
        "A title",
        "A description",
    ]
    assert root.get("role") == "img"


def test_everything_from_outside_is_escaped() -> None:
    axes = Axes(slug="s", title=EVIL, description=EVIL, marks=[(0, EVIL)], y_format=lambda _: EVIL)
    line = Series(EVIL, "a", points=[(0, 0), (1, 1)], values=[1.0])
    cells = [Cell(EVIL, 0.5, "a", EVIL), Cell(EVIL, hint=EVIL)]
    for markup in (
        line_chart(axes, [line], dots=True),
        bar_chart(axes, [EVIL], [line], stacked=True),
        dot_chart(axes, [line], 0.0),
        heat_table(EVIL, EVIL, [EVIL, EVIL], [(EVIL, cells)]),
    ):
        assert "<img" not in markup
        assert '"">' not in markup
        root = ElementTree.fromstring(markup)
        assert not list(root.iter("img"))


def test_heat_strength_is_clamped() -> None:
    html = heat_table(
        "c", "x", ["k"], [("r", [Cell("1", 7.0, "a")]), ("s", [Cell("2", -1.0, "a")])]
    )
    assert "--v:1.00" in html
    assert "--v:0.00" in html


def test_no_tick_lies_outside_the_drawing() -> None:
    axes = Axes(slug="x", title="t", description="d", x_ticks=[0, 1, 2, 3])
    svg = line_chart(axes, [Series("a", "a", [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)])])
    assert '<text class="x" x="100.00%"' in svg
    assert "150.00%" not in svg
