"""What the tables of bad input have in common besides fixtures: words, and checks of a refusal.

No tests here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from commands import call, refused, tree

TINY = ("steps=4", "rounds=1", "model=wrn_10_1", "batch_size=8", "data.image_size=16")


def problems_of(data: Path) -> list[dict[str, str]]:
    """What `dmt check` tells of data that can be used."""
    outcome = call("check", data, "--json")
    assert outcome.code == 0, outcome.err
    problems: list[dict[str, str]] = outcome.value["problems"]
    return problems


def refused_untouched(
    command: str, words: Sequence[object], *parts: str, beside: Path | None = None
) -> str:
    """`refused`, with nothing written: the working folder stays empty and `beside` as it was."""
    before = {} if beside is None else tree(beside)
    sentence = refused(command, words, *parts)
    assert os.listdir() == [], "no half-made run stays behind"
    assert beside is None or tree(beside) == before
    return sentence


def named(case: Any) -> str | None:
    """The name of a case in the report of a test run."""
    name = getattr(case, "__name__", None) or getattr(case, "name", None)
    return None if name is None else ascii(name)[1:-1]
