"""A run's folder as rows of the board, after checking that the run is what it says it is.

What is checked: that the run is finished and whole, that its records agree with each other, and
that nothing it was judged by was learned from or chosen by. Where the rows go: `store`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from dmt.errors import RunError
from dmt.insight.board.entries import Table
from dmt.insight.board.provenance import DataFacts, Provenance
from dmt.insight.board.variants import content_hash, digest, judged_hash, variant_of
from dmt.plain_yaml import read_yaml
from dmt.records import (
    CONFIG,
    DATA,
    METRICS,
    SUMMARY,
    Confusion,
    Summary,
    read_json,
    read_metrics,
    read_summary,
)

TASKS = {
    "classification": "Semi-Supervised Image Classification",
    "segmentation": "Semi-Supervised Semantic Segmentation",
}
METRIC_NAMES = {"error": "Percentage error", "miou": "Mean IoU"}
_CLOSE = 1e-6  # points between a figure and its confusion matrix


class Submission(NamedTuple):
    """What a run brings to a board."""

    run_id: str
    tables: list[Table]
    dataset: str
    rows: list[tuple[str, str]]
    """(Model, value)."""


def read_submission(run: Path) -> Submission:
    """Check a run and make its rows: one for a single model, one for both peers together.

    The single model is peer a, always: to take the better peer would be to choose by test labels.

    Raises:
        RunError: it is no run, not finished, of another version, not whole, or was judged by
            images that it learned from or chose by.
    """
    summary = _summary(run)
    data, settings = _data(run), _settings(run)
    _check_records(run, summary, data, settings)
    _check_held_out(run, summary, data, settings)
    folds = settings.get("folds") or 0
    dataset = variant_of(data, summary, folds)
    content = b"".join((run / name).read_bytes() for name in (SUMMARY, CONFIG, DATA))
    run_id = hashlib.sha256(content).hexdigest()[:12]
    rows = []
    for model, value in _models(run, summary):
        provenance = _provenance(run, run_id, model, summary, data, settings)
        rows.append(_row(summary, settings, provenance, value))
    metric = METRIC_NAMES[summary.metric]
    dataset["sota"] = {"metrics": [metric], "rows": rows}
    table = {"task": TASKS[summary.task], "categories": [], "subtasks": [], "datasets": [dataset]}
    shown = [(row["model_name"], f"{metric} {row['metrics'][metric]}") for row in rows]
    return Submission(run_id, [table], dataset["dataset"], shown)


def _summary(run: Path) -> Summary:
    if (run / CONFIG).is_file() and not (run / SUMMARY).exists():
        raise RunError(f"{run} has not finished; dmt resume {run} finishes it")
    summary = read_summary(run)
    if summary.status != "finished":
        raise RunError(f"{run} could not go on ({summary.sentence}); a board takes finished runs")
    return summary


def _data(run: Path) -> dict[str, Any]:
    path = run / DATA
    if not path.exists():
        raise RunError(f"{run} has no {DATA}, so nobody can tell what it was trained on")
    data: dict[str, Any] = read_json(path)
    texts = ("name", "layout", "sha256", "labels")
    is_whole = (
        isinstance(data, dict)
        and all(isinstance(data.get(key), str) for key in texts)
        and isinstance(data.get("classes"), list)
        and isinstance(data.get("files"), list)
        and all(isinstance(entry, list) and len(entry) == 4 for entry in data["files"])
        and all(isinstance(name, str) for name in data["classes"])
    )
    if not is_whole:
        raise RunError(f"{path} was not written by this version of dmt; a board needs all of it")
    if data.get("pool"):
        raise RunError(
            f"{path} tells most unlabeled images by their shards alone (data.large_pool), and a "
            "board wants to know each: it cannot take this run"
        )
    lines = ("\0".join(map(str, entry)) for entry in data["files"])
    if data["sha256"] != digest([data["layout"], *data["classes"], data["labels"], *lines]):
        raise RunError(f"{path} was edited: its hash does not belong to its content")
    return data


def _settings(run: Path) -> dict[str, Any]:
    try:
        settings = read_yaml((run / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{run / CONFIG} cannot be read as YAML: {error}") from error
    if not isinstance(settings, dict):
        raise RunError(f"{run / CONFIG} holds no settings")
    return settings


def _check_records(
    run: Path, summary: Summary, data: Mapping[str, Any], settings: Mapping[str, Any]
) -> None:
    """That the four records of a run tell the same story."""
    if data.get("settings") != settings:
        raise RunError(f"{run / CONFIG} is not what the run was trained with (see {DATA})")
    parts = Counter(entry[3] for entry in data["files"])
    num_judged = parts["labeled"] if settings.get("folds") else parts["test"]
    stated = {
        "labeled": (summary.labeled, parts["labeled"]),
        "unlabeled": (summary.unlabeled, parts["unlabeled"]),
        "held-out": (summary.num_held_out, num_judged),
    }
    for part, (told, listed) in stated.items():
        if told != listed:
            raise RunError(
                f"{run}: {SUMMARY} counts {told} {part} images and {DATA} {listed}; a board takes "
                "a run as it was written"
            )
    for key, is_same in (
        ("method", summary.method == settings.get("method")),
        ("seed", summary.seed == settings.get("seed")),
        ("classes", summary.classes == data["classes"]),
    ):
        if not is_same:
            raise RunError(f"{run}: {SUMMARY} and the other records differ in {key}")


def _check_held_out(
    run: Path, summary: Summary, data: Mapping[str, Any], settings: Mapping[str, Any]
) -> None:
    """That nothing which the figure is from was learned from or chosen by."""
    if summary.num_held_out == 0:
        raise RunError(f"{run} held no labels out, so it measured nothing; add a test part")
    for event in read_metrics(run / METRICS):
        if event["event"] == "evaluate" and event.get("split") != "val":
            raise RunError(
                f"{run} looked at its {event.get('split')} part while it was trained "
                f"({event.get('stage')}), so it may have chosen by it"
            )
    if settings.get("init_from") is not None:
        raise RunError(
            f"{run} began from the weights of another run, and what that one saw is not on record "
            "here; submit a run without init_from"
        )
    if settings.get("folds"):
        return  # each image is judged by models that never saw it
    known = {entry[2]: entry[0] for entry in data["files"] if entry[3] in ("labeled", "val")}
    for path, _, content, part in data["files"]:
        if part == "test" and content in known:
            raise RunError(
                f"{run} was judged by {path!r}, whose content is that of {known[content]!r}, "
                "which it was trained on or chosen by; remove one of the two and train again"
            )


def _models(run: Path, summary: Summary) -> list[tuple[str, float]]:
    """The models that get a row, with their figure, which their confusion matrix must give."""
    values = {"a": summary.peers.get("a"), "ensemble": summary.ensemble}
    found = [(model, value) for model, value in values.items() if value is not None]
    if not found:
        raise RunError(f"{run} has no figure for the model it hands out")
    for model, value in found:
        counts = next((each for each in summary.confusion if each.model == model), None)
        if counts is None or abs(metric_of(summary, counts) - value) > _CLOSE:
            raise RunError(
                f"{run / SUMMARY} was edited: its {summary.metric} of {model} is not what its "
                "confusion matrix gives"
            )
    return found


def metric_of(summary: Summary, confusion: Confusion) -> float:
    """What a confusion matrix gives for the summary's metric, in %; NaN where it counts others."""
    counts = confusion.counts
    total = sum(map(sum, counts))
    right = [row[index] for index, row in enumerate(counts)]
    if summary.metric == "error":
        return 100 * (1 - sum(right) / total) if total == summary.num_held_out else float("nan")
    columns = [sum(column) for column in zip(*counts, strict=True)]
    unions = [sum(row) + columns[k] - right[k] for k, row in enumerate(counts)]
    scores = [100 * right[k] / union for k, union in enumerate(unions) if union]
    return sum(scores) / len(scores) if scores else float("nan")


def _provenance(
    run: Path,
    run_id: str,
    model: str,
    summary: Summary,
    data: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> Provenance:
    times = [event["time"] for event in read_metrics(run / METRICS) if "time" in event]
    date = f"{datetime.fromtimestamp(max(times), UTC):%Y-%m-%d}" if times else None
    judged = {entry[2] for entry in data["files"] if entry[3] == "test"}
    num_in_pool = sum(entry[3] == "unlabeled" and entry[2] in judged for entry in data["files"])
    seen = f"{num_in_pool} of the unlabeled images have the content of one that was judged."
    return Provenance(
        id=run_id,
        model=model,
        date=date,
        sentence=summary.sentence,
        method=summary.method,
        seed=summary.seed,
        supervised=summary.supervised,
        interval=summary.interval,
        held_out=summary.held_out,
        num_held_out=summary.num_held_out,
        images_seen=summary.images_seen,
        seconds=summary.seconds,
        data=DataFacts(
            name=data["name"],
            layout=data["layout"],
            classes=data["classes"],
            sha256=data["sha256"],
            content=content_hash(data),
            judged=judged_hash(data, settings.get("folds") or 0),
            parts=dict(Counter(str(entry[3]) for entry in data["files"])),
        ),
        settings=_without_places(settings),
        versions=summary.versions,
        hardware=summary.hardware,
        notes=[*summary.notes, *([seen] if num_in_pool else [])],
    )


def _row(
    summary: Summary, settings: Mapping[str, Any], provenance: Provenance, value: float
) -> Table:
    both = ", both peers" if provenance.model == "ensemble" else ""
    peers = settings.get("peers") or {}
    weights = [settings.get("weights"), *(peers.get(p, {}).get("weights") for p in ("a", "b"))]
    return {
        "model_name": f"{summary.method} ({settings.get('model')}){both}",
        "paper_title": None,
        "paper_url": None,
        "paper_date": None,
        "code_links": [],
        "model_links": [],
        "metrics": {METRIC_NAMES[summary.metric]: f"{value:.2f}"},
        "uses_additional_data": any(each not in (None, "none") for each in weights),
        "run": provenance.model_dump(mode="json"),
    }


def _without_places(value: Any) -> Any:
    """Settings with files and folders by their last name: where they lie is nobody's business."""
    if isinstance(value, dict):
        return {key: _without_places(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_places(each) for each in value]
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name
    return value
