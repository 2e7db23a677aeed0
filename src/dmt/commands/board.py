"""`dmt board`: words in, pages out. What a board is and how it is made: `insight/board`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dmt.commands.options import Debug, Json, RunPath, Words, read_options
from dmt.commands.printing import print_json, print_line, say
from dmt.errors import DataError

if TYPE_CHECKING:
    from dmt.insight.board.pages import Built
    from dmt.insight.board.store import Contents

app = typer.Typer(
    name="board",
    help="Results as pages: who reached what on which data, claimed by a paper or measured by a "
    "run of yours.\n\n`dmt board` alone builds ./board with the published figures that come with "
    "dmt, or builds it anew with all that was added to it.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    invoke_without_command=True,
)

_DEFAULT = "board"
_MOST_SAID = 20


@app.callback()
def board(context: typer.Context, as_json: Json = False, debug: Debug = False) -> None:
    """Build ./board where no other command is given."""
    if context.invoked_subcommand is None:
        _build(Path(_DEFAULT), None, as_json)


@app.command()
def build(settings: Words = None, as_json: Json = False, debug: Debug = False) -> None:
    """Write all pages of a board anew: out=FOLDER (default: board).

    data=FILE-or-FOLDER shows these archives alone (evaluation tables, JSON), without the published
    figures and without what was added to the board.
    """
    options = read_options(settings or [], {"out": _DEFAULT, "data": ""})
    _build(Path(options["out"]), options["data"] or None, as_json)


@app.command()
def submit(
    run: RunPath,
    settings: Words = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Add a finished run to a board, after checking it: board=FOLDER (default: board)."""
    from dmt.insight.board.store import add_run, check_place
    from dmt.insight.board.submit import read_submission

    folder = Path(read_options(settings or [], {"board": _DEFAULT})["board"])
    check_place(folder)
    found = read_submission(run)
    add_run(folder, found.run_id, found.tables)
    built, contents = _pages(folder)
    page = built.start.parent / "runs" / f"{found.run_id}.html"
    if as_json:
        rows = [{"model": model, "value": value} for model, value in found.rows]
        print_json({"dataset": found.dataset, "rows": rows, "page": str(page)})
    else:
        for model, value in found.rows:
            print_line(f"{found.dataset}: {model}: {value}, measured")
        print_line(f"board: {page}")
    _refuse(contents.faults, "the board")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="Evaluation tables as JSON.")],
    settings: Words = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Add the rows of an archive, as claims: board=FOLDER (default: board).

    Rows that cannot be shown are named and left out (exit code 2); fields that dmt does not know
    are named and kept.
    """
    from dmt.insight.board.store import check_place, import_file

    folder = Path(read_options(settings or [], {"board": _DEFAULT})["board"])
    check_place(folder)
    done = import_file(folder, file)
    if not done.num_new:
        _refuse(done.faults, str(file))
    built, _ = _pages(folder)
    _say_all("kept, though not known", done.unknown)
    _say_all("the board keeps its own", done.conflicts)
    if as_json:
        counts = {"new": done.num_new, "known": done.num_known, "left_out": len(done.faults)}
        print_json({**counts, "unknown_fields": len(done.unknown), "start": str(built.start)})
    else:
        known = f", {done.num_known:,} were there" if done.num_known else ""
        print_line(f"{done.num_new:,} new rows{known}; board: {built.start}")
    _refuse(done.faults, str(file))


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="The archive to write; it must not exist.")],
    settings: Words = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write everything on a board as one archive: board=FOLDER (default: board)."""
    from dmt.insight.board.store import export_file

    folder = Path(read_options(settings or [], {"board": _DEFAULT})["board"])
    num = export_file(folder, file)
    if as_json:
        return print_json({"rows": num, "file": str(file)})
    return print_line(f"{num:,} rows in {file}")


def _build(folder: Path, data: str | None, as_json: bool) -> None:
    from dmt.insight.board.store import read_data

    built, contents = _pages(folder, read_data(Path(data)) if data is not None else None)
    if data is not None:
        _say_all("shown, though not known", contents.unknown)
    if as_json:
        print_json(
            {
                "start": str(built.start),
                "pages": built.num_pages,
                "leaderboards": built.num_boards,
                "results": built.num_results,
                "left_out": len(contents.faults),
            }
        )
    else:
        boards = "leaderboard" if built.num_boards == 1 else "leaderboards"
        print_line(f"{built.num_results:,} results, {built.num_boards:,} {boards}: {built.start}")
    _refuse(contents.faults, data or str(folder))


def _pages(folder: Path, contents: Contents | None = None) -> tuple[Built, Contents]:
    from dmt.insight.board.pages import build as write_pages
    from dmt.insight.board.store import check_place, read_board

    check_place(folder)
    shown = read_board(folder) if contents is None else contents
    return write_pages(folder, shown), shown


def _say_all(what: str, messages: Sequence[str]) -> None:
    for message in messages[:_MOST_SAID]:
        say(f"dmt: {what}: {message}")
    if len(messages) > _MOST_SAID:
        say(f"dmt: {what}: … and {len(messages) - _MOST_SAID:,} more")


def _refuse(faults: Sequence[str], where: str) -> None:
    """End with the code for what a user can mend, where rows were left out."""
    if len(faults) == 1:
        raise DataError(f"{faults[0]}; this row is left out, all else of {where} is on the board")
    if faults:
        _say_all("left out", faults)
        raise DataError(
            f"{len(faults):,} rows are left out, all else of {where} is on the board; mend them "
            "and import the file again"
        )
