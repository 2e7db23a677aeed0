"""What of `data.json` is used after a run began. Who makes it: `data.fingerprint`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dmt.errors import RunError
from dmt.records import DATA, first_fault, read_json


class DataRecord(BaseModel):
    """Fields that are not named here may be there too."""

    model_config = ConfigDict(strict=True)

    name: str
    layout: str
    classes: list[str]
    sha256: str
    labels: str
    files: list[Annotated[tuple[str, int, str, str], Field(strict=False)]]  # JSON has lists
    sizes: dict[str, int | bool]
    bad: list[str] = []
    settings: dict[str, Any] = {}


def read_data(run: Path) -> dict[str, Any]:
    """`data.json` of a run.

    Raises:
        RunError: it is missing, damaged or another version's.
    """
    value = read_json(run / DATA)
    try:
        DataRecord.model_validate(value)
    except ValidationError as error:
        raise RunError(
            f"{run / DATA} was not written by this version of dmt ({first_fault(error)}); put it "
            "back as it was"
        ) from error
    return dict(value)
