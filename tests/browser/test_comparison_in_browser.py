"""The page of a comparison in a real browser: no errors, nothing sticks out, legible."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_report import CONTRAST, chromium

from dmt.insight.comparison_page import render_comparison

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "insight"))
from sample_comparison import EVIL, sample_comparison

__all__ = ["chromium"]
pytestmark = pytest.mark.browser

RECORDS = {
    "one": sample_comparison(),
    "many": sample_comparison(others=9),
    "swept": sample_comparison(is_swept=True, others=2),
    "evil": sample_comparison(dataset=EVIL),
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    for name, record in RECORDS.items():
        (folder / f"{name}.html").write_text(render_comparison(record, name), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in RECORDS}


@pytest.fixture
def visit(chromium: Any, pages: dict[str, Path]) -> Iterator[Any]:
    """Open a page; afterwards: no console message, no error, no dialog, no second request."""
    contexts, faults = [], []

    def open_page(name: str, width: int = 1200, scheme: str = "light") -> Any:
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        contexts.append(context)
        page, url = context.new_page(), pages[name].as_uri()
        page.on("console", lambda message: faults.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (faults.append("dialog"), dialog.dismiss()))
        page.on(
            "request",
            lambda request: (
                faults.append(f"request: {request.url}")
                if request.url not in (url, "data:,")
                else None
            ),
        )
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


@pytest.mark.parametrize("name", list(RECORDS))
@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_of_a_comparison_sticks_out(visit: Any, name: str, width: int) -> None:
    page = visit(name, width)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    outside = page.evaluate(
        """width => [...document.querySelectorAll("svg.chart text")].filter(text => {
            const box = text.getBoundingClientRect();
            return box.left < 0 || box.right > width;
        }).map(text => text.textContent)""",
        width,
    )
    assert outside == []
    assert page.locator("img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_of_a_comparison_stands_out(visit: Any, scheme: str) -> None:
    page = visit("swept", scheme=scheme)
    page.evaluate('document.querySelectorAll("details").forEach(d => { d.open = true; })')
    assert page.evaluate(CONTRAST) == []


def test_names_of_dots_do_not_cover_each_other(visit: Any) -> None:
    page = visit("many", 390)
    boxes = page.evaluate(
        """[...document.querySelectorAll("svg[aria-labelledby^=seconds] text.of")].map(text => {
            const box = text.getBoundingClientRect();
            return [box.left, box.top, box.right, box.bottom];
        })"""
    )
    assert len(boxes) == len(RECORDS["many"].asked.methods)
    for i, (left, top, right, bottom) in enumerate(boxes):
        for other in boxes[:i]:
            apart = right <= other[0] or other[2] <= left
            # Lines may touch by a pixel: letters are lower than their boxes.
            assert apart or bottom <= other[1] + 2 or other[3] <= top + 2
