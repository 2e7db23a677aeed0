"""The board in a real browser: clicked through, searched, sorted, linked to, and never tricked."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dmt.insight.board.pages import build
from dmt.insight.board.store import add_run, import_file, read_board, read_data
from dmt.insight.board.submit import read_submission
from dmt.records import write_json

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "insight"))
from sample_board import TASK, archive, row, write_archive, write_board_run
from test_report import CONTRAST, FLAGS

pytestmark = pytest.mark.browser
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

expect = playwright.expect
EVIL = '"><img src=x onerror=alert(1)>'
SCRIPT = "javascript:alert(1)"


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


def evil_row() -> dict[str, Any]:
    links = [{"title": EVIL, "url": SCRIPT}, {"title": EVIL, "url": "https://example.org/" + EVIL},
             {"title": EVIL, "url": "https://example.org/code"}]  # fmt: skip
    wrong = row(EVIL, **{EVIL: "3 ± 1", "Accuracy": "9"})
    return wrong | {
        "paper_title": f"{EVIL}</script>",
        "paper_url": SCRIPT,
        "code_links": links,
        "note": EVIL,
        "source": {"title": EVIL, "url": SCRIPT},
    }


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """`mixed`: published figures, a run, and claims beside it; `evil`; `big`: 10 000 rows."""
    base = tmp_path_factory.mktemp("boards")
    mixed = base / "mixed"
    found = read_submission(write_board_run(base / "run"))
    add_run(mixed, found.run_id, found.tables)
    claims = [row("Bold claim", Percentage_error="3.1 ± 0.2"),
              row("Later claim", Percentage_error="2.4%")
              | {"paper_date": "2024-01", "uses_additional_data": True}]  # fmt: skip
    claims[1]["paper_url"] = "https://example.org/later"
    write_archive(base / "claims.json", *claims, dataset=found.dataset, task=TASK)
    import_file(mixed, base / "claims.json")
    build(mixed, read_board(mixed))
    evil = archive(evil_row(), row("fine", Accuracy="8"), dataset=EVIL, task=f"{EVIL}</script>")
    evil[0]["description"] = evil[0]["datasets"][0]["description"] = EVIL
    evil[0]["datasets"][0]["dataset_links"] = [{"title": EVIL, "url": SCRIPT}]
    write_json(base / "evil.json", evil)
    many = [row(f"Model {i}", Accuracy=f"{i % 9973 / 100}") | {"paper_date": f"{2010 + i % 15}"}
            for i in range(10_000)]  # fmt: skip
    write_archive(base / "big.json", *many, dataset="Ten thousand")
    for name in ("evil", "big"):
        build(base / name, read_data(base / f"{name}.json"))
    return {name: base / name for name in ("mixed", "evil", "big")}


@pytest.fixture
def visit(chromium: Any, boards: dict[str, Path]) -> Iterator[Any]:
    """Open a page of a board; afterwards: no console message, no error, no dialog, no network."""
    contexts, faults = [], []

    def open_page(name: str, path: str = "index.html", width: int = 1200, scheme: str = "light"):
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: faults.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (faults.append("dialog"), dialog.dismiss()))
        page.on("request", lambda request: faults.append(request.url)
                if not request.url.startswith(("file:", "data:")) else None)  # fmt: skip
        page.goto(f"{boards[name].as_uri()}/{path}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def pages_of(board: Path, *, all_of_them: bool = False) -> list[str]:
    """Every kind of page of a board once, or all pages."""
    found = sorted(str(path.relative_to(board)) for path in board.rglob("*.html"))
    if all_of_them:
        return found
    kinds = {path.split("/")[0] if "/" in path else path: path for path in found}
    return list(kinds.values())


def test_the_way_from_the_start_to_the_settings_of_a_run(visit: Any) -> None:
    page = visit("mixed")
    page.get_by_label("Search").fill("pets 6 labels")
    hit = page.locator("#found li", has_text="Leaderboard").get_by_role("link")
    assert "1 of" not in page.locator("#hits").inner_text()
    hit.click()
    assert page.locator("h1").inner_text().startswith("pets (")
    run = page.locator("tr.measured").first.get_by_role("link", name="Run")
    run.click()
    assert page.get_by_text("dmt train DATA recipe=config.yaml").is_visible()
    page.locator("summary", has_text="config.yaml").click()
    assert "lr: 0.05" in page.locator("pre.file").inner_text()
    page.get_by_role("navigation").get_by_role("link", name="Papers").click()
    page.get_by_role("link", name="DMT: Dynamic Mutual Training").click()
    assert page.get_by_text("Two different models label the unlabeled data").is_visible()
    page.locator(".results li", has_text="1/106").get_by_role("link").first.click()
    assert page.url.split("#")[1].startswith("r-")
    assert page.locator("tr:target .name").inner_text() == "DMT (DeepLab-v2)"


def test_every_link_within_a_board_leads_somewhere(boards: dict[str, Path], visit: Any) -> None:
    page = visit("mixed")
    board = boards["mixed"]
    ids = {}
    links = set()
    for path in pages_of(board, all_of_them=True):
        page.goto(f"{board.as_uri()}/{path}")
        found = page.evaluate(
            """() => [[...document.querySelectorAll("[id]")].map(e => e.id),
                [...document.querySelectorAll("a")].map(a => a.href)
                    .filter(href => href.startsWith("file:"))]"""
        )
        assert len(set(found[0])) == len(found[0]), path
        ids[f"{board.as_uri()}/{path}"] = set(found[0])
        links |= set(found[1])
    assert len(links) > 60
    for link in links:
        target, _, name = link.partition("#")
        assert target in ids, link
        assert not name or name in ids[target], link


def test_the_search_finds_and_says_where_there_is_nothing(visit: Any) -> None:
    page = visit("mixed")
    page.keyboard.press("/")
    page.keyboard.type("mean teach")
    kinds = page.locator("#found span").all_inner_texts()
    assert {"Method", "Paper"} <= set(kinds)
    assert page.locator("#hits").inner_text() == f"{len(kinds)} found"
    page.get_by_label("Search").fill("no such thing")
    assert page.locator("#found").inner_text() == "Nothing found"


def ranking(page: Any) -> list[str]:
    return [
        text for text in page.locator(".ranking tbody tr:visible .name").all_inner_texts() if text
    ]


def test_sorting_and_filtering_by_mouse_and_keys(boards: dict[str, Path], visit: Any) -> None:
    path = next(p for p in pages_of(boards["mixed"], all_of_them=True) if "boards/pets" in p)
    page = visit("mixed", path)
    by_rank = ["Later claim", "Bold claim", "dmt (wrn_10_1), both peers", "dmt (wrn_10_1)"]
    assert ranking(page) == by_rank
    page.get_by_role("button", name="Model").click()
    assert ranking(page)[0] == "Bold claim"
    head = page.get_by_role("columnheader", name="Model")
    assert head.get_attribute("aria-sort") == "ascending"
    page.get_by_role("button", name="Model").press("Enter")
    assert ranking(page)[-1] == "Bold claim"
    page.get_by_role("button", name="Date").click()
    assert ranking(page)[:2] == ["Bold claim", "Later claim"]
    page.get_by_role("button", name="Rank").click()
    assert ranking(page) == by_rank
    page.get_by_role("button", name="Measured").click()
    expect(page.locator(".count")).to_have_text(re.compile("^2 of 4"))
    assert ranking(page) == by_rank[2:]
    page.get_by_role("button", name="All").click()
    page.get_by_label("Filter").fill("later")
    expect(page.locator(".count")).to_have_text(re.compile("^1 of 4"))
    assert ranking(page) == ["Later claim"]
    hidden = page.locator("tr.measured").first.get_attribute("id")
    page.evaluate("id => { location.hash = id; }", hidden)
    expect(page.locator("tr:target")).to_be_visible()
    assert len(ranking(page)) == 4


def test_no_value_stands_without_its_kind_and_the_kinds_look_different(
    boards: dict[str, Path], visit: Any
) -> None:
    page = visit("mixed")
    for path in pages_of(boards["mixed"]):
        page.goto(f"{boards['mixed'].as_uri()}/{path}")
        bare = page.evaluate(
            """() => [...document.querySelectorAll(".figure-of")].filter(
                each => !["claimed", "measured"].includes(
                    each.querySelector(".kind").textContent.trim())).length"""
        )
        assert bare == 0
    path = next(p for p in pages_of(boards["mixed"], all_of_them=True) if "boards/pets" in p)
    page.goto(f"{boards['mixed'].as_uri()}/{path}")
    look = """kind => { const style = getComputedStyle(document.querySelector(`tr.${kind} b`));
        return [style.color, style.fontWeight]; }"""
    claimed, measured = page.evaluate(look, "claimed"), page.evaluate(look, "measured")
    assert claimed[0] != measured[0]
    assert claimed[1] != measured[1]
    assert page.locator("svg .dot.measured").count() > 0
    assert page.locator("polyline.claimed, polyline.measured").count() == 2


@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_sticks_out(boards: dict[str, Path], visit: Any, width: int) -> None:
    for name in ("mixed", "evil"):
        page = visit(name, width=width)
        for path in pages_of(boards[name]):
            page.goto(f"{boards[name].as_uri()}/{path}")
            assert page.evaluate("document.documentElement.scrollWidth") == width, path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out(boards: dict[str, Path], visit: Any, scheme: str) -> None:
    page = visit("mixed", scheme=scheme)
    weak = {}
    for path in pages_of(boards["mixed"]):
        page.goto(f"{boards['mixed'].as_uri()}/{path}")
        page.evaluate('document.querySelectorAll("details").forEach(d => { d.open = true; })')
        weak[path] = page.evaluate(CONTRAST)
    assert {path: found for path, found in weak.items() if found} == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault(boards: dict[str, Path], visit: Any, scheme: str) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
    )
    page = visit("mixed", scheme=scheme)
    faults = {}
    for path in pages_of(boards["mixed"]):
        page.goto(f"{boards['mixed'].as_uri()}/{path}")
        found = axe.Axe().run(page).response["violations"]
        faults[path] = [(each["id"], each["nodes"][0]["html"]) for each in found]
    assert {path: found for path, found in faults.items() if found} == {}


def test_hostile_names_add_no_node_and_no_link(boards: dict[str, Path], visit: Any) -> None:
    page = visit("evil")
    for path in pages_of(boards["evil"], all_of_them=True):
        page.goto(f"{boards['evil'].as_uri()}/{path}")
        assert page.locator("img").count() == 0, path
        assert page.locator("style").count() == 1
        assert page.locator("script").count() == (2 if path == "index.html" else 1)
        addresses = page.evaluate("[...document.querySelectorAll('a')].map(a => a.href)")
        outside = {each for each in addresses if not each.startswith("file:")}
        assert outside <= {"https://example.org/code", "https://example.org/paper"}, path
    page.goto(f"{boards['evil'].as_uri()}/index.html")
    page.get_by_label("Search").fill("onerror")
    assert page.locator("#found li").count() >= 4
    assert page.locator("#found img").count() == 0
    assert EVIL in page.locator("#found").inner_text()


def test_ten_thousand_rows_are_all_there_and_quick_to_find(
    boards: dict[str, Path], visit: Any
) -> None:
    path = next(p for p in pages_of(boards["big"], all_of_them=True) if "boards/ten" in p)
    page = visit("big", path)
    assert page.locator(".ranking tbody tr").count() == 10_000
    row_id = page.locator(".ranking tbody tr").nth(7777).get_attribute("id")
    page.get_by_role("button", name="Model").click()
    assert page.locator(".ranking .name").nth(9_999).text_content() == "Model 9999"
    page.get_by_label("Filter").fill("model 4321")
    expect(page.locator(".count")).to_have_text(re.compile("^1 of"))
    expect(page.locator(".ranking tbody tr:visible")).to_have_count(1)
    page.evaluate("id => { location.hash = id; }", row_id)
    expect(page.locator(".count")).to_have_text(re.compile("000 results$"))
    box = page.locator(f"#{row_id}").bounding_box()
    assert box is not None
    assert 0 <= box["y"] < 900
    shown = page.evaluate("document.documentElement.scrollHeight")
    assert shown > 10_000 * 40


def test_printing_is_light_and_shows_everything(boards: dict[str, Path], visit: Any) -> None:
    path = next(p for p in pages_of(boards["mixed"], all_of_them=True) if "boards/pets" in p)
    page = visit("mixed", path, scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".tools").is_visible()
    assert page.locator(".ranking .name", has_text="Bold claim").is_visible()
