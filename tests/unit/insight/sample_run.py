"""A made-up run folder for the tests of pages: invented values, no training behind them."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import yaml
from sample_detection import sample_detection

from dmt.records import (
    CONFIG,
    DATA,
    METRICS,
    SUMMARY,
    Confusion,
    Difference,
    ImagesSeen,
    RoundRecord,
    Summary,
    alarms_in,
    write_json,
    write_text,
)

ROUNDS = 5
NUM_STEPS = 120
BATCH = 64
POOL = 1400
START = 1_760_000_000.0
DIGITS = tuple(str(digit) for digit in range(10))


def write_sample_run(
    run: Path,
    *,
    finished: bool = True,
    verdict: str = "helped",
    classes: tuple[str, ...] = DIGITS,
    dataset: str = "synthetic digits",
    num_lines: int = 12,
    is_hidden_known: bool = True,
    alarm: bool = True,
) -> Path:
    """Write a run of `ROUNDS` rounds of a pair.

    Args:
        run: where; must not exist.
        finished: False stops in the middle of round 2, student b, and writes no summary.
        verdict: `helped`, `hurt`, `unclear` or `none`.
        classes: names of the classes.
        dataset: name of the data.
        num_lines: step lines in a stage.
        is_hidden_known: whether the truth of pseudo labels is on record.
        alarm: whether one alarm was raised.

    Returns:
        `run`.
    """
    run.mkdir(parents=True)
    write_text(run / CONFIG, yaml.safe_dump(_settings(), sort_keys=False))
    write_json(run / DATA, _data(dataset, classes))
    chance = random.Random(7)
    events = _events(chance, classes, num_lines, is_hidden_known, alarm)
    if not finished:
        end = next(
            i for i, e in enumerate(events) if e["stage"] == "round2/b" and e["event"] == "step"
        )
        events = events[: end + num_lines // 2]
    # at once: `append_metrics` would open the file for each of up to many thousand lines
    write_text(run / METRICS, "".join(json.dumps(event) + "\n" for event in events))
    if finished:
        summary = _summary(chance, verdict, classes, dataset, is_hidden_known)
        write_json(run / SUMMARY, summary.model_copy(update={"alarms": alarms_in(events)}))
    return run


def _settings() -> dict[str, Any]:
    return {
        "recipe": "digits",
        "method": "dmt",
        "seed": 3,
        "out": "runs/digits",
        "rounds": ROUNDS,
        "schedule": "pair",
        "model": "wrn_10_1",
        "baseline": "equal",
        "oracle": True,
        "precision": "fp32",
        "student": {
            "start": "fresh",
            "lr": 0.05,
            "lr_schedule": "cosine",
            "optimizer": "sgd",
            "ema_decay": 0.999,
            "mixup": 0.75,
        },
        "selection": {"rule": "global", "label_fraction": [0.2, 0.4, 0.6, 0.8, 1.0]},
        "weighting": {"rule": "dmt", "agreement_gamma": 4.0, "disagreement_gamma": 4.0},
        "data": {"augmentation": {"flip": False, "shift": 0.125, "randaugment": 0}},
        "track": {"to": None},
    }


def _data(dataset: str, classes: tuple[str, ...]) -> dict[str, Any]:
    parts = ["labeled"] * 40 + ["unlabeled"] * POOL + ["test"] * 357
    return {
        "name": dataset,
        "layout": "built-in",
        "classes": list(classes),
        "num": len(parts),
        "sha256": "5f0c" * 16,
        "files": [[f"{i:04d}.png", 64, f"{i:016x}", part] for i, part in enumerate(parts)],
    }


def _events(
    chance: random.Random,
    classes: tuple[str, ...],
    num_lines: int,
    is_hidden_known: bool,
    alarm: bool,
) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    clock = START

    def add(event: str, stage: str, **fields: Any) -> None:
        nonlocal clock
        clock += 0.35
        events.append({"event": event, "time": clock, "stage": stage, **fields})

    def train(stage: str, number: int, peer: str, seen: int, steps: int) -> None:
        add("started", stage, num_steps=steps)
        pseudo = stage.startswith("round") and number > 0
        for i in range(1, num_lines + 1):
            t = i / num_lines
            step = round(steps * t)
            noise = chance.gauss(0, 0.04)
            loss = (0.35 if pseudo else 1.9) * math.exp(-2.2 * t) + 0.16 + abs(noise)
            add("step", stage, round=number, peer=peer, step=step, num_steps=steps,
                images_seen=seen + step * BATCH, loss=loss,
                agreement=min(1.0, 0.80 + 0.03 * number + 0.06 * t + noise / 3) if pseudo else None,
                mean_weight=min(1.0, 0.45 + 0.05 * number + 0.2 * t + noise) if pseudo else None,
                gamma=4 * math.exp(-5 * (1 - t) ** 2) if pseudo else 0.0,
                lr=0.05 * (1 + math.cos(math.pi * t)) / 2 + 1e-6,
                images_per_second=4000 + 100 * noise, seconds=clock - START)  # fmt: skip
        if stage.startswith("round"):
            better = 1.1 * number if number != 2 else 0.2
            add("evaluate", stage, round=number, peer=peer, split="val", metric="error",
                value=12.4 - better + (0.4 if peer == "b" else 0), loss=0.4,
                num_images=200)  # fmt: skip
        elif stage.startswith("baseline"):
            add("evaluate", stage, round=0, peer=peer, split="val", metric="error",
                value=11.6, loss=0.5, num_images=200)  # fmt: skip
        add("finished", stage, seconds=3.2)

    for number in range(ROUNDS + 1):
        if number:
            for teacher, student in (("a", "b"), ("b", "a")):
                stage = f"round{number}/label/{teacher}"
                add("started", stage, num_images=POOL)
                add("label", stage, **_label(chance, number, teacher, student, classes,
                                             is_hidden_known))  # fmt: skip
                if is_hidden_known:
                    add("error_detection", stage, round=number, teacher=teacher, student=student,
                        **sample_detection(number, teacher, POOL).model_dump())  # fmt: skip
                add("finished", stage, seconds=0.3)
            if number == 2 and alarm:
                add("alarm", "round2/label/b", kind="vanished-class",
                    message=f"Class {classes[-1]} makes up 0.4 % of what teacher b kept in "
                    "round 2, and 10 % of the labels.",
                    remedy="Try selection.kind=class-balanced, or label more of it.")  # fmt: skip
        for peer in "ab":
            train(f"round{number}/{peer}", number, peer, number * NUM_STEPS * BATCH, NUM_STEPS)
    train("baseline/a", 0, "a", 0, NUM_STEPS * (ROUNDS + 1))
    train("oracle/a", 0, "a", 0, NUM_STEPS)
    return events


def _label(
    chance: random.Random,
    number: int,
    teacher: str,
    student: str,
    classes: tuple[str, ...],
    is_hidden_known: bool,
) -> dict[str, Any]:
    fraction = 0.2 * number
    entries = []
    for name in classes:
        predicted = round(POOL / len(classes) * chance.uniform(0.8, 1.2))
        accuracy = min(1.0, 0.995 - 0.011 * number - abs(chance.gauss(0, 0.03)) * number / 3)
        entries.append({
            "name": name,
            "predicted": predicted,
            "selected": min(predicted, round(predicted * fraction * chance.uniform(0.7, 1.2))),
            "accuracy": accuracy if is_hidden_known else None,
        })  # fmt: skip
    selected = sum(entry["selected"] for entry in entries)
    return {
        "round": number,
        "teacher": teacher,
        "student": student,
        "label_fraction": fraction,
        "pool": POOL,
        "selected": selected,
        "threshold": 0.99 - 0.12 * number,
        "pseudo_label_accuracy": 0.998 - (0.011 if teacher == "a" else 0.008) * number
        if is_hidden_known
        else None,
        "pool_accuracy": (0.88 if teacher == "a" else 0.87) + 0.013 * number
        if is_hidden_known
        else None,
        "classes": entries,
    }


def _confusion(chance: random.Random, num_classes: int, error: float) -> list[list[int]]:
    total = max(12, 357 // num_classes)
    rows = []
    for i in range(num_classes):
        row = [0] * num_classes
        for _ in range(total):
            wrong = chance.random() < error and num_classes > 1
            row[chance.choice([(i + 1) % num_classes, (i + 7) % num_classes]) if wrong else i] += 1
        rows.append(row)
    return rows


_OUTCOMES: dict[str, tuple[float, float, float, float | None, str]] = {
    "helped": (-4.2, -6.9, -1.6, 0.0014, "The unlabeled images helped: error fell from 12.3 % to "
               "8.1 % on 357 held-out images."),
    "hurt": (3.1, 0.8, 5.6, 0.012, "The unlabeled images hurt: error rose from 12.3 % to 15.4 % "
             "on 357 held-out images."),
    "unclear": (-0.6, -2.9, 1.7, 0.68, "It cannot be told whether the unlabeled images helped: "
                "error went from 12.3 % to 11.7 % on 357 held-out images; about 9000 would "
                "be needed."),
}  # fmt: skip


def _summary(
    chance: random.Random,
    verdict: str,
    classes: tuple[str, ...],
    dataset: str,
    is_hidden_known: bool,
) -> Summary:
    outcome = _OUTCOMES.get(verdict)
    value, low, high, p, sentence = outcome or (0.0, 0.0, 0.0, None, "Whether the unlabeled images "
        "helped was not measured: no labels were held out; add a test/ folder.")  # fmt: skip
    measured = outcome is not None
    fractions = [None, *(0.2 * r for r in range(1, ROUNDS + 1))]
    return Summary.model_validate({
        "status": "finished",
        "task": "classification",
        "dataset": dataset,
        "method": "dmt",
        "schedule": "pair",
        "metric": "error",
        "held_out": "the test part, touched once",
        "num_held_out": 357 if measured else 0,
        "supervised": 12.3 if measured else None,
        "supervised_ensemble": 11.5 if measured else None,
        "peers": {"a": 12.3 + value + 0.6, "b": 12.3 + value + 0.3}
        if measured else {"a": None, "b": None},
        "ensemble": 12.3 + value if measured else None,
        "headline": "ensemble",
        "oracle": 3.4 if measured else None,
        "gap_closed": -value / (12.3 - 3.4) if measured else None,
        "verdict": verdict,
        "sentence": sentence,
        "interval": Difference(value=value, low=low, high=high, p_value=p, num_images=357)
        if measured else None,
        "images_seen": ImagesSeen(trained=92_160, forward_only=35_400, baseline=46_080,
                                  oracle=46_080),
        "rounds": [
            RoundRecord(
                round=r, label_fraction=fractions[r], selected=round(POOL * (fractions[r] or 0)),
                pseudo_label_accuracy=0.998 - 0.011 * r if r and is_hidden_known else None,
                peers={"a": 12.4 - (1.1 * r if r != 2 else 0.2),
                       "b": 12.8 - (1.1 * r if r != 2 else 0.2)},
                error_detection={teacher: sample_detection(r, teacher, POOL) for teacher in "ab"}
                if r and is_hidden_known else {},
            )
            for r in range(ROUNDS + 1)
        ],
        "classes": list(classes),
        "confusion": [
            Confusion(model="supervised", split="test",
                      counts=_confusion(chance, len(classes), 0.123)),
            Confusion(model="ensemble", split="test",
                      counts=_confusion(chance, len(classes), 0.08)),
        ],
        "seconds": 71.4,
        "images_per_second": 4012.0,
        "labeled": 40,
        "unlabeled": POOL,
        "seed": 3,
        "versions": {"dmt": "0.1.0", "python": "3.12.3", "torch": "2.11.0"},
        "hardware": "a made-up machine, 2 CPU cores",
        "command": "dmt train digits recipe=digits seed=3 oracle=true",
        "notes": ["Labels were too few for a validation part, so the last round was taken."],
    })  # fmt: skip
