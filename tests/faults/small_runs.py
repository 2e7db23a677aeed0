"""Runs of a second in both tasks. How two are compared: `harness`. No tests here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trees import write_image_masks

TASKS = ("classification", "segmentation")
_WORDS = {
    "classification": (
        "steps=6", "rounds=1", "batch_size=8", "model=wrn_10_1", "data.image_size=16",
        "student.labeled_share=0.5",
    ),
    "segmentation": (
        "steps=6", "rounds=1", "batch_size=4", "model=deeplab_v2:wrn_10_1:1-3", "data.crop=32",
        "student.labeled_share=0.5",
    ),
}  # fmt: skip


def write_data(task: str, folder: Path, tmp_photos: Callable[..., Path]) -> Path:
    """A folder of a dozen labeled and as many unlabeled images, and a few held out."""
    if task == "classification":
        return tmp_photos(labeled=6, unlabeled=6, test=3, size=20)
    return write_image_masks(folder / "scenes", 6, 5, num_test=3, size=(36, 40))


def words_of(task: str, *words: str) -> list[str]:
    """Settings of a short run on the CPU, with these instead of what they replace."""
    named = {word.partition("=")[0] for word in words}
    kept = [word for word in _WORDS[task] if word.partition("=")[0] not in named]
    return [*kept, "device=cpu", *words]


def lines_of(run: Path) -> list[dict[str, Any]]:
    """Every line of the record; each must be whole."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
