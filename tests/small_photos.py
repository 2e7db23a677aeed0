"""What the tests of the review share: photos of two colours, a run of seconds, files. No tests."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

TINY = ("steps=6", "rounds=1", "model=wrn_10_1", "batch_size=16", "device=cpu", "baseline=none",
        "data.image_size=16")  # fmt: skip


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def facts_of(page: Path) -> Any:
    text = page.read_text(encoding="utf-8")
    start = text.index('<script type="application/json" id="facts">') + 43
    return json.loads(text[start : text.index("</script>", start)])


def save_photo(path: Path, label: int, seed: int) -> None:
    """16×16 pixels of noise, blue or green."""
    image = np.random.default_rng(seed).integers(0, 90, (16, 16, 3), dtype=np.uint8)
    image[:, :, 2 - label] += 120
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def write_photos(root: Path) -> Path:
    """Photos of two colours; one label is wrong."""
    for number, label in enumerate(("blue", "green")):
        for index in range(8):
            save_photo(root / "labeled" / label / f"{index}.png", number, index)
    for index in range(12):
        save_photo(root / "unlabeled" / f"{index:02d}.png", index % 2, 100 + index)
    shutil.copy(root / "labeled/green/0.png", root / "labeled/blue/wrong.png")
    return root


def corrections(folder: Path, *lines: str, header: str = "path,label,action") -> Path:
    path = folder / "corrections.csv"
    path.write_text("\n".join((header, *lines, "")), encoding="utf-8")
    return path
