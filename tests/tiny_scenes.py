"""What the tests of segmentation share: settings of a run of a second, films, reading a run.

No tests here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trees import save_image, save_index, scene

MODEL = "deeplab_v2:wrn_10_1:1-3"
SIZE = (40, 48)
KEYS: dict[str, Any] = {
    "model": MODEL, "steps": 4, "rounds": 1, "batch_size": 2, "data.crop": 32, "device": "cpu",
}  # fmt: skip
WORDS = tuple(f"{key}={value}" for key, value in KEYS.items())
CLASSES = ("ground", "red", "green")


def value_of(path: Path) -> Any:
    """What a JSON file holds."""
    return json.loads(path.read_text())


def parts_of(run: Path) -> dict[str, str]:
    """Stem of every image: its part in the run."""
    return {Path(path).stem: part for path, _, _, part in value_of(run / "data.json")["files"]}


def weights_of(run: Path) -> dict[str, bytes]:
    """Every weights file of a run with its bytes."""
    found = {
        str(path.relative_to(run)): path.read_bytes() for path in sorted(run.rglob("*.safetensors"))
    }
    assert found
    return found


def pixels_of(path: Path) -> NDArray[np.uint8]:
    """An image as it is stored."""
    with Image.open(path) as image:
        return np.array(image)


def sizes_in(folder: Path) -> dict[str, tuple[int, int]]:
    """Width and height of every image below a folder, by its stem."""
    found = {}
    for path in folder.rglob("*.*"):
        with Image.open(path) as image:
            found[path.stem] = image.size
    return found


def write_pairs(
    root: Path,
    names: Sequence[str],
    *,
    num_labeled: int | None = None,
    size: tuple[int, int] = SIZE,
    classes: Sequence[str] = CLASSES,
) -> Path:
    """`images/NAME.png` and, for the first `num_labeled` (None: all), `masks/NAME.png`."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in classes))
    for index, name in enumerate(names):
        image, mask = scene(index, size, len(classes))
        save_image(root / "images" / f"{name}.png", image)
        if num_labeled is None or index < num_labeled:
            save_index(root / "masks" / f"{name}.png", mask)
    return root


def write_films(root: Path, films: Sequence[str], num_frames: int) -> Path:
    """`write_pairs` of FILM_000, FILM_001 … of every film."""
    names = [f"{film}_{frame:03d}" for film in films for frame in range(num_frames)]
    return write_pairs(root, names)


def words_with(*words: str) -> list[str]:
    """`WORDS` with these instead of what they replace."""
    named = {word.partition("=")[0] for word in words}
    return [*words, *(word for word in WORDS if word.partition("=")[0] not in named)]


def refused(dmt: Any, words: Sequence[object], *parts: str, command: str = "train") -> str:
    """Run it, check how it was refused, and return the sentence."""
    outcome = dmt(command, *words)
    assert outcome.code == 2, (outcome.code, outcome.err)
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    sentence = outcome.sentence
    assert sentence.startswith("dmt: "), outcome.err
    for part in parts:
        assert part in sentence
    return sentence
