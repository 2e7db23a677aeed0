"""Archives in and out: what is kept, what is refused by row, what survives a round trip."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from sample_board import archive, row, write_archive, write_board_run

from dmt.errors import DataError, SettingError
from dmt.insight.board.archive import merge, shipped
from dmt.insight.board.entries import Reader
from dmt.insight.board.pages import build
from dmt.insight.board.store import add_run, export_file, import_file, read_board, read_data
from dmt.insight.board.submit import read_submission
from dmt.records import read_json, write_json


@pytest.fixture
def board(tmp_path: Path) -> Path:
    folder = tmp_path / "board"
    build(folder, read_board(folder))
    return folder


def test_the_published_figures_are_whole_and_have_sources() -> None:
    found = Reader().read(shipped("published.json"), "published.json")
    assert found.faults == []
    assert found.unknown == []
    values = {(e.dataset, e.model): e.values for e in found.entries}
    assert values["CIFAR-10, 4000 Labels", "DMT (WRN-28-2)"]["Percentage error"] == ("5.79", 5.79)
    assert values["PASCAL VOC 2012, 1/106 labeled", "DMT (DeepLab-v2)"]["Mean IoU"][1] == 63.04
    assert values["Cityscapes, 1/8 labeled", "CutMix (DeepLab-v2)"]["Mean IoU"][1] == 60.34
    known = {paper["url"] for paper in shipped("papers.json")}
    for entry in found.entries:
        assert entry.row["paper_url"] in known or entry.model == "SegKC"
        both = [entry.values[name][1] for name in ("Percentage error", "Accuracy")
                if name in entry.values]  # fmt: skip
        assert len(both) < 2 or sum(both) == pytest.approx(100)


@pytest.mark.parametrize(
    ("bad", "part"),
    [
        (row("x"), "has no metric"),
        (row("x", Accuracy=None), "has no metric"),
        ({"model_name": "x"}, "has no metric"),
        ({"metrics": {"Accuracy": "3"}}, "names no model"),
        (row("x", Accuracy="very good"), "its Accuracy, 'very good', is no number"),
        (row("x", Accuracy="3", Time="4h"), "its Time, '4h', is no number"),
        (row("good", Accuracy="91"), "a duplicate: its Accuracy stands there already"),
        (row("GOOD", Accuracy="90.0"), "a duplicate"),
        ("a text", "it is no object"),
    ],
)
def test_a_row_that_cannot_be_is_named_and_the_rest_is_kept(bad: Any, part: str) -> None:
    tables = archive(row("good", Accuracy="90"), bad, row("fine", Accuracy="80"))
    before = deepcopy(tables)
    found = Reader().read(tables, "f.json")
    assert len(found.faults) == 1
    assert found.faults[0].startswith("row 2 of 'Pets' (Naming)")
    assert part in found.faults[0]
    assert [entry.model for entry in found.entries] == ["good", "fine"]
    assert len(found.tables[0]["datasets"][0]["sota"]["rows"]) == 2
    assert tables == before


@pytest.mark.parametrize(
    "value",
    [{}, "x", [3], [{"task": ""}], [{"task": "a", "datasets": {"b": 1}}],
     [{"task": "a", "datasets": [{"dataset": None}]}],
     [{"task": "a", "datasets": [{"dataset": "b", "sota": [1]}]}],
     [{"task": "a", "datasets": [{"dataset": "b", "sota": {"rows": "no"}}]}]],
)  # fmt: skip
def test_what_is_no_archive_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match=r"^f\.json"):
        Reader().read(value, "f.json")


def test_tasks_within_tasks_without_end_are_refused() -> None:
    tables = archive(row("x", Accuracy="1"))
    for level in range(30):
        tables = [{"task": f"t{level}", "subtasks": tables}]
    with pytest.raises(DataError, match="nested more than 20 deep"):
        Reader().read(tables, "f.json")


def test_rows_of_subtasks_and_of_parts_of_data_sets_are_found() -> None:
    inner = archive(row("x", Accuracy="1"), dataset="part")[0]["datasets"]
    tables = [{"task": "all", "datasets": [{"dataset": "whole", "subdatasets": inner}],
               "subtasks": archive(row("y", Accuracy="2"), task="some")}]  # fmt: skip
    found = Reader().read(tables, "f.json")
    assert [(e.task, e.dataset, e.model) for e in found.entries] == [
        ("all", "part", "x"), ("some", "Pets", "y")
    ]  # fmt: skip


def test_a_round_trip_changes_nothing_and_names_fields_that_nobody_knows(
    board: Path, tmp_path: Path
) -> None:
    strange = row("x", Accuracy="90", F1=0.5) | {"speed": {"fps": [1, None]}}
    tables = archive(strange, row("y", Accuracy="80 ± 1"), colour="red")
    tables[0]["level"] = 3
    tables[0]["datasets"][0]["sota"]["unit"] = "%"
    write_json(tmp_path / "in.json", tables)
    done = import_file(board, tmp_path / "in.json")
    assert (done.num_new, done.num_known, done.faults) == (2, 0, [])
    assert done.unknown == [
        "task 'Naming': 'level'",
        "'Pets' of 'Naming': 'colour'",
        "sota of 'Pets' of 'Naming': 'unit'",
        "row 1 of 'Pets' (Naming): 'speed'",
    ]
    export_file(board, tmp_path / "out.json")
    out = {table["task"]: table for table in read_json(tmp_path / "out.json")}
    assert out["Naming"] == tables[0]
    for table in shipped("published.json"):
        assert out[table["task"]] == table


def test_what_was_exported_is_nothing_new_but_a_changed_value_is_a_duplicate(
    board: Path, tmp_path: Path
) -> None:
    import_file(board, write_archive(tmp_path / "a.json", row("x", Accuracy="90")))
    export_file(board, tmp_path / "out.json")
    with pytest.raises(DataError, match="nothing new"):
        import_file(board, tmp_path / "out.json")
    before = (board / "data" / "results.json").read_bytes()
    again = write_archive(tmp_path / "b.json", row("x", Accuracy="91"))
    assert "stands on the board already, as 90" in import_file(board, again).faults[0]
    more = write_archive(tmp_path / "c.json", row("x", Accuracy="90", F1="1"))
    assert "a duplicate" in import_file(board, more).faults[0]
    assert (board / "data" / "results.json").read_bytes() == before
    with pytest.raises(SettingError, match=r"out\.json exists"):
        export_file(board, tmp_path / "out.json")


def test_a_run_of_another_board_is_a_claim_on_this_one(board: Path, tmp_path: Path) -> None:
    found = read_submission(write_board_run(tmp_path / "run"))
    add_run(board, found.run_id, found.tables)
    assert sum(entry.is_measured for entry in read_board(board).entries) == 2
    with pytest.raises(SettingError, match="on the board already"):
        add_run(board, found.run_id, found.tables)
    export_file(board, tmp_path / "out.json")
    other = tmp_path / "other"
    build(other, read_board(other))
    done = import_file(other, tmp_path / "out.json")
    assert done.num_new == 2
    assert done.num_known == len(read_board(tmp_path / "none").entries)
    assert not any(entry.is_measured for entry in read_board(other).entries)
    models = [entry.model for entry in read_board(other).entries]
    assert "dmt (wrn_10_1)" in models


def test_a_run_s_file_that_somebody_else_wrote_is_refused(board: Path) -> None:
    (board / "data" / "runs").mkdir(parents=True)
    write_archive(board / "data" / "runs" / "x.json", row("x", Accuracy="99") | {"run": {"id": 1}})
    with pytest.raises(DataError, match="was not written by dmt board submit"):
        read_board(board)


def test_words_that_differ_are_told() -> None:
    mine = archive(row("x", Accuracy="1"), description="mine", links=[1])
    theirs = archive(row("y", Accuracy="2"), description="theirs", links=[2])
    merged, lost = merge(mine, theirs)
    table = merged[0]["datasets"][0]
    assert table["description"] == "mine"
    assert table["links"] == [1, 2]
    assert lost == ["'Pets': 'description'"]
    assert [each["model_name"] for each in table["sota"]["rows"]] == ["x", "y"]
    twice, _ = merge([*mine, *theirs], [])
    assert [each["model_name"] for each in twice[0]["datasets"][0]["sota"]["rows"]] == ["x", "y"]


def test_a_folder_of_archives_is_read_and_an_empty_one_refused(tmp_path: Path) -> None:
    write_archive(tmp_path / "a.json", row("x", Accuracy="1"))
    write_archive(tmp_path / "b.json", row("y", Accuracy="2"))
    assert len(read_data(tmp_path).entries) == 2
    (tmp_path / "empty").mkdir()
    for path, part in ((tmp_path / "empty", "holds no archive"), (tmp_path / "no", "no file")):
        with pytest.raises(DataError, match=part):
            read_data(path)
    (tmp_path / "c.json").write_text(json.dumps([1])[:-1])
    with pytest.raises(DataError, match="cannot be read as JSON"):
        read_data(tmp_path)
