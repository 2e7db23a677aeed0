"""The command's edges that need no run: exit codes, key=value words, what reaches a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from dmt import cli
from dmt.cli import run_command
from dmt.commands import printing
from dmt.commands.options import read_options
from dmt.errors import DataError, DmtError, Interrupted, SettingError


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (DataError("there is no image"), 2, "dmt: there is no image\n"),
        (Interrupted("stopped by SIGTERM", 15), 143, "dmt: stopped by SIGTERM\n"),
        (Interrupted("stopped by SIGINT", 2), 130, "dmt: stopped by SIGINT\n"),
        (KeyboardInterrupt(), 130, "dmt: stopped by Ctrl-C\n"),
        (MemoryError(), 2, "dmt: out of memory; give a smaller batch_size="),
        (RuntimeError("CUDA out of memory. Tried"), 2, "dmt: out of memory; give a smaller"),
        (OSError(28, "No space left", "f"), 2, "dmt: the disk does not do what is asked of it (f)"),
        (OSError(9, "Bad file descriptor"), 1, "dmt: a fault of ours: OSError: [Errno 9] Bad file"),
        (KeyError("x"), 1, "dmt: a fault of ours: KeyError: 'x' (--debug shows where)\n"),
    ],
)
def test_outcome_is_an_exit_code(
    error: BaseException, code: int, sentence: str, monkeypatch, capsys
) -> None:
    def fail(**_: Any) -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    assert run_command(["train"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(sentence)
    assert err.count("\n") == 1


@pytest.mark.parametrize("error", [DataError("there is no image"), KeyError("x")])
def test_debug_shows_the_traceback(error: Exception, monkeypatch, capsys) -> None:
    def fail(**_: Any) -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    run_command(["train", "--debug"])
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.rstrip().rsplit("\n", 1)[-1].startswith("dmt: ")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["frobnicate"], "No such command 'frobnicate'; see `dmt --help`"),
        (["train"], "see `dmt train --help`"),
        (["doctor", "a"], "see `dmt doctor --help`"),
        (["train", "--jsn"], "--jsn"),
        (["demo", "cats"], "there is no demo 'cats'; there are digits and shapes"),
    ],
)
def test_wrong_command_line(words: list[str], part: str, capsys) -> None:
    assert run_command(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert part in err
    assert err.startswith("dmt: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["--help"], ["train", "--help"], ["predict", "--help"]])
def test_help(words: list[str], capsys) -> None:
    assert run_command(words) == 0
    assert "Usage: dmt" in capsys.readouterr().out


def test_keys_are_listed_with_their_meaning(capsys) -> None:
    assert run_command(["train", "x", "--list-keys"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "seed=0" in lines
    assert any(line.startswith("student.lr=0.05  # learning rate") for line in lines)


DEFAULTS = {"out": None, "device": "auto", "trust_code": False}


@pytest.mark.parametrize(
    ("words", "changed"),
    [
        ([], {}),
        (["device=cuda:1"], {"device": "cuda:1"}),
        (["trust_code=true"], {"trust_code": True}),
        (["trust_code=false"], {"trust_code": False}),
        (["out=a=b.csv"], {"out": "a=b.csv"}),
        (["out=12"], {"out": "12"}),
        (["out=[1].csv"], {"out": "[1].csv"}),
    ],
)
def test_options(words: list[str], changed: dict[str, Any]) -> None:
    assert read_options(words, DEFAULTS) == DEFAULTS | changed


@pytest.mark.parametrize(
    ("word", "part"),
    [
        ("devise=cpu", "unknown setting 'devise'; did you mean device?"),
        ("zzz=1", "unknown setting 'zzz'; there is out, device, trust_code"),
        ("zzz", "'zzz' is no setting"),
        ("trust_code=3", "trust_code=3 does not work; trust_code takes true or false"),
        ("trust_code", "trust_code does not work; trust_code takes true or false"),
    ],
)
def test_options_that_are_refused(word: str, part: str) -> None:
    with pytest.raises(DmtError) as error:
        read_options([word], DEFAULTS)
    assert part in str(error.value)
    assert isinstance(error.value, SettingError)


def test_printing_shows_control_characters_instead_of_obeying_them(capsys) -> None:
    printing.print_line("a\x1b[31mb\nc\u202ed ü 猫")
    assert capsys.readouterr().out == "a\\x1b[31mb\\nc\\u202ed ü 猫\n"


def test_json_keeps_letters_and_refuses_nan(capsys) -> None:
    printing.print_json({"name": "Größe 猫"})
    assert json.loads(capsys.readouterr().out) == {"name": "Größe 猫"}
    with pytest.raises(ValueError, match="JSON compliant"):
        printing.print_json({"value": float("nan")})


@pytest.mark.parametrize(("rank", "talks"), [(None, True), ("0", True), ("1", False)])
def test_one_rank_talks(rank: str | None, talks: bool, monkeypatch) -> None:
    if rank is None:
        monkeypatch.delenv("RANK", raising=False)
    else:
        monkeypatch.setenv("RANK", rank)
    assert cli._is_first_rank() == talks


def test_reader_that_goes_away_is_no_fault() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "dmt", "train", "x", "--list-keys"],
            stdout=gone, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0
    assert done.stderr == ""
