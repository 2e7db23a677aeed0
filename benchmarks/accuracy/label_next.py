"""What is worth labeling next? Five rounds of labels, simulated with the true ones.

    python benchmarks/accuracy/label_next.py digits --out results/label_next.jsonl \
        --plot docs/label_next.svg method=dmt-online steps=400
    python benchmarks/accuracy/label_next.py PATH/cifar10-jpeg --num 100 --images 10000 \
        --out results/label_next-cifar10-mini.jsonl recipe=cifar10-mini \
        method=dmt-online steps=400

Every seed begins with `--num` labels, as many of each class. After each of five runs as many more
are given: those that `dmt review` ranks first, drawn at random, or those of which peer a of the
same run is least confident. Each run is trained anew; printed is the error of its pair on the
images that the data hold out. The true labels answer what a person would; no run sees one that was
not asked for. Finished sequences are kept in `--out`, a line each.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
from kept import Line, add_arguments, run_missing

ROUNDS = 5
WAYS = {
    "dmt review": "disagreement, diverse",
    "random": "random",
    "least confidence": "one model's least confidence",
}


def run(data: str, words: list[str], num: int, images: int | None, way: str, seed: int) -> Line:
    """One sequence of runs, with more labels each."""
    from subsets import subset

    from dmt import api
    from dmt.data.catalog import UNLABELED, Part
    from dmt.data.layouts import open_catalog
    from dmt.engine.listener import Quiet
    from dmt.reviews import reviewing

    random = np.random.default_rng(seed)
    whole = open_catalog(data)
    if images is not None:
        whole = subset(whole, images, random, has_test=True)
    order = random.permutation(np.flatnonzero(whole.parts == Part.TRAIN))
    known = {
        int(row)
        for label in range(len(whole.classes))
        for row in order[whole.labels[order] == label][: num // len(whole.classes)]
    }
    number = {path: row for row, path in enumerate(whole.paths)}
    errors, num_labels = [], []
    for round_ in range(ROUNDS + 1):
        labels = whole.labels.copy()
        unknown = [row for row in order.tolist() if row not in known]
        labels[unknown] = UNLABELED
        catalog = replace(whole, labels=labels)
        with (
            tempfile.TemporaryDirectory() as folder,
            patch.object(api, "open_catalog", lambda *_, catalog=catalog, **__: catalog),
            patch.object(reviewing, "open_catalog", lambda *_, catalog=catalog, **__: catalog),
        ):
            path = Path(folder, "run")
            fixed = ["labels_per_class=null", "baseline=none", f"seed={seed}", f"out={path}"]
            summary = api.train_with(data, [*fixed, "device=cpu", *words], Quiet()).summary
            errors.append(summary.ensemble)
            num_labels.append(summary.labeled)
            if round_ == ROUNDS:
                break
            if way == "random":
                known |= set(unknown[:num])  # in a random order already
                continue
            found = reviewing.review(path, listener=Quiet(), show=num, device="cpu")
            with found.table.open(newline="", encoding="utf-8") as file:
                rows = [row for row in csv.DictReader(file) if row["section"] == "label-next"]
        if way == "least confidence":
            rows.sort(key=lambda row: float(row["confidence_a"]))
        known |= {number[row["path"]] for row in rows[:num]}
    return {"way": way, "seed": seed, "settings": words, "errors": errors, "labels": num_labels,
            "images": images}  # fmt: skip


def table(lines: list[Line]) -> str:
    """Mean error ± sd over seeds after every round, by way."""
    num_labels = lines[0]["labels"]
    rows = [f"| error in % with | {' | '.join(f'{num} labels' for num in num_labels)} |",
            "|---|" + "---|" * len(num_labels)]  # fmt: skip
    for way, name in WAYS.items():
        errors = [line["errors"] for line in lines if line["way"] == way]
        if len(errors) > 1:
            cells = [f"{statistics.mean(each):.2f} ± {statistics.stdev(each):.2f}"
                     for each in zip(*errors, strict=True)]  # fmt: skip
            rows.append(f"| {name} ({len(errors)} seeds) | {' | '.join(cells)} |")
    return "\n".join(rows)


def plot(lines: list[Line]) -> str:
    """An SVG of the mean error over the number of labels, a line for each way, seeds as dots."""
    labels, seen = lines[0]["labels"], [error for line in lines for error in line["errors"]]
    each = max(1, round((max(seen) - min(seen)) / 5))  # points from one grid line to the next
    low, top = int(min(seen)) // each * each, max(seen) + each / 4
    width, height, left, room = 600, 300, 46, 190

    def place(number: int, error: float) -> str:
        across = left + (width - left - room) * number / (len(labels) - 1)
        return f"{across:.1f},{24 + (height - 64) * (top - error) / (top - low):.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'font-family="sans-serif" font-size="12">'
        "<title>Error in % of both models over the number of labels</title>"
        f'<rect width="{width}" height="{height}" fill="#fff"/>'
    ]
    for error in range(low, int(top) + 1, each):
        x, y = place(0, error).split(",")
        parts.append(f'<path d="M{x} {y}H{width - room}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y}" dy="4" text-anchor="end">{error} %</text>')
    for number, label in enumerate(labels):
        x = place(number, 0).split(",")[0]
        parts.append(f'<text x="{x}" y="{height - 18}" text-anchor="middle">{label}</text>')
    middle = left + (width - left - room) / 2
    parts.append(f'<text x="{middle}" y="{height - 3}" text-anchor="middle">labels</text>')
    parts.append(f'<text x="{left}" y="12">error of both models, mean of seeds; dots: seeds</text>')
    for (way, name), color in zip(WAYS.items(), ("#1a7f5a", "#8a8a8a", "#3a5bd9"), strict=True):
        errors = [line["errors"] for line in lines if line["way"] == way]
        if not errors:
            continue
        means = [statistics.mean(each) for each in zip(*errors, strict=True)]
        points = [place(*each) for each in enumerate(means)]
        parts.append(f'<polyline fill="none" stroke="{color}" stroke-width="2" '
                     f'points="{" ".join(points)}"/>')  # fmt: skip
        for each in errors:
            for x, y in (place(*one).split(",") for one in enumerate(each)):
                parts.append(f'<circle cx="{x}" cy="{y}" r="2.5" fill="{color}"/>')
        row = 40 + 18 * list(WAYS).index(way)
        parts.append(f'<text x="{width - room + 10}" y="{row}" fill="{color}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="digits, or a folder")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--num", type=int, default=20, help="labels to begin with, and a round")
    parser.add_argument("--images", type=int, help="train on so many only, as many of each class")
    parser.add_argument("--plot", type=Path, help="an SVG to write")
    add_arguments(parser)
    given = parser.parse_intermixed_args()
    wanted = [{"way": way, "seed": seed} for seed in range(given.seeds) for way in WAYS]
    lines = run_missing(given, wanted, partial(run, num=given.num, images=given.images))
    print(table(lines))
    if given.plot is not None:
        given.plot.write_text(plot(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
