"""Evaluation tables read row by row: entries to show, rows that cannot be, fields not known.

The form is that of the public Papers-With-Code archive (`evaluation-tables.json`). How they are
kept in files: `archive`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dmt.errors import DataError
from dmt.insight.board.values import number, text

Table = dict[str, Any]
Values = dict[str, tuple[str, float]]
"""Metric -> the value as it is written, and its number."""

_TASK = {"task", "description", "categories", "subtasks", "datasets", "source_link", "synonyms"}
_DATASET = {"dataset", "description", "dataset_links", "dataset_citations", "sota", "subdatasets"}
_SOTA = {"metrics", "rows"}
_ROW = {
    "model_name", "paper_title", "paper_url", "paper_date", "code_links", "model_links", "metrics",
    "uses_additional_data",
    "source", "note", "run",  # ours: where a figure is from, what to know of it, the run behind it
}  # fmt: skip
_DEEPEST = 20  # tasks within tasks


@dataclass(frozen=True)
class Entry:
    """One row of a table: a model's values on one data set of one task."""

    task: str
    dataset: str
    model: str
    values: Values
    row: Mapping[str, Any]
    is_measured: bool
    """By a run that this board has checked; anything else is what somebody claims."""

    @property
    def anchor(self) -> str:
        """What a link to the row ends in: the same as long as model, paper and run are."""
        key = "\0".join((self.task, self.dataset, *_identity(self.model, self.row)))
        return f"r-{hashlib.sha256(key.encode(errors='surrogatepass')).hexdigest()[:10]}"


@dataclass
class Reading:
    """What was found in one archive, and what stands on the board because of it.

    `tables` are those read, without the rows in `faults`; nothing else of them is changed.
    """

    tables: list[Table] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    num_known: int = 0
    """Rows that were on the board before, to the letter."""
    faults: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    tasks: dict[str, Table] = field(default_factory=dict)
    datasets: dict[tuple[str, str], Table] = field(default_factory=dict)
    """(Task, data set) -> its table."""


class Reader:
    """Reads archives one after the other; what an earlier one holds, a later one may not change."""

    def __init__(self) -> None:
        """Nothing is on the board yet."""
        self._before: dict[tuple[str, ...], str] = {}

    def read(self, tables: Any, name: str, *, is_measured: bool = False) -> Reading:
        """Read one archive.

        Args:
            tables: the JSON value of `evaluation-tables.json`, a list of tasks.
            name: of the file, for messages.
            is_measured: whether its rows are from runs that were checked.

        Raises:
            DataError: it does not have this form at all.
        """
        walk = _Walk(name, is_measured, self._before)
        walk.found.tables = walk.tasks(tables, "the archive", 0)
        self._before.update(walk.here)
        return walk.found


class _Walk:
    """One archive on its way into a `Reading`."""

    def __init__(self, name: str, is_measured: bool, before: Mapping[tuple[str, ...], str]) -> None:
        self.found = Reading()
        self.here: dict[tuple[str, ...], str] = {}
        self._name = name
        self._is_measured = is_measured
        self._before = before

    def tasks(self, tables: Any, where: str, depth: int) -> list[Table]:
        kept = []
        for table in self._objects(tables, where, depth):
            task = self._named(table, "task", where)
            self._note_unknown(table, _TASK, f"task {task!r}")
            self.found.tasks.setdefault(task, table)
            kept.append(
                self._with(
                    table,
                    datasets=lambda value, task=task: self._datasets(value, task, depth),
                    subtasks=lambda value, task=task: self.tasks(
                        value, f"the subtasks of {task!r}", depth + 1
                    ),
                )
            )
        return kept

    def _datasets(self, tables: Any, task: str, depth: int) -> list[Table]:
        kept = []
        for table in self._objects(tables, f"the data sets of {task!r}", depth):
            dataset = self._named(table, "dataset", f"the data sets of {task!r}")
            place = f"{dataset!r} of {task!r}"
            self._note_unknown(table, _DATASET, place)
            self.found.datasets.setdefault((task, dataset), table)

            def rows(value: Any, dataset: str = dataset, place: str = place) -> Any:
                if not isinstance(value, dict):
                    raise self._bad(f"sota of {place}", "an object with metrics and rows")
                self._note_unknown(value, _SOTA, f"sota of {place}")
                return self._with(value, rows=lambda found: self._rows(found, task, dataset))

            kept.append(
                self._with(
                    table,
                    sota=rows,
                    subdatasets=lambda value: self._datasets(value, task, depth + 1),
                )
            )
        return kept

    def _rows(self, rows: Any, task: str, dataset: str) -> list[Any]:
        if not isinstance(rows, list):
            raise self._bad(f"the rows of {dataset!r} of {task!r}", "a list")
        kept = []
        for place, row in enumerate(rows, 1):
            where = f"row {place} of {dataset!r} ({task})"
            fault = self._fault(row, task, dataset)
            if fault is not None:
                model = text(row.get("model_name")) if isinstance(row, dict) else ""
                who = f", {model!r}" if model else ""
                self.found.faults.append(f"{where}{who}: {fault}")
                continue
            kept.append(row)
            self._note_unknown(row, _ROW, where)
            if self._is_known(row, task, dataset):
                self.found.num_known += 1
                continue
            self._take(row, task, dataset)
        return kept

    def _fault(self, row: Any, task: str, dataset: str) -> str | None:
        """Why a row cannot be shown, or None."""
        if not isinstance(row, dict):
            return "it is no object"
        if not text(row.get("model_name")):
            return "it names no model"
        metrics = row.get("metrics")
        given = metrics if isinstance(metrics, dict) else {}
        stated = {name: value for name, value in given.items() if value is not None}
        if not stated:
            return "it has no metric"
        for name, value in stated.items():
            if number(value) is None:
                return f"its {name}, {str(value)[:60]!r}, is no number"
        keys = self._keys(row, task, dataset, stated)
        known = [key for key in keys if key in self._before]
        for key in keys:
            if key in self.here:
                return f"a duplicate: its {key[-1]} stands there already"
        for key in known:
            if len(known) < len(keys) or self._before[key] != str(stated[key[-1]]):
                before = self._before[key]
                return f"a duplicate: its {key[-1]} stands on the board already, as {before}"
        return None

    def _is_known(self, row: Table, task: str, dataset: str) -> bool:
        stated = {name: value for name, value in row["metrics"].items() if value is not None}
        return all(key in self._before for key in self._keys(row, task, dataset, stated))

    def _take(self, row: Table, task: str, dataset: str) -> None:
        values: Values = {}
        for name, value in row["metrics"].items():
            found = number(value)
            if found is not None:
                values[name] = (str(value), found)
        for key in self._keys(row, task, dataset, values):
            self.here[key] = str(row["metrics"][key[-1]])
        model = text(row["model_name"])
        self.found.entries.append(Entry(task, dataset, model, values, row, self._is_measured))

    def _keys(
        self, row: Table, task: str, dataset: str, metrics: Mapping[str, Any]
    ) -> list[tuple[str, ...]]:
        """What must not be on a board twice, by metric."""
        who = _identity(text(row["model_name"]), row)
        return [(task, dataset, *who, metric) for metric in metrics]

    def _objects(self, value: Any, where: str, depth: int) -> Sequence[Table]:
        if depth > _DEEPEST:
            raise DataError(f"{self._name}: {where} are nested more than {_DEEPEST} deep")
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise self._bad(where, "a list of objects")
        return value

    def _named(self, table: Table, key: str, where: str) -> str:
        name = text(table.get(key))
        if not name:
            raise DataError(f"{self._name}: {where}: one has no name ({key!r}); name it")
        return name

    def _bad(self, where: str, wanted: str) -> DataError:
        return DataError(
            f"{self._name} is no archive of evaluation tables: {where} should be {wanted}"
        )

    def _note_unknown(self, table: Table, known: set[str], where: str) -> None:
        self.found.unknown += [f"{where}: {key!r}" for key in table if key not in known]

    @staticmethod
    def _with(table: Table, **readers: Any) -> Table:
        """A copy with these fields, where there are such, as their readers return them."""
        changed = {key: read(table[key]) for key, read in readers.items() if table.get(key)}
        return {**table, **changed}


def _identity(model: str, row: Mapping[str, Any]) -> tuple[str, str, str]:
    run = row.get("run")
    run_id = text(run.get("id")) if isinstance(run, dict) else ""
    paper = text(row.get("paper_url")) or text(row.get("paper_title"))
    return (model.casefold(), paper, run_id)
