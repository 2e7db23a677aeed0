"""How the command's sentences reach a terminal and a file."""

from __future__ import annotations

import sys

import pytest

from dmt.commands.printing import print_paragraph

TEXT = "The unlabeled images helped:\x1b[31m error fell from 12.3 % to 8.1 % on 357 images."


@pytest.mark.parametrize("columns", [40, 200])
def test_a_terminal_gets_lines_that_break_between_words(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    print_paragraph(TEXT, indent=4)
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert all(len(line) <= columns for line in lines)
    assert len(lines) == (1 if columns == 200 else 3)
    assert all(line.startswith("    ") for line in lines[1:])
    assert " ".join(out.split()) == TEXT.replace("\x1b", "\\x1b")


def test_a_file_gets_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_paragraph(TEXT * 9, indent=4)
    assert capsys.readouterr().out.count("\n") == 1
