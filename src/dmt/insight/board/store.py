"""A board's folder: what it holds beside its pages, and how that is read, added to and exported.

`data/results.json` is what others claim, `data/runs/*.json` what this board has checked, both in
the form of `entries`; the published figures that come with dmt are part of every board. Pages:
`pages`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dmt.errors import DataError, RunError, SettingError
from dmt.insight.board.archive import PUBLISHED, merge, read_file, shipped
from dmt.insight.board.entries import Entry, Reader, Reading, Table
from dmt.insight.board.provenance import read_provenance
from dmt.records import read_json, write_json
from dmt.records.writing import make_folder

MARK = "board.json"
"""Names the pages of a board, so that a folder of other things is never written into."""
_RESULTS = Path("data") / "results.json"
_RUNS = Path("data") / "runs"


@dataclass
class Contents:
    """All that a board shows. `faults`: rows that could not be read and are left out."""

    claimed: list[Table] = field(default_factory=list)
    measured: list[Table] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    tasks: dict[str, Table] = field(default_factory=dict)
    datasets: dict[tuple[str, str], Table] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def add(self, found: Reading, archive: str) -> None:
        """Add what was read from the archive of this name; an earlier one's words count."""
        self.entries += found.entries
        for name, table in found.tasks.items():
            self.tasks[name] = _filled(self.tasks.get(name, {}), table)
        for key, table in found.datasets.items():
            self.datasets[key] = _filled(self.datasets.get(key, {}), table)
        self.faults += [f"{archive}: {fault}" for fault in found.faults]
        self.unknown += [f"{archive}: {each}" for each in found.unknown]


@dataclass(frozen=True)
class Imported:
    """What came of an import."""

    num_new: int
    num_known: int
    faults: list[str]
    unknown: list[str]
    conflicts: list[str]
    """Fields of which the board keeps its own version."""


def ensure_folder(folder: Path) -> None:
    """Make a folder and those above it, where there are none.

    Raises:
        RunError: it cannot be made.
    """
    try:
        make_folder(folder)
    except OSError as error:
        raise RunError(
            f"cannot make the folder {folder}: {error.strerror}; choose another place or check "
            "its permissions"
        ) from error


def is_board(folder: Path) -> bool:
    """Whether a board was built into this folder."""
    return (folder / MARK).is_file()


def check_place(folder: Path) -> None:
    """Make sure that pages may be written into `folder`.

    Raises:
        SettingError: it is a file, or holds other things.
    """
    if folder.exists() and not folder.is_dir():
        raise SettingError(f"{folder} is a file; give a folder for the board")
    if folder.is_dir() and not is_board(folder) and any(folder.iterdir()):
        raise SettingError(f"{folder} holds other things; give an empty folder or a board's")


def begin(folder: Path) -> None:
    """Make `folder` a board's, before anything is written into it that would make it another's.

    Raises:
        SettingError: it holds other things.
        RunError: it cannot be made.
    """
    check_place(folder)
    if not is_board(folder):
        ensure_folder(folder)
        write_json(folder / MARK, {"version": 1, "pages": []})


def read_board(folder: Path) -> Contents:
    """Everything on the board in `folder`; where there is none, the published figures.

    Raises:
        DataError: one of its files cannot be read.
    """
    contents, _ = _read(folder)
    return contents


def read_data(path: Path) -> Contents:
    """What one archive, or every archive `*.json` in a folder, holds; nothing else is added.

    Raises:
        DataError: there is none, or one cannot be read.
    """
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path} holds no archive (*.json)")
    contents, reader = Contents(), Reader()
    for file in files:
        contents.add(reader.read(read_file(file), str(file)), file.name)
    return contents


def import_file(folder: Path, file: Path) -> Imported:
    """Add an archive's rows to the board in `folder`; rows that cannot be are left out.

    Rows are claims, whoever measured them: this board has not.

    Raises:
        DataError: the file is no such archive, or nothing in it is new.
    """
    _, reader = _read(folder)
    found = reader.read(read_file(file), str(file))
    if not found.entries and not found.faults:
        raise DataError(f"there is nothing new in {file}: all its rows are on the board already")
    path = folder / _RESULTS
    mine = read_file(path) if path.exists() else []
    merged, conflicts = merge(mine, _without_known(found))
    if found.entries:
        begin(folder)
        ensure_folder(path.parent)
        write_json(path, merged)
    return Imported(len(found.entries), found.num_known, found.faults, found.unknown, conflicts)


def export_file(folder: Path, file: Path) -> int:
    """Write everything on the board in `folder` as one archive; returns the number of rows.

    Rows of runs carry the field `run`, by which a reader may know them; see `docs/board.md`.

    Raises:
        SettingError: there is no board, or the file exists.
    """
    if not is_board(folder):
        raise SettingError(f"{folder} is no board; make one with dmt board build out={folder}")
    if file.exists():
        raise SettingError(f"{file} exists; give another name")
    contents = read_board(folder)
    tables, _ = merge(contents.claimed, contents.measured)
    ensure_folder(file.parent)
    write_json(file, tables)
    return len(contents.entries)


def add_run(folder: Path, run_id: str, tables: list[Table]) -> None:
    """Keep the rows of a run that was checked.

    Raises:
        SettingError: they are on the board.
    """
    path = folder / _RUNS / f"{run_id}.json"
    if path.exists():
        raise SettingError(f"this run is on the board already ({path})")
    begin(folder)
    ensure_folder(path.parent)
    write_json(path, tables)


def _read(folder: Path) -> tuple[Contents, Reader]:
    contents, reader = Contents(), Reader()
    published = shipped(PUBLISHED)
    results = read_file(folder / _RESULTS) if (folder / _RESULTS).exists() else []
    for name, tables in ((PUBLISHED, published), (str(_RESULTS), results)):
        found = reader.read(tables, name)
        contents.add(found, name)
        # What was imported says more of its own tables than we do.
        contents.claimed = merge(_without_known(found), contents.claimed)[0]
    for path in sorted((folder / _RUNS).glob("*.json")):
        tables = _run_tables(path)
        found = reader.read(tables, path.name, is_measured=True)
        for entry in found.entries:
            read_provenance(entry.row.get("run"), path)
        contents.add(found, path.name)
        contents.measured = merge(contents.measured, found.tables)[0]
    return contents, reader


def _filled(table: Table, other: Table) -> Table:
    """A table with what another says where it says nothing itself."""
    return {**other, **{key: value for key, value in table.items() if value}}


def _run_tables(path: Path) -> Any:
    try:
        return read_json(path)
    except RunError as error:
        raise DataError(f"{error}; remove it and submit the run again") from error


def _without_known(found: Reading) -> list[Table]:
    """The tables of an archive without the rows that the board has."""
    new = {id(entry.row) for entry in found.entries}

    def table(value: Any) -> Any:
        if isinstance(value, list):
            return [table(each) for each in value]
        if not isinstance(value, dict):
            return value
        kept = {key: table(each) for key, each in value.items() if key in _HOLD_TABLES}
        if isinstance(value.get("rows"), list):
            kept["rows"] = [row for row in value["rows"] if id(row) in new]
        return {**value, **kept}

    return [table(each) for each in found.tables]


_HOLD_TABLES = ("datasets", "subtasks", "subdatasets", "sota")
