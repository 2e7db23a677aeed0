"""Running the command inside a test's own process, and how a refusal must look. No tests here."""

from __future__ import annotations

import contextlib
import io
import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dmt.cli import run_command


class Outcome(NamedTuple):
    """What one command came to."""

    code: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        """The one JSON object on stdout."""
        return json.loads(self.out)

    @property
    def sentence(self) -> str:
        """The last line on stderr, which says what was wrong."""
        return self.err.rstrip("\n").rsplit("\n", 1)[-1]


def call(*words: object) -> Outcome:
    """Run `dmt words…` in this process, as the entry point does."""
    out, err = io.StringIO(newline=""), io.StringIO(newline="")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_command([str(word) for word in words])
    return Outcome(code, out.getvalue(), err.getvalue())


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def is_harmless(text: str) -> bool:
    """Whether a terminal shows this as one line, and obeys nothing in it."""
    turns = range(0x202A, 0x202F), range(0x2066, 0x206A)
    return not any(
        unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") or any(ord(each) in t for t in turns)
        for each in text
    )


def refused(command: str, words: Sequence[object], *parts: str) -> str:
    """Run `dmt command words…`, check that it was refused in one sentence, and return that.

    Args:
        command: which.
        words: its arguments.
        parts: what the sentence must hold.
    """
    outcome = call(command, *words)
    assert outcome.code == 2, (outcome.code, outcome.err)
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    sentence = outcome.sentence
    assert sentence.startswith("dmt: "), outcome.err
    assert len(sentence) > len("dmt: ")
    assert is_harmless(sentence), repr(sentence)
    for part in parts:
        assert part in sentence, sentence
    return sentence
