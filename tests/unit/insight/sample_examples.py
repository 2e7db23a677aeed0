"""A made-up `examples.json` for the tests of pages: invented answers, plain pictures."""

from __future__ import annotations

import base64
import io
import random
from pathlib import Path

import numpy as np
from PIL import Image

from dmt.records import write_json
from dmt.records.examples import EXAMPLES, Answer, Example, Examples, Kind, Reliability

COLORS = ("#000000", "#800000", "#008000", "#808000")
_NUM = {"wrong": 5, "disagreed": 5, "least-sure": 5, "surest": 5}


def write_sample_examples(
    run: Path, classes: tuple[str, ...], *, name: str = "unlabeled/{}.png", is_dense: bool = False
) -> Path:
    """Write a few examples of each kind into a run's folder.

    Args:
        run: its folder.
        classes: names.
        name: of an image, with a place for its number.
        is_dense: whether they are scenes with layers.

    Returns:
        `run`.
    """
    chance = random.Random(3)
    examples = []
    for kind, num in _NUM.items():
        for index in range(num):
            examples.append(_example(chance, kind, name.format(index), classes, is_dense))
    record = Examples(
        num_unlabeled=500,
        reliability=[_reliability(each) for each in ("supervised", "a", "b", "ensemble")],
        examples=examples,
        colors=[COLORS[i % len(COLORS)] for i in range(len(classes))] if is_dense else [],
    )
    write_json(run / EXAMPLES, record)
    return run


def _example(
    chance: random.Random, kind: Kind, path: str, classes: tuple[str, ...], is_dense: bool
) -> Example:
    layers = ["image"]
    if is_dense:
        layers += [*(["truth"] if kind == "wrong" else []), "a", "b", "confidence", "disagreement"]
    said = {
        model: Answer(label=None if is_dense else chance.choice(classes), confidence=0.7)
        for model in ("a", "b", "ensemble")
    }
    return Example.model_validate({
        "kind": kind,
        "path": path,
        "is_held_out": kind == "wrong",
        "truth": classes[0] if kind == "wrong" and not is_dense else None,
        "answers": {name: each.model_dump() for name, each in said.items()},
        "disagreement": None if kind == "wrong" else 0.25,
        "accuracy": 61.5 if kind == "wrong" and is_dense else None,
        "pictures": {what: _picture(chance) for what in layers},
    })  # fmt: skip


def _reliability(model: str) -> Reliability:
    num = [0, 0, 1, 4, 10, 20, 30, 50, 80, 162]
    middle = [0.05 + 0.1 * i for i in range(10)]
    return Reliability(
        model=model,
        num=num,
        right=[int(n * m) for n, m in zip(num, middle, strict=True)],
        confidence=[m if n else None for n, m in zip(num, middle, strict=True)],
        error=3.25,
    )


def _picture(chance: random.Random) -> str:
    stream = io.BytesIO()
    color = [chance.randrange(256) for _ in range(3)]
    Image.fromarray(np.full((12, 16, 3), color, np.uint8)).save(stream, "WEBP", lossless=True)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()
