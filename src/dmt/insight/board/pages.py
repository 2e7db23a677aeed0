"""The board's pages: all of them made anew from what the board holds, and only those touched."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dmt.errors import RunError
from dmt.escapes import visible
from dmt.insight import numbers
from dmt.insight.board.archive import shipped
from dmt.insight.board.plots import Dot, mark_records, record_chart
from dmt.insight.board.provenance import Provenance
from dmt.insight.board.store import MARK, Contents, begin, ensure_folder
from dmt.insight.board.views import Leaderboard, Result, Site, arrange
from dmt.insight.html import environment, script, style
from dmt.insight.listing import list_settings
from dmt.records import read_json, write_json, write_text

_FOLDERS = ("leaderboards", "papers", "runs")
_PAGE = re.compile(rf"(?:(?:{'|'.join(_FOLDERS)})/)?[a-z0-9-]+\.html")
_MOST_ON_START = 12  # leaderboards of a task on the start page; its own page has all


@dataclass(frozen=True)
class Built:
    """What was built: the start page, and how much is behind it."""

    start: Path
    num_pages: int
    num_boards: int
    num_results: int


def build(folder: Path, contents: Contents) -> Built:
    """Write all pages into `folder`, and remove those of an earlier build that are no more.

    Raises:
        SettingError: the folder holds other things.
        RunError: a page cannot be written.
    """
    begin(folder)
    site = arrange(contents, shipped("papers.json"))
    pages = dict(render(site))
    before = _listed(folder)
    # Named before they are there, so that none is left behind whatever happens.
    write_json(folder / MARK, {"version": 1, "pages": sorted({*before, *pages})})
    for name in _FOLDERS:
        if any(page.startswith(f"{name}/") for page in pages):
            ensure_folder(folder / name)
    for page, content in pages.items():
        write_text(folder / page, content)
    for page in before:
        if page not in pages:
            with suppress(OSError):
                (folder / page).unlink(missing_ok=True)
    write_json(folder / MARK, {"version": 1, "pages": sorted(pages)})
    num_results = sum(len(board.results) for board in site.boards)
    return Built(folder / "index.html", len(pages), len(site.boards), num_results)


def render(site: Site) -> Iterator[tuple[str, str]]:
    """Every page as (path below the board's folder, HTML)."""
    templates = environment()
    code = script("report.js", "board/board.js")
    templates.globals.update(
        style=style("report.css", "board/board.css"),
        script=code.text,
        script_hash=code.hash,
        site=site,
        numbers=numbers,
        most=_MOST_ON_START,
    )

    def page(path: str, template: str, **values: Any) -> tuple[str, str]:
        root = "../" * path.count("/")
        content = templates.get_template(f"board/{template}.html.j2").render(
            root=root, path=path, **values
        )
        # HTML's own characters are escaped by now; what turns the direction of reading is not.
        return path, visible(content, keep="\n\t")

    yield page("index.html", "start", found=_search_index(site))
    for name in ("tasks", "datasets", "methods", "papers"):
        yield page(f"{name}.html", name)
    for board in site.boards:
        others = [
            each
            for each in site.boards_of(board.task, board.dataset)
            if each.metric != board.metric
        ]
        yield page(
            f"leaderboards/{board.slug}.html",
            "leaderboard",
            board=board,
            others=others,
            group=site.dataset(board.dataset),
            **_plot(board),
        )
    for paper in site.papers:
        yield page(f"papers/{paper.slug}.html", "paper", paper=paper)
    for run_id, results in _runs(site).items():
        run = Provenance.model_validate(results[0].entry.row["run"])
        yield page(
            f"runs/{run_id}.html",
            "run",
            run=run,
            results=results,
            settings=list_settings(run.settings),
            config=yaml.safe_dump(run.settings, sort_keys=False, allow_unicode=True),
        )


def _plot(board: Leaderboard) -> Mapping[str, Any]:
    dated = [(result.year, result) for result in board.results]
    dots = [
        Dot(when, each.value, each.entry.model, each.shown, each.entry.is_measured)
        for when, each in dated
        if when is not None
    ]
    marked = mark_records(dots, lower_is_better=board.lower)
    best = {(dot.year, dot.model, dot.shown, dot.kind) for dot in marked if dot.is_record}
    records = [r for when, r in dated if (when, r.entry.model, r.shown, r.kind) in best]
    return {
        "chart": record_chart("best", board.metric, marked)
        if len({dot.year for dot in dots}) > 1
        else "",
        "records": sorted(records, key=lambda each: each.date),
        "kinds": [kind for kind in ("claimed", "measured") if any(d.kind == kind for d in dots)],
        "num_undated": len(dated) - len(dots),
    }


def _runs(site: Site) -> dict[str, list[Result]]:
    runs: dict[str, list[Result]] = {}
    for board in site.boards:
        for result in board.results:
            if result.run_id is not None:
                runs.setdefault(result.run_id, []).append(result)
    return runs


def _search_index(site: Site) -> list[list[str]]:
    """[kind, name, more, page] of all that can be looked for on the start page."""
    found = [("Task", each.name, "", f"tasks.html#{each.slug}") for each in site.tasks]
    found += [("Data set", each.name, "", f"datasets.html#{each.slug}") for each in site.datasets]
    for board in site.boards:
        page = f"leaderboards/{board.slug}.html"
        found.append(("Leaderboard", board.dataset, f"{board.metric}, {board.task}", page))
    for method in site.methods:
        num = len(method.results)
        more = f"{num} result" + "s" * (num != 1)
        found.append(("Method", method.name, more, f"methods.html#{method.slug}"))
    for paper in site.papers:
        found.append(("Paper", paper.title, paper.date[:4], f"papers/{paper.slug}.html"))
    return [[visible(text) for text in entry] for entry in found]


def _listed(folder: Path) -> list[str]:
    """The pages of an earlier build; only such names as a build gives are believed."""
    try:
        mark = read_json(folder / MARK)
    except RunError:
        return []
    pages = mark.get("pages") if isinstance(mark, dict) else None
    names = pages if isinstance(pages, list) else []
    return [name for name in names if isinstance(name, str) and _PAGE.fullmatch(name)]
