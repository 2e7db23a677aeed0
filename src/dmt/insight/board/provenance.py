"""What stands behind a measured row: everything needed to repeat the run. Checks no run itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from dmt.errors import DataError
from dmt.records import Difference, ImagesSeen, Record


class DataFacts(Record):
    """Which images a run used. `content` and `judged` are hashes that no split or seed changes.

    `sha256` is the whole fingerprint of `data.json`, `content` of all images, classes and labels,
    `judged` of the images that the figure is from.
    """

    name: str
    layout: str
    classes: list[str]
    sha256: str
    content: str
    judged: str
    parts: dict[str, int]


class Provenance(Record):
    """The run behind a row. `model`: which of its models the row is of; metrics are in %."""

    version: Literal[1] = 1
    id: str
    model: str
    date: str | None
    sentence: str
    method: str
    seed: int
    supervised: float | None
    interval: Difference | None
    held_out: str
    num_held_out: int
    images_seen: ImagesSeen
    seconds: float
    data: DataFacts
    settings: dict[str, Any]
    versions: dict[str, str]
    hardware: str
    notes: list[str]


def read_provenance(value: Any, path: Path) -> Provenance:
    """The record in a row of `data/runs/`.

    Raises:
        DataError: it is none of this version.
    """
    try:
        return Provenance.model_validate(value)
    except ValueError as error:
        raise DataError(
            f"{path} was not written by dmt board submit of this version; remove it and submit "
            "the run again"
        ) from error
