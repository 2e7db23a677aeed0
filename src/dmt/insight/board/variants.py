"""Which data set a run's figure is of: a known one by its content, else one of its own.

A name decides nothing: a folder called CIFAR-10 is not CIFAR-10.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from dmt.insight.board.archive import shipped
from dmt.insight.board.entries import Table
from dmt.records import Summary

_SHORT = 8


def digest(lines: Iterable[str]) -> str:
    """SHA-256 over lines of any characters: each after its length, as in `data.json`."""
    found = hashlib.sha256()
    for line in lines:
        content = line.encode()
        found.update(len(content).to_bytes(8, "little") + content)
    return found.hexdigest()


def content_hash(data: Mapping[str, Any]) -> str:
    """Of all images, classes and labels in a `data.json`, whichever part each fell into."""
    head = [data["layout"], *data["classes"], data["labels"]]
    return digest([*head, *_sorted(data["files"])])


def judged_hash(data: Mapping[str, Any], folds: int) -> str:
    """Of the images a run was judged by: its test part, or with folds every labeled image."""
    part = "labeled" if folds else "test"
    return digest(_sorted(entry for entry in data["files"] if entry[3] == part))


def variant_of(data: Mapping[str, Any], summary: Summary, folds: int) -> Table:
    """The data set that a run's rows belong to.

    Args:
        data: its `data.json`.
        summary: its outcome.
        folds: how many times it was trained in turn, 0 if once.

    Returns:
        A data set of an evaluation table, without rows. Its name tells the content apart from all
        other content, the judged images from all others, and how many labels were learned from.
    """
    content, judged = content_hash(data), judged_hash(data, folds)
    known = next((each for each in shipped("data_sets.json") if each["content"] == content), None)
    own = digest([content, judged])[:_SHORT]
    parts = [known["name"] if known else f"{data['name']} ({own})"]
    is_usual = known is None or known["judged"] == judged
    if not is_usual:
        parts.append(f"judged on {judged[:_SHORT]}")
    if folds:
        parts.append(f"{folds} folds")
    unit = "labels" if summary.task == "classification" else "labeled images"
    parts.append(f"{summary.labeled} {unit}")
    told = (
        f"Told from others by its content ({content[:_SHORT]}) and by the images judged "
        f"({judged[:_SHORT]}), not by its name."
    )
    return {
        "dataset": ", ".join(parts),
        "description": (known["description"] if known else told)
        + ("" if is_usual else " Which images were judged here, the hash in the name tells."),
        "dataset_links": known["links"] if known else [],
        "dataset_citations": [],
        "subdatasets": [],
    }


def _sorted(files: Iterable[Iterable[Any]]) -> list[str]:
    return sorted("\0".join(map(str, list(entry)[:3])) for entry in files)
