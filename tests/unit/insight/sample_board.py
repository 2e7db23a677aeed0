"""Made-up material for the tests of boards: a small run whose records agree, archives. No tests."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

from dmt.insight.board.variants import digest
from dmt.records import CONFIG, DATA, METRICS, SUMMARY, read_json, write_json, write_text

CLASSES = ["cat", "dog", "fox"]
TASK = "Semi-Supervised Image Classification"
_PARTS = {"labeled": 6, "unlabeled": 9, "test": 12}
_COUNTS = {"a": [[3, 1, 0], [0, 4, 0], [1, 0, 3]], "ensemble": [[4, 0, 0], [0, 4, 0], [1, 0, 3]]}


def write_board_run(run: Path, **changes: Any) -> Path:
    """Write a finished run of a pair on three classes, judged by twelve images.

    Args:
        run: where; must not exist.
        changes: fields of `summary.json` (its confusion matrices stay), or `settings`: keys of
            `config.yaml` and of `data.json`'s record of it.
    """
    settings = {"dataset": "/somewhere/pets", "method": "dmt", "seed": 3, "folds": 0,
                "model": "wrn_10_1", "weights": "none", "init_from": None,
                "student": {"lr": 0.05}}  # fmt: skip
    settings |= changes.pop("settings", {})
    run.mkdir(parents=True)
    write_text(run / CONFIG, yaml.safe_dump(settings, sort_keys=False))
    files = [
        [f"{part}/{i:02d}.png", 64, hashlib.sha256(f"{part}{i}".encode()).hexdigest()[:16], part]
        for part, num in _PARTS.items()
        for i in range(num)
    ]
    data = {"name": "pets", "layout": "class-folders", "classes": CLASSES, "num": len(files),
            "labels": "0123456789abcdef", "files": files, "settings": settings}  # fmt: skip
    write_json(run / DATA, seal(data))
    events = [
        {"event": "evaluate", "time": 1.76e9, "stage": "round0/a", "round": 0, "peer": "a",
         "split": "val", "metric": "error", "value": 20.0},
        {"event": "finished", "time": 1.76e9 + 60, "stage": "round0/a", "seconds": 60.0},
    ]  # fmt: skip
    write_text(run / METRICS, "".join(json.dumps(event) + "\n" for event in events))
    summary = {
        "version": 1, "status": "finished", "task": "classification", "dataset": "pets",
        "method": "dmt", "schedule": "pair", "metric": "error",
        "held_out": "the 12 images of test/", "num_held_out": 12, "supervised": 25.0,
        "supervised_ensemble": None, "peers": {"a": 100 / 6, "b": 25.0}, "ensemble": 100 / 12,
        "headline": "ensemble", "oracle": None, "gap_closed": None, "verdict": "unclear",
        "sentence": "It cannot be told whether the unlabeled images helped.", "interval": None,
        "images_seen": {"trained": 100, "forward_only": 20, "baseline": 50, "oracle": 0},
        "rounds": [], "classes": CLASSES, "seconds": 60.0, "images_per_second": 2.5,
        "confusion": [{"model": m, "split": "test", "counts": c} for m, c in _COUNTS.items()],
        "labeled": 6, "unlabeled": 9, "seed": 3, "versions": {"dmt": "0.1.0"},
        "hardware": "a made-up machine", "command": "dmt train /somewhere/pets",
    }  # fmt: skip
    write_json(run / SUMMARY, summary | changes)
    return run


def seal(data: dict[str, Any]) -> dict[str, Any]:
    """A `data.json` with the hash that belongs to it."""
    lines = ["\0".join(map(str, entry)) for entry in data["files"]]
    head = [data["layout"], *data["classes"], data["labels"]]
    return data | {"sha256": digest([*head, *lines])}


def spoil(run: Path, file: str, **changes: Any) -> None:
    """Change fields of one of a run's JSON files, and seal `data.json` anew."""
    value = read_json(run / file) | changes
    write_json(run / file, seal(value) if file == DATA else value)


def row(model: str, **metrics: Any) -> dict[str, Any]:
    """A row of an evaluation table; underscores of a metric's name stand for blanks."""
    return {
        "model_name": model,
        "paper_title": f"On {model}",
        "paper_url": "https://example.org/paper",
        "paper_date": "2021-05-06",
        "code_links": [],
        "model_links": [],
        "metrics": {name.replace("_", " "): value for name, value in metrics.items()},
        "uses_additional_data": False,
    }


def archive(*rows: Any, dataset: str = "Pets", task: str = "Naming", **more: Any) -> list[Any]:
    """An archive with one data set, to which `more` fields are added."""
    sota = {"metrics": ["Accuracy"], "rows": list(rows)}
    table = {"dataset": dataset, "description": "", "dataset_links": [], "sota": sota} | more
    return [
        {"task": task, "description": "", "categories": [], "subtasks": [], "datasets": [table]}
    ]


def write_archive(path: Path, *rows: Any, **more: Any) -> Path:
    """Write `archive` as a file."""
    write_json(path, archive(*rows, **more))
    return path
