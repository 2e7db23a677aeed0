"""Several runs on one page: their figures, curves and settings side by side. Computes no figure."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from dmt.errors import RunError
from dmt.escapes import visible
from dmt.insight import numbers
from dmt.insight.figures import METRIC_NAMES
from dmt.insight.html import environment, script, style
from dmt.insight.listing import list_settings
from dmt.insight.read import RunView, read_run, stage_of
from dmt.insight.report import WORDS, render
from dmt.insight.side_by_side_charts import difference_figure, run_figures
from dmt.records import REPORT, Summary, write_text

PAGE = "side-by-side.html"
_TITLE = "<title>Side by side: "
_STYLES = ("a", "o1", "o2", "o3", "o4", "o5", "o6", "o7", "o8")
_OWN = {"out", "seed"}  # of a run, so that they say nothing where they differ
_KINDS = {"helped": "good", "hurt": "bad", "unclear": "unsure"}


class Written(NamedTuple):
    """Each run's report, and the page of all of them; None for one run."""

    reports: list[Path]
    page: Path | None


class Column(NamedTuple):
    """A run on the page: its shortest name, its colour, its report as seen from the page."""

    name: str
    style: str
    link: str
    view: RunView


def write_reports(runs: Sequence[Path], out: Path | None = None) -> Written:
    """Write `report.html` into each run's folder and, of several runs, one page beside them.

    Everything is read before anything is written.

    Args:
        runs: folders of runs, finished or not; one that is named twice counts once.
        out: the page of all of them; None: `side-by-side.html` in the folder that holds them all.

    Raises:
        RunError: a folder is no run or cannot be read, runs do not measure the same, `out` is
            some other file, or a page cannot be written.
    """
    runs = list({os.path.realpath(run): run for run in runs}.values())
    views = [read_run(run) for run in runs]
    page = content = None
    if len(runs) > 1:
        page = out or Path(os.path.commonpath([run.absolute().parent for run in runs])) / PAGE
        _refuse_other_files(page)
        content = render_side_by_side(views, page)
    reports = [render(view) for view in views]  # all of them, before the first is written
    for view, report in zip(views, reports, strict=True):
        write_text(view.folder / REPORT, report)
    if page is not None and content is not None:
        write_text(page, content)
    return Written([run / REPORT for run in runs], page)


def render_side_by_side(views: Sequence[RunView], page: Path) -> str:
    """The page as HTML.

    Args:
        views: of at least two runs.
        page: where it will lie, from where its links lead.

    Raises:
        RunError: the runs do not measure the same.
    """
    for view in views[1:]:
        if view.metric != views[0].metric:
            raise RunError(
                f"{views[0].folder} measures {METRIC_NAMES[views[0].metric].lower()} and "
                f"{view.folder} {METRIC_NAMES[view.metric].lower()}, which cannot stand side by "
                "side; give runs of one task"
            )
    columns = _columns(views, page)
    code = script("report.js")
    names = {column.name: column.view for column in columns}
    difference = difference_figure(
        [(name, _KINDS.get(v.summary.verdict, "ref"), v.summary) for name, v in names.items()
         if v.summary is not None]
    )  # fmt: skip
    html = environment().get_template("side_by_side.html.j2").render(
        style=style("report.css", "comparison.css"),
        script=code.text,
        script_hash=code.hash,
        title=f"{len(views)} runs",
        headline=f"{len(views)} runs on {_data_sets(views)}",
        columns=columns,
        rows=_table(views),
        notes=_notes(columns),
        figures=[*([difference] if difference else []),
                 *run_figures([(c.name, c.style, c.view) for c in columns])],
        settings=_differing(views),
        commands=[(c.name, c.view.summary.command) for c in columns if c.view.summary],
    )  # fmt: skip
    return visible(html, keep="\n\t")


def _refuse_other_files(page: Path) -> None:
    """A page of ours is written anew; nothing else is."""
    try:
        with page.open("rb") as file:
            if _TITLE.encode() not in file.read(4096):
                raise RunError(f"{page} is there and is no page of this kind; give another out=")
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunError(f"cannot write {page}: {error.strerror}; give another out=") from error


def _columns(views: Sequence[RunView], page: Path) -> list[Column]:
    folders = [view.folder.resolve() for view in views]
    above = os.path.commonpath([folder.parent for folder in folders])
    return [
        Column(
            os.path.relpath(folder, above),
            color,
            quote(os.path.relpath(view.folder.absolute() / REPORT, page.absolute().parent)),
            view,
        )
        for folder, color, view in zip(folders, cycle(_STYLES), views, strict=False)
    ]


def _data_sets(views: Sequence[RunView]) -> str:
    names = [v.summary.dataset if v.summary else str(v.data.get("name", "?")) for v in views]
    return ", ".join(dict.fromkeys(names))


def _table(views: Sequence[RunView]) -> list[tuple[str, list[str]]]:
    """What stands in the columns, a row each; rows of which nothing is known are left out."""
    many = all(view.summary is None or view.summary.num_held_out >= 2000 for view in views)
    decimals = 2 if many else 1

    def percent(get: Callable[[Summary], float | None]) -> list[str]:
        return [numbers.fixed(get(v.summary) if v.summary else None, decimals, "%") for v in views]

    def told(get: Callable[[Summary], str]) -> list[str]:
        return [get(v.summary) if v.summary else numbers.NONE for v in views]

    name = METRIC_NAMES[views[0].metric]
    rows = [
        ("outcome", [_outcome(view) for view in views]),
        (f"{name}, supervised", percent(lambda s: s.supervised)),
        (f"{name}, supervised pair", percent(lambda s: s.supervised_ensemble)),
        (f"{name}, peer a", percent(lambda s: s.peers.get("a"))),
        (f"{name}, peer b", percent(lambda s: s.peers.get("b"))),
        (f"{name}, ensemble", percent(lambda s: s.ensemble)),
        (f"{name}, oracle", percent(lambda s: s.oracle)),
        ("peer a − supervised, points", told(lambda s: _interval(s, decimals))),
        ("gap closed", told(lambda s: numbers.percent(s.gap_closed, 0))),
        ("pseudo labels true, last round", [_truth(view) for view in views]),
        *[(f"{part} images", [_part(view, part) for view in views])
          for part in ("labeled", "unlabeled")],
        ("images judged on", told(lambda s: numbers.count(s.num_held_out))),
        ("method", [_setting(view, "method") for view in views]),
        ("model", [_setting(view, "model") for view in views]),
        ("seed", [_setting(view, "seed") for view in views]),
        ("images trained on", told(lambda s: numbers.short(s.images_seen.trained))),
        ("time", [numbers.duration(v.summary.seconds if v.summary else v.elapsed)
                  for v in views]),
        ("alarms", [str(len(view.alarms)) for view in views]),
    ]  # fmt: skip
    return [row for row in rows if set(row[1]) != {numbers.NONE}]


def _outcome(view: RunView) -> str:
    if view.summary is None:
        stage = stage_of(view.last) if view.last else None
        place = "nothing trained yet"
        if stage is not None:
            place = f"round {stage.round}" if stage.kind == "round" else stage.kind
        return f"{WORDS['unfinished']}: {place}"
    word = WORDS[view.summary.verdict]
    return f"{word}, stopped early" if view.summary.status == "stopped" else word


def _interval(summary: Summary, decimals: int) -> str:
    found = summary.interval
    if found is None:
        return numbers.NONE
    value, low, high = (
        numbers.fixed(x, decimals, signed=True) for x in (found.value, found.low, found.high)
    )
    return f"{value} ({low} to {high})"


def _part(view: RunView, part: str) -> str:
    files = view.data.get("files") or []
    num = sum(entry[-1] == part for entry in files)
    if part == "unlabeled" and view.data.get("pool"):  # told by its shards
        num += int(view.data.get("num") or 0) - len(files)
    return numbers.count(num) if num else numbers.NONE


def _truth(view: RunView) -> str:
    known = [r.pseudo_label_accuracy for r in view.rounds if r.pseudo_label_accuracy is not None]
    return numbers.percent(known[-1]) if known else numbers.NONE


def _setting(view: RunView, key: str) -> str:
    value = view.settings.get(key)
    return numbers.NONE if value is None else str(value)


def _notes(columns: Sequence[Column]) -> list[str]:
    """What keeps figures from being comparable, and what is only half there."""
    notes = []
    views = [column.view for column in columns]
    if len({view.data.get("sha256") for view in views}) > 1:
        notes.append(
            "The runs are not on the same data (or not on the same labels): what differs is not "
            "the method alone."
        )
    if len({_held_out(view) for view in views}) > 1:
        notes.append("They are not judged on the same held-out images.")
    if len({(view.settings.get("steps"), view.settings.get("batch_size")) for view in views}) > 1:
        notes.append("They did not train on equally many images.")
    notes += [
        f"{column.name} has not finished; its curves go as far as it has come."
        for column in columns if column.view.summary is None
    ]  # fmt: skip
    return notes


def _held_out(view: RunView) -> frozenset[str]:
    """Contents of the images that the table rests on."""
    return frozenset(str(e[2]) for e in view.data.get("files") or [] if e[-1] == "test")


def _differing(views: Sequence[RunView]) -> list[tuple[str, list[str]]]:
    """Settings that are not the same in all runs."""
    flat = [
        {key: value for _, rows in list_settings(view.settings) for key, value in rows}
        for view in views
    ]
    keys: dict[str, Any] = {key: None for each in flat for key in each if key not in _OWN}
    rows = [(key, [each.get(key, numbers.NONE) for each in flat]) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1]
