"""What commands take alike: common options, and the key=value words of one that takes few keys.
Those of a run are read by `config`."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from dmt.errors import SettingError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Words = Annotated[list[str] | None, typer.Argument(help="key=value …")]
RunPath = Annotated[Path, typer.Argument(help="The folder that `dmt train` made.")]

FOLLOW_LINKS = "data.follow_links"


def read_options(words: Sequence[str], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `defaults` with those that words change.

    Raises:
        SettingError: an unknown key (with the nearest one), or a value that a key does not take.
    """
    values = dict(defaults)
    for word in words:
        key, separator, text = word.partition("=")
        if key not in defaults:
            near = difflib.get_close_matches(key, defaults, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(defaults)}"
            what = f"unknown setting {key!r}" if separator else f"{word!r} is no setting"
            raise SettingError(f"{what}; {hint}")
        if isinstance(defaults[key], bool):
            if text not in {"true", "false"}:
                raise SettingError(f"{word} does not work; {key} takes true or false")
            values[key] = text == "true"
        else:
            values[key] = text
    return values


def paths_and_words(given: Sequence[str]) -> tuple[list[str], list[str]]:
    """Files and folders, whatever they are called, and key=value settings."""
    paths: list[str] = []
    words: list[str] = []
    for word in given:
        (paths if "=" not in word or os.path.exists(word) else words).append(word)
    return paths, words
