"""What every page is made with: the templates, the style and the script. No content."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_TEMPLATES = Path(__file__).parent / "templates"


def templates() -> Environment:
    """The templates, which escape every value and fail at one that is missing."""
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page_parts(*styles: str) -> dict[str, str]:
    """Style, script and the script's hash for the page's own policy; `styles` beyond the common."""
    script = (_TEMPLATES / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    sheets = ("report.css", *styles)
    return {
        "style": "".join((_TEMPLATES / name).read_text(encoding="utf-8") for name in sheets),
        "script": script,
        "script_hash": f"sha256-{digest}",
    }
