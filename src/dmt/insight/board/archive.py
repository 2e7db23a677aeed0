"""Archives of evaluation tables as files: read, merged, written, and those that come with dmt.

What is in them: `entries`. Fields that nobody here knows stay as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dmt.errors import DataError, RunError
from dmt.insight.board.entries import Table
from dmt.records import read_json

_SHIPPED = Path(__file__).parent / "shipped"
PUBLISHED = "published.json"
_NESTED = {"datasets": "dataset", "subtasks": "task", "subdatasets": "dataset"}


def shipped(name: str) -> Any:
    """A JSON file that comes with dmt: `published.json`, `papers.json` or `data_sets.json`."""
    return read_json(_SHIPPED / name)


def read_file(path: Path) -> Any:
    """The JSON value of an archive.

    Raises:
        DataError: there is no such file, or it is no JSON.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path}: give an archive of evaluation tables (JSON)")
    try:
        return read_json(path)
    except RunError as error:
        packed = " (unpack it first)" if path.suffix == ".gz" else ""
        raise DataError(f"{error}{packed}") from error


def merge(
    base: list[Table], other: list[Table], key: str = "task"
) -> tuple[list[Table], list[str]]:
    """Two archives as one: tables of the same name become one, rows are put one after the other.

    Args:
        base: whose word counts where both say something different of a table.
        other: what is added.
        key: which field names a table.

    Returns:
        The tables, and the fields in which `other` was not heard.
    """
    merged: dict[str, Table] = {}
    conflicts: list[str] = []
    for table in [*base, *other]:  # one archive, too, may hold several tables of one name
        name = str(table[key])
        if name in merged:
            merged[name], lost = _merge_tables(merged[name], table, repr(name))
            conflicts += lost
        else:
            merged[name] = table
    return list(merged.values()), conflicts


def _merge_tables(base: Table, other: Table, where: str) -> tuple[Table, list[str]]:
    merged = dict(base)
    conflicts: list[str] = []
    for field, value in other.items():
        mine = base.get(field)
        if not mine:
            merged[field] = value
        elif not value or mine == value:
            continue
        elif field in _NESTED:
            merged[field], lost = merge(mine, value, _NESTED[field])
            conflicts += lost
        elif field == "sota":
            merged[field], lost = _merge_tables(mine, value, f"sota of {where}")
            conflicts += lost
        elif field == "rows":
            merged[field] = [*mine, *value]
        elif isinstance(mine, list) and isinstance(value, list):
            merged[field] = [*mine, *(each for each in value if each not in mine)]
        else:
            conflicts.append(f"{where}: {field!r}")
    return merged, conflicts
