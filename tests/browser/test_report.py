"""The report in a real browser: no errors, no requests, no injected nodes, legible text."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from dmt.insight.report import write_report
from dmt.insight.side_by_side import write_reports

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "insight"))
from sample_examples import write_sample_examples
from sample_run import DIGITS, write_sample_run
from sample_segmentation import CLASSES, write_sample_segmentation

pytestmark = pytest.mark.browser
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

EVIL = '"><img src=x onerror=alert(1)>'
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    names = ("chromium", "chromium-browser", "google-chrome")
    system = next((path for name in names if (path := shutil.which(name))), None)
    with playwright.sync_playwright() as driver:
        path = system or driver.chromium.executable_path
        if not os.path.exists(path):
            pytest.skip("no chromium on this machine")
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("runs")
    evil = write_sample_run(base / "evil <b>&", classes=(EVIL, "</style>"), dataset=EVIL)
    scenes = write_sample_segmentation(base / "scenes")
    runs = {
        "helped": write_sample_examples(write_sample_run(base / "helped"), DIGITS),
        "hurt": write_sample_run(base / "hurt", verdict="hurt", num_lines=400),
        "half": write_sample_run(base / "half", finished=False),
        "scenes": write_sample_examples(scenes, CLASSES, is_dense=True),
        "half-scenes": write_sample_segmentation(base / "half-scenes", finished=False),
        "evil": write_sample_examples(evil, (EVIL, "</style>"), name=EVIL + "{}"),
    }
    pages = {name: write_report(run) for name, run in runs.items()}
    some = [runs[name] for name in ("helped", "hurt", "half", "evil")]
    side = write_reports(some, base / "side.html").page
    assert side is not None
    return pages | {"side": side}


@pytest.fixture
def visit(chromium: Any, reports: dict[str, Path]) -> Iterator[Any]:
    """Open a report; afterwards: no console message, no error, no dialog, no second request."""
    contexts, faults = [], []

    def open_page(name: str, width: int = 1200, scheme: str = "light") -> Any:
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        contexts.append(context)
        page = context.new_page()
        url = reports[name].as_uri()
        page.on("console", lambda message: faults.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (faults.append("dialog"), dialog.dismiss()))
        page.on(
            "request",
            lambda request: (
                faults.append(f"request: {request.url}")
                if request.url != url and not request.url.startswith("data:")
                else None
            ),
        )
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


@pytest.mark.parametrize(
    "name", ["helped", "hurt", "half", "evil", "scenes", "half-scenes", "side"]
)
@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_sticks_out(visit: Any, name: str, width: int) -> None:
    page = visit(name, width)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(
        """width => [...document.querySelectorAll("svg.chart text")].every(text => {
            const box = text.getBoundingClientRect();
            return box.left >= 0 && box.right <= width;
        })""",
        width,
    )


def test_hostile_names_add_no_node(visit: Any) -> None:
    page = visit("evil")
    assert page.locator("b b, h1 *, figcaption img, img[onerror]").count() == 0
    assert page.locator("img:not([src^='data:image/webp;base64,'])").count() == 0
    assert page.locator("img").count() == 20
    assert page.locator("img").first.get_attribute("alt") == EVIL + "0"
    assert page.locator("style").count() == 1
    assert page.locator("script").count() == 1
    assert page.get_by_text(EVIL).count() > 0
    assert page.title() == "Helped: evil <b>&"
    side = visit("side")
    assert side.locator("img, b b, thead b, h1 *").count() == 0
    assert side.locator("thead a").nth(3).inner_text() == "evil <b>&"


def test_the_button_turns_the_colours_and_says_what_it_does(visit: Any) -> None:
    page = visit("helped")
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    button = page.get_by_role("button", name="Switch to dark colours")
    button.click()
    dark = page.evaluate(paper)
    assert light != dark
    page.get_by_role("button", name="Switch to light colours").click()
    assert page.evaluate(paper) == light
    assert visit("helped", scheme="dark").evaluate(paper) == dark


def test_keys_alone_reach_everything(visit: Any) -> None:
    page = visit("helped")
    focused = "document.activeElement.id || document.activeElement.className"
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "skip"
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "theme"
    page.locator("details.numbers summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details.numbers").first.get_attribute("open") is not None
    rows = page.locator("details.numbers").first.locator("tbody tr")
    assert rows.first.inner_text().split() == ["supervised", "12.3", "%"]


@pytest.mark.parametrize("name", ["helped", "scenes"])
def test_every_drawing_has_a_name_and_a_description(visit: Any, name: str) -> None:
    page = visit(name)
    unnamed = page.evaluate(
        """[...document.querySelectorAll("svg")].filter(svg => {
            if (svg.getAttribute("aria-hidden") || svg.parentElement.closest("svg")) return false;
            const named = (svg.getAttribute("aria-labelledby") || "").split(" ");
            return named.length !== 2 ||
                !named.every(id => document.getElementById(id)?.textContent.trim());
        }).length"""
    )
    assert unnamed == 0
    assert page.get_by_role("img", name="Loss over images seen").count() == 1
    levels = page.evaluate('[...document.querySelectorAll("h1,h2,h3")].map(h => +h.tagName[1])')
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_values_can_be_read_off_a_curve(visit: Any) -> None:
    page = visit("hurt")
    figure = page.locator("figure", has=page.get_by_role("img", name="Loss over images seen"))
    figure.locator("svg.chart").hover()
    values = figure.locator(".legend li").evaluate_all("all => all.map(li => li.dataset.value)")
    assert len(values) == 3
    assert all(0 < float(value) < 3 for value in values)
    page.mouse.move(0, 0)
    assert figure.locator(".legend li[data-value]").count() == 0


def test_layers_are_laid_over_scenes_by_clicks_and_keys(visit: Any) -> None:
    page = visit("scenes")
    seen = """[...document.querySelectorAll("[data-layer]")]
        .filter(each => getComputedStyle(each).visibility === "visible")
        .map(each => each.dataset.layer)"""
    assert set(page.evaluate(seen)) == {"a"}
    page.get_by_label("Truth").check()
    assert page.evaluate(seen) == ["truth"] * 5  # of held-out images alone
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(seen) == ["b"] * 20
    layer = page.locator("[data-layer=b]").first
    assert layer.evaluate("each => getComputedStyle(each).opacity") == "0.65"
    strength = page.get_by_label("Strength")
    strength.focus()
    page.keyboard.press("Home")
    assert layer.evaluate("each => getComputedStyle(each).opacity") == "0"
    page.get_by_label("Nothing").check()
    assert page.evaluate(seen) == []
    image, on_top = (page.locator(".stack img").nth(i).evaluate(
        "each => { const box = each.getBoundingClientRect(); return [box.width, box.height]; }"
    ) for i in (0, 1))  # fmt: skip
    assert image == pytest.approx(on_top, abs=1)


def test_links_of_runs_side_by_side_lead_to_their_reports(visit: Any, reports: Any) -> None:
    page = visit("side")
    links = page.locator("table").first.locator("thead a")
    found = [links.nth(i).evaluate("each => each.href") for i in range(4)]
    assert found == [reports[name].as_uri() for name in ("helped", "hurt", "half", "evil")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["helped", "scenes", "side"])
def test_axe_finds_no_serious_fault(visit: Any, name: str, scheme: str) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
    )
    page = visit(name, scheme=scheme)
    page.evaluate('document.querySelectorAll("details").forEach(d => { d.open = true; })')
    found = axe.Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found
            if each["impact"] in ("serious", "critical")] == []  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["helped", "scenes", "side"])
def test_all_text_stands_out_from_what_is_behind_it(visit: Any, name: str, scheme: str) -> None:
    page = visit(name, scheme=scheme)
    page.evaluate('document.querySelectorAll("details").forEach(d => { d.open = true; })')
    weak = page.evaluate(CONTRAST)
    assert weak == []


def test_printing_opens_the_settings_leaves_closed_tables_out_and_is_light(visit: Any) -> None:
    page = visit("helped", scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("#theme").is_visible()
    page.locator("details.numbers").first.evaluate("d => d.open = true")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details.settings[open]").is_visible()
    assert page.locator("details.numbers").count() > 1
    assert page.locator("details.numbers:visible").count() == 1  # what the reader opened
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 1


# colours are painted on a canvas and read back, so that colour functions and transparency count
CONTRAST = """(() => {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 1;
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    const paint = (layers) => {
        for (const colour of layers) { pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1); }
        return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const luminance = (rgb) => {
        const [r, g, b] = rgb.map(v => v / 255)
            .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const weak = [];
    for (const element of document.body.querySelectorAll("*")) {
        const words = [...element.childNodes].some(n => n.nodeType === 3 && n.data.trim());
        if (!words || !element.getClientRects().length) continue;
        if (["TITLE", "DESC", "SCRIPT"].includes(element.tagName.toUpperCase())) continue;
        const layers = [];
        for (let at = element; at; at = at.parentElement) {
            if (!(at instanceof SVGElement)) layers.unshift(getComputedStyle(at).backgroundColor);
        }
        const style = getComputedStyle(element);
        const colour = element instanceof SVGElement ? style.fill : style.color;
        const [back, front] = [luminance(paint(layers)), luminance(paint([...layers, colour]))];
        const ratio = (Math.max(back, front) + 0.05) / (Math.min(back, front) + 0.05);
        if (ratio < 4.5) weak.push(`${element.tagName} ${element.textContent} ${ratio.toFixed(2)}`);
    }
    return weak;
})()"""
