"""What every page of ours is made with: templates that escape, its style, its script by hash."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_TEMPLATES = Path(__file__).parent / "templates"


class Script(NamedTuple):
    """A page's script and the hash by which alone the page lets it run."""

    text: str
    hash: str


def environment() -> Environment:
    """Templates in `templates/` in which every value is escaped and none may be missing."""
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def style(*names: str) -> str:
    """Style sheets in `templates/`, one after the other."""
    return "\n".join(_read(name) for name in names)


def script(*names: str) -> Script:
    """Scripts in `templates/`, one after the other."""
    text = "\n".join(_read(name) for name in names)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Script(text, f"sha256-{digest}")


def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
