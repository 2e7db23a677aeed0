"""From finished stages to `summary.json`: which models are compared, and what the record says."""

from __future__ import annotations

import platform
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Literal

import numpy as np

from dmt.engine.runtime import Runtime, hardware
from dmt.engine.stage import LabelStage, Stage, TrainStage
from dmt.engine.task import FinalTable, Task
from dmt.metrics.confusion import iou_per_class, pixel_accuracy
from dmt.metrics.verdict import METRIC_NAMES, Metric, gap_closed, judge
from dmt.records import Confusion, ImagesSeen, ModelScores, Summary, alarms_in, round_records

_LIBRARIES = ("numpy", "torch")


@dataclass(frozen=True)
class RunFacts:
    """What the record says of a run besides its figures."""

    dataset: str
    method: str
    schedule: Literal["pair", "chain"]
    baseline: Literal["equal", "pair", "round0", "none"]
    seed: int
    num_labeled: int
    num_unlabeled: int
    held_out: str
    command: str
    notes: tuple[str, ...]
    unlabeled_classes: tuple[str, ...] = ()


def final_models(stages: Sequence[Stage], fold: int | None, baseline: str) -> dict[str, TrainStage]:
    """The stages whose networks the last table compares.

    Returns:
        By name: `a`, `b` (where there is one), `supervised`, `supervised_b`, `oracle`.
    """
    trained = [each for each in stages if isinstance(each, TrainStage) and each.fold == fold]
    models = {each.peer: each for each in trained if each.role == "round"}  # the last round's stay
    names = {"a": "supervised", "b": "supervised_b"}
    for each in trained:
        is_first = each.role == "round" and each.round == 0 and baseline == "round0"
        if each.role == "baseline" or (is_first and models[each.peer] is not each):
            models[names[each.peer]] = each
        elif each.role == "oracle":
            models["oracle"] = each
    return models


def previous_generation(stages: Sequence[Stage]) -> TrainStage | None:
    """The last generation but one of a chain, None where there is none."""
    rounds = [
        each
        for each in stages
        if isinstance(each, TrainStage) and each.role == "round" and each.fold is None
    ]
    return rounds[-2] if len(rounds) > 1 and {each.peer for each in rounds} == {"a"} else None


def summarize(
    facts: RunFacts,
    task: Task,
    stages: Sequence[Stage],
    table: FinalTable | None,
    events: Iterable[Mapping[str, Any]],
    runtime: Runtime,
    seconds: float,
    num_shown: int = 0,
) -> Summary:
    """The record of a finished run.

    Args:
        facts: what is known without training.
        task: for metric and classes.
        stages: all of them, finished.
        table: the held-out figures; None without held-out labels.
        events: of `metrics.jsonl`.
        runtime: for the hardware.
        seconds: of work, over all sessions.
        num_shown: images that went through a network to be shown.
    """
    values = dict(table.values) if table else {}
    num_networks = sum("ensemble" not in name for name in values)
    if facts.method == "supervised" and "a" in values:
        values["supervised"] = values["a"]
    supervised = values.get("supervised")
    has_pool = facts.num_unlabeled > 0 and facts.method != "supervised"
    verdict = judge(
        values.get("a"),
        supervised if has_pool else None,
        table.difference if table and has_pool else None,
        task.metric,
        num_unlabeled=facts.num_unlabeled if facts.method != "supervised" else 0,
        baseline_share=_baseline_share(stages, facts.baseline),
    )
    if facts.method == "supervised" and facts.num_unlabeled:
        sentence = _not_used(values.get("a"), task.metric, facts.num_unlabeled)
        verdict = verdict._replace(sentence=sentence)
    num_judged = num_networks * table.num_images + table.num_again if table else 0
    seen = images_seen(stages, task, num_judged + num_shown)
    confusion = table.confusion if table else []
    scores = model_scores(confusion) if task.metric == "miou" else []
    lines = list(events)
    training = sum(
        float(line["seconds"])
        for line in lines
        if line["event"] == "finished" and "label" not in line["stage"]
    )
    return Summary(
        status="finished",
        task=task.name,
        dataset=facts.dataset,
        method=facts.method,
        schedule=facts.schedule,
        metric=task.metric,
        held_out=facts.held_out,
        num_held_out=table.num_images if table else 0,
        supervised=supervised,
        supervised_ensemble=values.get("supervised_ensemble"),
        peers={"a": values.get("a"), "b": values.get("b")},
        ensemble=values.get("ensemble"),
        headline=_headline(stages),
        oracle=values.get("oracle"),
        gap_closed=gap_closed(
            values.get("a"),
            supervised,
            values.get("oracle"),
            table.oracle_difference if table else None,
            task.metric,
        ),
        verdict=verdict.answer,
        sentence=verdict.sentence,
        interval=table.difference if table and has_pool else None,
        images_seen=seen,
        rounds=round_records(lines),
        classes=list(task.classes),
        confusion=confusion,
        scores=scores,
        unlabeled_classes=list(facts.unlabeled_classes),
        seconds=seconds,
        images_per_second=(seen.trained + seen.baseline + seen.oracle) / max(training, 1e-9),
        labeled=facts.num_labeled,
        unlabeled=facts.num_unlabeled,
        seed=facts.seed,
        versions=installed(),
        hardware=hardware(runtime),
        command=facts.command,
        alarms=alarms_in(lines),
        notes=[*facts.notes, *(absent_notes(task.classes, confusion, scores) if scores else ())],
    )


def summarize_stopped(
    facts: RunFacts,
    task: Task,
    stages: Sequence[Stage],
    finished: Collection[str],
    reason: str,
    events: Iterable[Mapping[str, Any]],
    runtime: Runtime,
    seconds: float,
) -> Summary:
    """The record of a run that cannot go on: no figure of the last table, and why not.

    Args:
        facts, task, events, runtime, seconds: as in `summarize`.
        stages: all of them.
        finished: names of those that are; images are counted of these alone.
        reason: what stopped it, in a sentence without a full stop.
    """
    done = [each for each in stages if each.name in finished]
    summary = summarize(facts, task, done, None, events, runtime, seconds)
    return summary.model_copy(
        update={
            "status": "stopped",
            "headline": _headline(stages),
            "verdict": "none",
            "sentence": f"Stopped before the end: {reason}.",
        }
    )


def installed() -> dict[str, str]:
    """The versions that a run's figures depend on."""
    return {
        "dmt": metadata.version("dmt"),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in _LIBRARIES},
    }


def images_seen(stages: Sequence[Stage], task: Task, num_judged: int) -> ImagesSeen:
    """Forward-and-backward samples by role, and forwards without a gradient; `num_judged` of
    those after the last stage."""
    by_role = {"round": 0, "baseline": 0, "oracle": 0}
    num_forward = 0
    for stage in stages:
        if isinstance(stage, TrainStage):
            by_role[stage.role] += stage.num_images
            num_forward += stage.num_weighed + task.num_forward(stage)
        elif isinstance(stage, LabelStage):
            num_networks = 1 if stage.other is None else 2
            num_forward += task.num_forward(stage) + num_networks * task.num_checked(stage)
    return ImagesSeen(
        trained=by_role["round"],
        forward_only=num_forward + num_judged,
        baseline=by_role["baseline"],
        oracle=by_role["oracle"],
    )


def model_scores(confusion: Sequence[Confusion]) -> list[ModelScores]:
    """IoU of each class and pixel accuracy of every model of a segmentation's last table."""
    scores = []
    for each in confusion:
        counts = np.asarray(each.counts, dtype=np.int64)
        iou = [None if np.isnan(value) else float(value) for value in iou_per_class(counts)]
        scores.append(ModelScores(model=each.model, pixel_accuracy=pixel_accuracy(counts), iou=iou))
    return scores


def absent_notes(
    classes: Sequence[str], confusion: Sequence[Confusion], scores: Sequence[ModelScores]
) -> list[str]:
    """A sentence for each class that no held-out mask holds: what it does to the mean IoU."""
    if not confusion:
        return []
    is_true = np.asarray(confusion[0].counts, dtype=np.int64).sum(1) > 0  # one truth for all
    notes = []
    for index in np.flatnonzero(~is_true).tolist():
        callers = [each.model for each in scores if each.iou[index] is not None]
        start = f"class {classes[index]} is in no held-out mask"
        if not callers:
            notes.append(f"{start} and was never predicted: left out of the mean IoU")
        else:
            others = " and is left out of the others' mean" if len(callers) < len(scores) else ""
            notes.append(
                f"{start}, but was predicted: its IoU is 0 for {', '.join(callers)}{others}"
            )
    return notes


def _not_used(value: float | None, metric: Metric, num_unlabeled: int) -> str:
    figure = "" if value is None else f": its {METRIC_NAMES[metric]} is {value:.1f} %"
    return (
        f"method=supervised does not use the {num_unlabeled} unlabeled images{figure}; "
        "method=dmt does."
    )


def _headline(stages: Sequence[Stage]) -> Literal["a", "ensemble"]:
    """Which model predicts: two peers together, or the only one."""
    rounds = [each for each in stages if isinstance(each, TrainStage) and each.role == "round"]
    return "ensemble" if any(each.peer == "b" for each in rounds) else "a"


def _baseline_share(stages: Sequence[Stage], baseline: str) -> float:
    """Images the baseline saw over the images that peer a saw."""
    if baseline != "round0":
        return 1.0
    own = [s for s in stages if isinstance(s, TrainStage) and s.role == "round" and s.fold is None]
    of_a = [each.num_images for each in own if each.peer == "a"]
    return of_a[0] / max(1, sum(of_a))
