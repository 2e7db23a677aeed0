"""`dmt board`: what it prints, where it writes, and how it refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from commands import call, refused, tree

sys.path.insert(0, str(Path(__file__).parents[1] / "insight"))
from sample_board import archive, row, spoil, write_archive, write_board_run

from dmt.records import SUMMARY, write_json


def test_alone_it_builds_what_comes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = call("board")
    assert outcome.code == 0
    assert outcome.out.endswith("11 leaderboards: board/index.html\n")
    assert (tmp_path / "board" / "index.html").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"board"}
    assert call("board", "--json").value["leaderboards"] == 11


def test_the_way_of_a_run_and_of_an_archive_through_a_board(tmp_path: Path) -> None:
    run, board = write_board_run(tmp_path / "run"), tmp_path / "board"
    before = tree(run)
    outcome = call("board", "submit", run, f"board={board}", "--json")
    assert outcome.code == 0
    assert Path(outcome.value["page"]).is_file()
    assert [each["value"] for each in outcome.value["rows"]] == [
        "Percentage error 16.67", "Percentage error 8.33"
    ]  # fmt: skip
    assert tree(run) == before
    file = write_archive(tmp_path / "a.json", row("x", Accuracy="9") | {"odd": 1})
    outcome = call("board", "import", file, f"board={board}")
    assert outcome.code == 0
    assert "kept, though not known: row 1 of 'Pets' (Naming): 'odd'" in outcome.err
    assert outcome.out.startswith("1 new rows; board: ")
    outcome = call("board", "export", tmp_path / "out.json", f"board={board}")
    assert outcome.out == f"61 rows in {tmp_path / 'out.json'}\n"
    built = tree(board)
    assert call("board", "build", f"out={board}").code == 0
    assert tree(board) == built


def test_pages_that_are_no_more_are_removed_and_nothing_else_is(tmp_path: Path) -> None:
    board = tmp_path / "board"
    file = write_archive(tmp_path / "a.json", row("x", Accuracy="9"))
    call("board", "build", f"out={board}")
    (board / "mine.html").write_text("mine")
    write_json(board / "board.json", {"pages": ["../a.json", "tasks.html", "papers/old.html", 3]})
    (board / "papers" / "old.html").write_text("old")
    call("board", "build", f"out={board}", f"data={file}")
    assert not (board / "papers" / "old.html").exists()
    assert file.is_file()
    assert (board / "mine.html").read_text() == "mine"
    assert (board / "tasks.html").is_file()


def test_rows_left_out_end_in_one_sentence_and_the_rest_is_on_the_board(tmp_path: Path) -> None:
    board = tmp_path / "board"
    rows = [row("x", Accuracy="9"), row("y", Accuracy="soon"), row("z")]
    file = write_archive(tmp_path / "a.json", *rows)
    outcome = call("board", "import", file, f"board={board}")
    assert outcome.code == 2
    assert outcome.sentence.startswith("dmt: 2 rows are left out")
    assert "row 2 of 'Pets' (Naming), 'y': its Accuracy, 'soon', is no number" in outcome.err
    assert "row 3 of 'Pets' (Naming), 'z': it has no metric" in outcome.err
    assert "Pets" in (board / "datasets.html").read_text()
    one = write_archive(tmp_path / "b.json", row("w", Accuracy="7"), row("v"))
    outcome = call("board", "build", f"out={tmp_path / 'other'}", f"data={one}")
    assert outcome.code == 2
    assert "row 2 of 'Pets' (Naming), 'v': it has no metric; this row is left" in outcome.sentence


@pytest.mark.parametrize("command", ["build", "submit", "import"])
def test_other_folders_and_files_are_never_written_into(command: str, tmp_path: Path) -> None:
    run = write_board_run(tmp_path / "run")
    file = write_archive(tmp_path / "a.json", row("x", Accuracy="9"))
    words = {"build": [], "submit": [run], "import": [file]}[command]
    key = "out" if command == "build" else "board"
    before = tree(tmp_path)
    refused("board", [command, *words, f"{key}={run}"], "holds other things")
    refused("board", [command, *words, f"{key}={file}"], "is a file; give a folder")
    assert tree(tmp_path) == before


def test_what_cannot_be_is_refused_in_a_sentence(tmp_path: Path) -> None:
    board, run = tmp_path / "board", write_board_run(tmp_path / "run")
    refused("board", ["submit", tmp_path, f"board={board}"], "is no run")
    refused("board", ["submit", run, "bord=x"], "did you mean board?")
    refused("board", ["build", "out=x", "data=none.json"], "there is no file none.json")
    refused("board", ["export", tmp_path / "x.json", f"board={board}"], "is no board; make one")
    refused("board", ["import", tmp_path / "no.json", f"board={board}"], "there is no file")
    assert not board.exists()
    text = tmp_path / "text.json"
    for content in (b"[", b"\xff", b"{}", b"[3]", b'[{"task": NaN}]', b"[" * 100_000):
        text.write_bytes(content)
        refused("board", ["import", text, f"board={board}"], "text.json")
    spoil(run, SUMMARY, status="stopped")
    refused("board", ["submit", run, f"board={board}"], "could not go on")
    write_json(text, archive(row("x\x1b[31m\n", Accuracy="\x1b[0m")))
    refused("board", ["import", text, f"board={board}"], "is no number")


def test_help_names_every_command() -> None:
    outcome = call("board", "--help")
    assert outcome.code == 0
    for word in ("build", "submit", "import", "export", "claimed"):
        assert word in outcome.out
