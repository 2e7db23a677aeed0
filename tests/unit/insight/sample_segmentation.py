"""A made-up run folder of a segmentation, for the tests of pages: invented, nothing was trained."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from sample_detection import sample_detection

from dmt.metrics.confusion import iou_per_class, mean_iou, pixel_accuracy
from dmt.metrics.verdict import judge
from dmt.records import (
    CONFIG,
    DATA,
    METRICS,
    SUMMARY,
    Confusion,
    Difference,
    ImagesSeen,
    ModelScores,
    Summary,
    round_records,
    write_json,
    write_text,
)

CLASSES = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car",
           "pedestrian", "bicyclist", "animal")  # fmt: skip
SHARES = (0.17, 0.24, 0.01, 0.29, 0.045, 0.105, 0.011, 0.014, 0.06, 0.0066, 0.0005, 0.0)
ROUNDS = 3
NUM_STEPS = 400
BATCH = 4
NUM_POOL = 264
PIXELS = 360 * 480
NUM_HELD_OUT = 62
_MODELS = {"supervised": 0.0, "a": 0.35, "b": 0.3, "ensemble": 0.45, "oracle": 0.9}


def write_sample_segmentation(
    run: Path, *, finished: bool = True, num_blocks: int = 8, is_hidden_known: bool = True
) -> Path:
    """Write a run of `ROUNDS` rounds of a pair on street scenes.

    Args:
        run: where; must not exist.
        finished: False stops in the middle of round 2, student b, and writes no summary.
        num_blocks: that the held-out images are in.
        is_hidden_known: whether the truth of pseudo labels is on record.

    Returns:
        `run`.
    """
    run.mkdir(parents=True)
    write_text(run / CONFIG, yaml.safe_dump(_settings(), sort_keys=False))
    write_json(run / DATA, _data())
    chance = random.Random(11)
    events = _events(chance, is_hidden_known)
    if not finished:
        end = next(i for i, e in enumerate(events) if e["stage"] == "round2/b")
        events = events[: end + 8]
    write_text(run / METRICS, "".join(json.dumps(event) + "\n" for event in events))
    if finished:
        write_json(run / SUMMARY, _summary(events, num_blocks))
    return run


def _settings() -> dict[str, Any]:
    return {
        "task": "segmentation",
        "dataset": "camvid-half",
        "method": "dmt",
        "seed": 5,
        "out": "runs/camvid",
        "rounds": ROUNDS,
        "model": "unet:tu-mobilenetv3_small_100",
        "allow_unlabeled_classes": True,
        "student": {"start": "continue", "lr_schedule": "poly", "lr": 0.01},
        "selection": {"rule": "class_balanced", "label_fraction": [0.3, 0.6, 1.0]},
        "weighting": {"rule": "dmt", "agreement_gamma": 4.0, "ramp": False},
        "data": {"crop": [256, 256], "group": r"^(\w+)_", "block": 8, "test_group": ["0016E5"]},
    }


def _data() -> dict[str, Any]:
    parts = ["labeled"] * 40 + ["unlabeled"] * NUM_POOL + ["test"] * NUM_HELD_OUT
    return {
        "name": "camvid-half",
        "layout": "images and masks",
        "classes": list(CLASSES),
        "num": len(parts),
        "sha256": "7a1e" * 16,
        "files": [[f"images/{i:05d}.png", 64, f"{i:016x}", part] for i, part in enumerate(parts)],
    }


def _events(chance: random.Random, is_hidden_known: bool) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []

    def add(event: str, stage: str, **fields: Any) -> None:
        time = 1_770_000_000.0 + 1.5 * len(events)
        events.append({"event": event, "time": time, "stage": stage, **fields})

    def train(stage: str, number: int, peer: str, value: float) -> None:
        add("started", stage, num_steps=NUM_STEPS)
        is_student = number > 0
        for i in range(1, 17):
            t, noise = i / 16, chance.gauss(0, 0.03)
            step = round(NUM_STEPS * t)
            loss = (0.5 if is_student else 2.2) * math.exp(-2 * t) + 0.3 + abs(noise)
            add("step", stage, round=number, peer=peer, step=step, num_steps=NUM_STEPS,
                images_seen=step * BATCH, loss=loss,
                agreement=0.9 + 0.05 * t + noise / 3 if is_student else None,
                mean_weight=0.7 + 0.1 * t + noise if is_student else None,
                gamma=4.0 if is_student else 0.0, lr=0.01 * (1.001 - t) ** 0.9,
                images_per_second=7.3 + noise, seconds=1.0)  # fmt: skip
        add("evaluate", stage, round=number, peer=peer, split="val", metric="miou",
            value=value + chance.gauss(0, 0.4))  # fmt: skip
        add("finished", stage, seconds=220.0)

    for number in range(ROUNDS + 1):
        for teacher, student in (("a", "b"), ("b", "a")) if number else ():
            stage = f"round{number}/label/{teacher}"
            add("started", stage, num_images=NUM_POOL)
            add("label", stage, **_label(chance, number, teacher, student, is_hidden_known))
            if is_hidden_known:
                found = sample_detection(number, teacher, 10_000, gain=0.02)
                add("error_detection", stage, round=number, teacher=teacher, student=student,
                    unit="pixels", **found.model_dump())  # fmt: skip
            add("finished", stage, seconds=9.1)
        for peer in "ab":
            train(f"round{number}/{peer}", number, peer, 47.0 + 2.1 * number - (peer == "b"))
    train("baseline/a", 0, "a", 50.1)
    return events


def _label(
    chance: random.Random, number: int, teacher: str, student: str, is_hidden_known: bool
) -> dict[str, Any]:
    fraction = (0.3, 0.6, 1.0)[number - 1]
    classes, thresholds = [], []
    for index, (name, share) in enumerate(zip(CLASSES, SHARES, strict=True)):
        predicted = round(NUM_POOL * PIXELS * share * chance.uniform(0.8, 1.1))
        selected = round(predicted * fraction)
        accuracy = max(0.3, 0.985 - 0.02 * number - 0.04 * index * chance.random())
        thresholds.append(None if not selected else 0.98 - 0.2 * fraction - 0.01 * index)
        classes.append({
            "name": name, "predicted": predicted, "selected": selected,
            "accuracy": accuracy if is_hidden_known and selected else None,
        })  # fmt: skip
    selected = sum(entry["selected"] for entry in classes)
    right = sum(entry["selected"] * (entry["accuracy"] or 0) for entry in classes)
    return {
        "round": number, "teacher": teacher, "student": student, "label_fraction": fraction,
        "unit": "pixels", "pool": NUM_POOL * PIXELS, "selected": selected,
        "threshold": thresholds,
        "pseudo_label_accuracy": right / selected if is_hidden_known else None,
        "pool_accuracy": 0.83 + 0.01 * number if is_hidden_known else None, "classes": classes,
    }  # fmt: skip


def _counts(gain: float, generator: np.random.Generator) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Confusion of all held-out pixels; the last class is neither true nor predicted."""
    num = len(CLASSES)
    counts = np.zeros((num, num), dtype=np.int64)
    for index, share in enumerate(SHARES):
        pixels = NUM_HELD_OUT * PIXELS * share
        ease = 1.2 + 1.4 * math.log10(max(share, 1e-6) / 0.01) + gain + generator.normal(0, 0.1)
        recall = 0.0 if index == 10 else 1 / (1 + math.exp(-ease))  # never labeled, never found
        wrong = np.array(SHARES) + 0.01 * np.array(
            [s > 0 and i != 10 for i, s in enumerate(SHARES)]
        )
        wrong[[index, 10]] = 0
        row = (1 - recall) * pixels * wrong / wrong.sum()
        row[index] += recall * pixels
        counts[index] = row.astype(np.int64)
    return counts


def _summary(events: list[dict[str, Any]], num_blocks: int) -> Summary:
    generator = np.random.default_rng(3)
    counts = {name: _counts(gain, generator) for name, gain in _MODELS.items()}
    values = {name: mean_iou(count).value for name, count in counts.items()}
    value = values["a"] - values["supervised"]
    difference = Difference(value=value, low=value - 2.6, high=value + 2.4, p_value=None,
                            num_images=NUM_HELD_OUT, num_blocks=num_blocks)  # fmt: skip
    answer, sentence = judge(
        values["a"], values["supervised"], difference, "miou", num_unlabeled=NUM_POOL
    )
    return Summary.model_validate({
        "status": "finished",
        "task": "segmentation",
        "dataset": "camvid-half",
        "method": "dmt",
        "schedule": "pair",
        "metric": "miou",
        "held_out": "the 62 images of group 0016E5",
        "num_held_out": NUM_HELD_OUT,
        "supervised": values["supervised"],
        "supervised_ensemble": None,
        "peers": {"a": values["a"], "b": values["b"]},
        "ensemble": values["ensemble"],
        "headline": "ensemble",
        "oracle": values["oracle"],
        "gap_closed": value / (values["oracle"] - values["supervised"]),
        "verdict": answer,
        "sentence": sentence,
        "interval": difference,
        "images_seen": ImagesSeen(trained=12_800, forward_only=1_700, baseline=6_400,
                                  oracle=6_400),
        "rounds": round_records(events),
        "classes": list(CLASSES),
        "confusion": [Confusion(model=name, split="test", counts=count.tolist())
                      for name, count in counts.items()],
        "scores": [
            ModelScores(
                model=name,
                pixel_accuracy=pixel_accuracy(count),
                iou=[None if math.isnan(iou) else iou for iou in iou_per_class(count).tolist()],
            )
            for name, count in counts.items()
        ],
        "unlabeled_classes": ["bicyclist"],
        "seconds": 1934.0,
        "images_per_second": 7.31,
        "labeled": 40,
        "unlabeled": NUM_POOL,
        "seed": 5,
        "versions": {"dmt": "0.2.0", "python": "3.12.3", "torch": "2.11.0"},
        "hardware": "a made-up machine, 2 CPU cores",
        "command": "dmt train camvid-half recipe=camvid seed=5",
        "notes": ["class animal is in no held-out mask and was never predicted: left out of the "
                  "mean IoU"],
    })  # fmt: skip
