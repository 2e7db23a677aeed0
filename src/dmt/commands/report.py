"""`dmt report`: words in, paths out. The work: `insight.side_by_side`. Loads no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dmt.commands.options import Debug, Json, paths_and_words, read_options
from dmt.commands.printing import print_json, print_line
from dmt.errors import SettingError

app = typer.Typer()


@app.command()
def report(
    runs: Annotated[
        list[str], typer.Argument(help="Folders that `dmt train` made; then key=value settings.")
    ],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write report.html of each run anew, and of several runs one page that shows them together.

    That page is side-by-side.html in the folder that holds the runs; out=FILE puts it elsewhere.
    """
    from dmt.insight.side_by_side import write_reports

    folders, words = paths_and_words(runs)
    out = read_options(words, {"out": None})["out"]
    if len(folders) < 2 and words:
        raise SettingError(f"out={out} is for the page of several runs; name two or more")
    written = write_reports([Path(each) for each in folders], None if out is None else Path(out))
    if as_json:
        page = None if written.page is None else str(written.page)
        return print_json({"reports": [str(each) for each in written.reports], "page": page})
    for path in (*written.reports, *([written.page] if written.page else ())):
        print_line(str(path))
    return None
