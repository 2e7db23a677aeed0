"""The report's lists of names and values: settings, data, machine. No figures, no HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import yaml

from dmt.insight import numbers
from dmt.records import Summary


def list_settings(settings: dict[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """`config.yaml` by section, keys dotted as on the command line."""
    plain = [(key, _yaml(v)) for key, v in settings.items() if not isinstance(v, dict)]
    sections = [("run", plain)] if plain else []
    for key, value in settings.items():
        if isinstance(value, dict):
            sections.append((str(key), _flat(str(key), value)))
    return sections


def _flat(prefix: str, value: dict[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for key, item in value.items():
        name = f"{prefix}.{key}"
        rows += _flat(name, item) if isinstance(item, dict) else [(name, _yaml(item))]
    return rows


def _yaml(value: Any) -> str:
    if value is None:
        return "none"
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
    return text.removesuffix("...\n").strip()


def list_data(data: dict[str, Any], classes: Sequence[str]) -> list[tuple[str, str]]:
    """`data.json`: name, layout, images by part, classes, hash."""
    parts = Counter(str(entry[-1]) for entry in data.get("files") or [] if entry)
    if data.get("pool"):  # a large pool, which is told by its shards
        parts["unlabeled"] += int(data.get("num") or 0) - parts.total()
    rows = [
        ("name", str(data.get("name") or numbers.NONE)),
        ("layout", str(data.get("layout") or numbers.NONE)),
        *((f"{part} images", numbers.count(num)) for part, num in parts.items()),
        (f"{len(classes)} classes", ", ".join(classes)),
        ("SHA-256 over all", str(data.get("sha256") or numbers.NONE)),
    ]
    return rows if data else rows[-2:-1]


def list_machine(summary: Summary) -> list[tuple[str, str]]:
    """Hardware, versions, seed."""
    return [("hardware", summary.hardware), *summary.versions.items(), ("seed", str(summary.seed))]
