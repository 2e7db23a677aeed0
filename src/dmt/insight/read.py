"""What a page shows of a run's folder: its events sorted into curves, labelings and progress.

Reads through `dmt.records`; no HTML, no torch.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmt.errors import RunError
from dmt.plain_yaml import read_yaml
from dmt.records import (
    CONFIG,
    DATA,
    METRICS,
    SUMMARY,
    Alarm,
    RoundRecord,
    Summary,
    alarms_in,
    read_json,
    read_metrics,
    read_summary,
    round_records,
)
from dmt.records.examples import Examples, read_examples
from dmt.records.links import refuse_links

Event = dict[str, Any]
Point = tuple[float, float]

CURVES = ("loss", "agreement", "mean_weight", "gamma", "lr", "images_per_second")
PSEUDO_LABEL_CURVES = ("agreement", "mean_weight", "gamma")
"""Those that mean nothing for the baseline, which trains on no pseudo label."""
SUPERVISED = "supervised"

_STAGE = re.compile(
    r"(?:fold(?P<fold>\w+)/)?(?:round(?P<round>\d+)(?:/label)?|(?P<kind>baseline|oracle))/(?P<peer>\w+)"
)


@dataclass(frozen=True)
class Stage:
    """Where an event belongs: `kind` is round, baseline or oracle; `fold` is empty if none."""

    fold: str
    kind: str
    round: int | None
    peer: str


@dataclass(frozen=True)
class RunView:
    """A run's folder, read. `summary` is None while the run has not finished."""

    folder: Path
    settings: dict[str, Any]
    data: Event
    summary: Summary | None
    fold: str
    """The fold that curves and labelings are of; empty where the run has none."""
    curves: dict[str, dict[str, list[Point]]]
    """Field of CURVES -> learner (a peer or SUPERVISED) -> (images seen, value)."""
    boundaries: dict[str, list[tuple[int, float]]]
    """Peer -> (round, images seen at its start)."""
    labelings: list[Event]
    rounds: list[RoundRecord]
    unit: str
    """What labelings count: images or pixels."""
    metric: str
    """`error` or `miou`; an unfinished run's is that of its evaluations, else its task's."""
    supervised_val: float | None
    """The baseline's metric in % on the validation part, to which the rounds' figures compare."""
    alarms: list[Alarm]
    last: Event | None
    """The newest event; how far an unfinished run has come."""
    elapsed: float | None
    examples: Examples | None


def read_run(run: Path) -> RunView:
    """Read all that a page shows.

    Args:
        run: the folder of a finished, stopped or still running run.

    Raises:
        RunError: `run` is no run, or one of its files cannot be read.
    """
    refuse_links(run)
    if not (run / CONFIG).is_file() or (run / SUMMARY).exists():
        summary: Summary | None = read_summary(run)  # says what is wrong where it is no run
    else:
        summary = None
    events = _events(run / METRICS)
    staged = [(stage, event) for event in events if (stage := stage_of(event)) is not None]
    fold = min((stage.fold for stage, event in staged if event["event"] == "step"), default="")
    kept = [(stage, event) for stage, event in staged if stage.fold == fold]
    curves, boundaries = _curves(kept)
    labelings = _labelings(kept)
    values = _validation(kept)
    settings = _settings(run / CONFIG)
    times = [event["time"] for event in events if isinstance(event.get("time"), int | float)]
    return RunView(
        folder=run,
        settings=settings,
        data=_data(run / DATA),
        summary=summary,
        fold=fold,
        curves=curves,
        boundaries=boundaries,
        labelings=labelings,
        rounds=summary.rounds if summary else round_records(events, fold),
        unit=str(labelings[0].get("unit", "images")) if labelings else "images",
        metric=summary.metric if summary else _metric(events, settings),
        supervised_val=next((v for (s, v) in values.items() if s.kind == "baseline"), None),
        alarms=_alarms(events, summary),
        last=events[-1] if events else None,
        elapsed=max(times) - min(times) if times else None,
        examples=read_examples(run),
    )


def stage_of(event: Event) -> Stage | None:
    """The stage an event names, or None where it names none that a page knows."""
    match = _STAGE.fullmatch(str(event.get("stage", "")))
    if match is None:
        return None
    number = match["round"]
    return Stage(
        fold=match["fold"] or "",
        kind=match["kind"] or "round",
        round=None if number is None else int(number),
        peer=match["peer"],
    )


def _events(path: Path) -> list[Event]:
    try:
        events = list(read_metrics(path))
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path} cannot be read ({error}); mend or remove the broken line, then ask again"
        ) from error
    return [event for event in events if isinstance(event, dict) and "event" in event]


def _settings(path: Path) -> dict[str, Any]:
    try:
        settings = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read as YAML: {error}") from error
    return settings if isinstance(settings, dict) else {}


def _metric(events: list[Event], settings: dict[str, Any]) -> str:
    recorded = [e["metric"] for e in events if e["event"] == "evaluate" and "metric" in e]
    default = "miou" if settings.get("task") == "segmentation" else "error"
    return str(recorded[-1]) if recorded else default


def _data(path: Path) -> Event:
    data = read_json(path) if path.exists() else {}
    return data if isinstance(data, dict) else {}


def _curves(
    staged: list[tuple[Stage, Event]],
) -> tuple[dict[str, dict[str, list[Point]]], dict[str, list[tuple[int, float]]]]:
    """Step lines by learner, in images that this learner has trained on.

    A resumed run logs the steps after its checkpoint twice: the later line counts. Where
    `images_seen` starts again with a stage, the stages are laid end to end.
    """
    by_learner: dict[str, dict[Stage, dict[int, Event]]] = defaultdict(lambda: defaultdict(dict))
    for stage, event in staged:
        is_second_baseline = stage.kind == "baseline" and stage.peer != "a"
        if event["event"] == "step" and stage.kind != "oracle" and not is_second_baseline:
            learner = SUPERVISED if stage.kind == "baseline" else stage.peer
            by_learner[learner][stage][event["step"]] = event
    curves: dict[str, dict[str, list[Point]]] = {field: {} for field in CURVES}
    boundaries: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for learner, stages in sorted(by_learner.items()):
        lines: dict[str, list[Point]] = {field: [] for field in CURVES}
        offset = end = 0.0
        for stage, steps in sorted(stages.items(), key=lambda item: item[0].round or 0):
            ordered = [steps[step] for step in sorted(steps)]
            if ordered[0]["images_seen"] < end:
                offset = end
            if stage.round is not None:
                boundaries[learner].append((stage.round, end))
            for event in ordered:
                end = offset + event["images_seen"]
                for field in CURVES:
                    is_known = event.get(field) is not None
                    if is_known and (learner != SUPERVISED or field not in PSEUDO_LABEL_CURVES):
                        lines[field].append((end, event[field]))
        for field, points in lines.items():
            if points:
                curves[field][learner] = points
    return curves, dict(boundaries)


def _labelings(staged: list[tuple[Stage, Event]]) -> list[Event]:
    """The last `label` event of every (round, teacher, student), by round."""
    last = {
        (event["round"], event["teacher"], event["student"]): event
        for _, event in staged
        if event["event"] == "label"
    }
    return [last[key] for key in sorted(last, key=lambda key: (key[0], str(key[1]), str(key[2])))]


def _validation(staged: list[tuple[Stage, Event]]) -> dict[Stage, float]:
    return {
        stage: event["value"]
        for stage, event in staged
        if event["event"] == "evaluate"
        and event.get("split") == "val"
        and event.get("value") is not None
    }


def _alarms(events: list[Event], summary: Summary | None) -> list[Alarm]:
    """The summary's; of an unfinished run those of its events. Each statement once."""
    return summary.alarms if summary else alarms_in(events)
