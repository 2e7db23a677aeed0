"""What a run writes and what pages read: the folder's names, the record types, atomic writes.

No torch here: pages and `dmt report` must start without it. Nothing else writes records.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dmt.errors import RunError

CONFIG = "config.yaml"
DATA = "data.json"
METRICS = "metrics.jsonl"
SUMMARY = "summary.json"
REPORT = "report.html"


class Record(BaseModel):
    """Base of the record types: unknown fields are an error, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Difference(Record):
    """`method − supervised` in points of the metric, and how sure we are of it.

    `low` and `high` bound the 95 % interval; `p_value` is the exact McNemar test's. `num_blocks`:
    how many observations the images of a segmentation count for, null for a classification.
    """

    value: float
    low: float
    high: float
    p_value: float | None
    num_images: int
    num_blocks: int | None = None


class ClassSelection(Record):
    """One class of one labeling: what was predicted, what was kept, what of it is true.

    Counted are images, or pixels in a segmentation.
    """

    name: str
    predicted: int
    selected: int
    accuracy: float | None = Field(description="fraction of the selected; null: unknown")


class RoundRecord(Record):
    """What one round did. Figures of the labeling are means over its teachers.

    `peers` gives the metric in % after the round on the validation part, by peer; null without one.
    `selected` counts `unit`.
    """

    round: int
    label_fraction: float | None
    selected: int
    pseudo_label_accuracy: float | None
    peers: dict[str, float | None]
    unit: Literal["images", "pixels"] = "images"


class Confusion(Record):
    """`counts[i][j]`: how many of true class i were called class j by `model`."""

    model: str
    split: str
    counts: list[list[int]]


class ModelScores(Record):
    """What a segmentation of the held-out images by `model` is worth, in %.

    `iou` is by class, in the order of `Summary.classes`; null: absent from truth and prediction.
    """

    model: str
    pixel_accuracy: float
    iou: list[float | None]


class ImagesSeen(Record):
    """Images that went through a network. `trained`: forward and backward, all models but the
    baseline and oracle, round 0 included. `forward_only`: weighting, labeling and evaluation."""

    trained: int
    forward_only: int
    baseline: int
    oracle: int


class Summary(Record):
    """`summary.json`: the outcome of a run. Metrics are in %, an `error` is better when lower."""

    version: Literal[1] = 1
    status: Literal["finished", "stopped"]
    task: Literal["classification", "segmentation"]
    dataset: str
    method: str
    schedule: Literal["pair", "chain"]
    metric: Literal["error", "miou"]
    held_out: str = Field(description="which images the final table is made from, in words")
    num_held_out: int
    supervised: float | None
    supervised_ensemble: float | None
    peers: dict[str, float | None]
    ensemble: float | None
    headline: Literal["a", "b", "ensemble", "supervised"]
    oracle: float | None
    gap_closed: float | None
    verdict: Literal["helped", "hurt", "unclear", "none"]
    sentence: str
    interval: Difference | None
    images_seen: ImagesSeen
    rounds: list[RoundRecord]
    classes: list[str]
    confusion: list[Confusion]
    scores: list[ModelScores] = Field([], description="of a segmentation, by model")
    unlabeled_classes: list[str] = Field([], description="classes without any labeled pixel")
    seconds: float
    images_per_second: float
    labeled: int
    unlabeled: int
    seed: int
    versions: dict[str, str]
    hardware: str
    command: str
    alarms: list[str] = []
    notes: list[str] = []


def round_records(events: Iterable[Mapping[str, Any]], fold: str = "") -> list[RoundRecord]:
    """One record a round, from the events of `metrics.jsonl`.

    Args:
        events: all of them or those so far; of a line that was written again after a resume, the
            later one counts.
        fold: whose rounds; empty for those of the run itself.
    """
    prefix = f"fold{fold}/round" if fold else "round"
    labels: dict[int, dict[tuple[str, str], Mapping[str, Any]]] = {}
    peers: dict[int, dict[str, float | None]] = {}
    for event in events:
        if not str(event.get("stage", "")).startswith(prefix) or "round" not in event:
            continue
        number = event["round"]
        if event["event"] == "label":
            labels.setdefault(number, {})[event["teacher"], event["student"]] = event
        elif event["event"] == "step":
            peers.setdefault(number, {}).setdefault(event["peer"], None)
        elif event["event"] == "evaluate" and event["split"] == "val":
            peers.setdefault(number, {})[event["peer"]] = event["value"]
    return [
        _round_record(number, list(labels.get(number, {}).values()), peers.get(number, {}))
        for number in sorted(labels.keys() | peers.keys())
    ]


def _round_record(
    number: int, labels: Sequence[Mapping[str, Any]], peers: dict[str, float | None]
) -> RoundRecord:
    accuracies = [event["pseudo_label_accuracy"] for event in labels]
    known = [value for value in accuracies if value is not None]
    num = max(1, len(labels))
    return RoundRecord(
        round=number,
        label_fraction=labels[0]["label_fraction"] if labels else None,
        selected=round(sum(event["selected"] for event in labels) / num),
        pseudo_label_accuracy=sum(known) / len(known) if known else None,
        peers=peers,
        unit=labels[0].get("unit", "images") if labels else "images",
    )


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` whole or not at all: temp file, fsync, rename, fsync of the folder."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RunError(
            f"cannot write {path}: {error.strerror or error}; free some space or check the "
            "folder's permissions, then resume"
        ) from error
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power loss (a no-op where folders cannot be opened)."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` for UTF-8 text."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """`write_bytes` for a JSON value or a record."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The JSON value in `path`.

    Raises:
        RunError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"{path.parent} holds no {path.name}: is it a finished run?") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read as JSON: {error}") from error


def append_metrics(path: Path, event: dict[str, Any]) -> None:
    """Add one line to `metrics.jsonl`. Events: see `docs/run-folder.md`."""
    line = json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        with path.open("ab+") as file:
            _cut_unfinished_line(file)
            file.write(line.encode())
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error


def _cut_unfinished_line(file: IO[bytes]) -> None:
    """Drop what a crash left after the last line break, so that the next line is one of its own."""
    end = size = file.seek(0, os.SEEK_END)
    while end:
        file.seek(end - 1)
        if file.read(1) == b"\n":
            break
        end -= 1
    if end < size:
        file.truncate(end)


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """Every event of `metrics.jsonl`; a last line cut short by a crash is left out."""
    if not path.exists():
        return
    with path.open("rb") as file:  # bytes, since the cut may go through a letter
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)


def read_summary(run: Path) -> Summary:
    """The summary of a finished run.

    Raises:
        RunError: `run` is no run, did not finish, or was written by another version.
    """
    if not run.is_dir() or not (run / CONFIG).is_file():
        raise RunError(f"{run} is no run: it has no {CONFIG}; give the folder of a run")
    try:
        return Summary.model_validate(read_json(run / SUMMARY))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "its top level"
        raise RunError(
            f"{run / SUMMARY} does not fit this version of dmt ({where}: {first['msg']}); read "
            "it with the version that wrote it"
        ) from error
