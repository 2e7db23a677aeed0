"""What a run writes and what pages read: the folder's names, the record types, atomic writes.

No torch here: pages and `dmt report` must start without it. Nothing else writes records.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dmt.errors import RunError
from dmt.records.events import fault_in
from dmt.records.links import refuse_links
from dmt.records.writing import append_line
from dmt.records.writing import write_bytes as write_bytes  # records are what others write, too
from dmt.records.writing import write_text as write_text

CONFIG = "config.yaml"
DATA = "data.json"
METRICS = "metrics.jsonl"
SUMMARY = "summary.json"
REPORT = "report.html"
DATA_STAGE = "data"  # in which a run looks at its data, before it trains


class Record(BaseModel):
    """Base of the record types: unknown fields are an error, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


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

    Counted are images, or pixels in a segmentation. `known`: those of the pool that truly are of
    this class, as far as that is known; `recall`: the fraction of them that was called so.
    """

    name: str
    predicted: int
    selected: int
    accuracy: float | None = Field(description="fraction of the selected; null: unknown")
    known: int = 0
    recall: float | None = None


class DetectionScore(Record):
    """How well a score puts wrong pseudo labels before right ones: of all labels, and of those
    that were selected. Fractions; null where there are none of one of the two kinds."""

    ap: float | None = None
    auroc: float | None = None
    ap_selected: float | None = None
    auroc_selected: float | None = None


class Gain(Record):
    """By how much a score's average precision is above that of the teacher's confidence, as a
    fraction, with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


class ErrorDetection(Record):
    """What finds a teacher's wrong pseudo labels, on a sample of the pool of which the truth is
    known. Counted are images, or pixels in a segmentation; `core.error_scores` names the scores.

    `num_blocks`: how many observations the intervals of `gains` rest on.
    """

    num_images: int
    num_blocks: int
    num_labels: int
    num_wrong: int
    num_selected: int
    num_selected_wrong: int
    scores: dict[str, DetectionScore]
    gains: dict[str, Gain] = {}


class RoundRecord(Record):
    """What one round did. Figures of the labeling are means over its teachers.

    `peers` gives the metric in % after the round on the validation part, by peer; null without one.
    `selected` counts `unit`. `error_detection` is by teacher; empty where no hidden label is known.
    """

    round: int
    label_fraction: float | None
    selected: int
    pseudo_label_accuracy: float | None
    peers: dict[str, float | None]
    unit: Literal["images", "pixels"] = "images"
    error_detection: dict[str, ErrorDetection] = {}


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


class Alarm(Record):
    """Something that looks wrong with a run or its data, and what to do about it.

    `stage` is where it was seen, `data` before training; `about` names the classes or images it
    is about, `kind` is one of those in `docs/alarms.md`.
    """

    kind: str
    stage: str
    message: str
    remedy: str
    about: list[str] = []


class Summary(Record):
    """`summary.json`: the outcome of a run. Metrics are in %, an `error` is better when lower.

    Of a run that is `stopped` because it could not go on, `sentence` says why; figures of the
    last table are null or empty, and `images_seen` counts the stages that were finished.
    """

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
    alarms: list[Alarm] = []
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
    found: dict[int, dict[str, ErrorDetection]] = {}
    for event in events:
        if not str(event.get("stage", "")).startswith(prefix) or "round" not in event:
            continue
        number = event["round"]
        if event["event"] == "label":
            labels.setdefault(number, {})[event["teacher"], event["student"]] = event
        elif event["event"] == "error_detection":
            fields = {name: event[name] for name in ErrorDetection.model_fields}
            found.setdefault(number, {})[event["teacher"]] = ErrorDetection(**fields)
        elif event["event"] == "step":
            peers.setdefault(number, {}).setdefault(event["peer"], None)
        elif event["event"] == "evaluate" and event["split"] == "val":
            peers.setdefault(number, {})[event["peer"]] = event["value"]
    return [
        _round_record(
            number,
            list(labels.get(number, {}).values()),
            peers.get(number, {}),
            dict(sorted(found.get(number, {}).items())),
        )
        for number in sorted(labels.keys() | peers.keys())
    ]


def _round_record(
    number: int,
    labels: Sequence[Mapping[str, Any]],
    peers: dict[str, float | None],
    found: dict[str, ErrorDetection],
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
        error_detection=found,
    )


def alarms_in(events: Iterable[Mapping[str, Any]]) -> list[Alarm]:
    """The alarms among the events of `metrics.jsonl`, in order, each statement once."""
    found = {
        event["message"]: Alarm(
            **{name: event[name] for name in Alarm.model_fields if event.get(name) is not None}
        )
        for event in events
        if event["event"] == "alarm"
    }
    return list(found.values())


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
        return parse_json(path.read_bytes().decode())
    except FileNotFoundError as error:
        raise RunError(f"{path.parent} holds no {path.name}: is it a finished run?") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read as JSON: {error}") from error


def parse_json(text: str) -> Any:
    """The JSON value of a text, with numbers that JSON can hold.

    Raises:
        ValueError: it is none, or is nested without end.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("values are nested too deeply") from error


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def first_fault(error: ValidationError) -> str:
    """What is wrong first, in a few words."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'its top level'}: {first['msg']}"


def append_metrics(path: Path, event: dict[str, Any]) -> None:
    """Add one line to `metrics.jsonl`. Events: see `docs/run-folder.md`."""
    line = json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n"
    append_line(path, line.encode())


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """Every event of `metrics.jsonl`; a last line cut short by a crash is left out.

    Raises:
        RunError: the file cannot be read, or a line of it is no event.
    """
    if not path.exists():
        return
    try:
        with path.open("rb") as file:  # bytes, since the cut may go through a letter
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return
                try:
                    event = _event(line)
                except ValueError as error:
                    raise RunError(
                        f"{path} cannot be read (line {number}: {error}); mend or remove the line, "
                        "then ask again"
                    ) from error
                yield event
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from error


def _event(line: bytes) -> Any:
    """The event in a line.

    Raises:
        ValueError: it is none.
    """
    event = parse_json(line.decode())
    if fault := fault_in(event):
        raise ValueError(fault)
    return event


def is_finished(run: Path) -> bool:
    """Whether the run in this folder came to its end.

    Raises:
        RunError: there is a summary that cannot be read.
    """
    return (run / SUMMARY).exists() and read_summary(run).status == "finished"


def read_summary(run: Path) -> Summary:
    """The summary of a run that finished, or that could not go on.

    Raises:
        RunError: `run` is no run, has no summary yet, or was written by another version.
    """
    refuse_links(run)
    if not run.is_dir() or not (run / CONFIG).is_file():
        raise RunError(f"{run} is no run: it has no {CONFIG}; give the folder of a run")
    try:
        return Summary.model_validate(read_json(run / SUMMARY))
    except ValidationError as error:
        raise RunError(
            f"{run / SUMMARY} does not fit this version of dmt ({first_fault(error)}); read it "
            "with the version that wrote it"
        ) from error
