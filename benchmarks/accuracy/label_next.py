"""What is worth labeling next? Five rounds of 20 labels on digits, simulated with the true labels.

    python benchmarks/accuracy/label_next.py digits --out results/label_next.jsonl steps=600

Every seed begins with 20 labels, 2 a class. After each of five runs 20 more are given: those that
`dmt review` ranks first, 20 drawn at random, or those of which peer a of the same run is least
confident. Each run is trained anew; printed is the error of its pair on the 357 held-out images.
The true labels answer what a person would; no run sees one that was not asked for. Finished
sequences are kept in `--out`, a line each.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
from kept import Line, add_arguments, run_missing

ROUNDS, NUM = 5, 20
WAYS = {
    "dmt review": "disagreement, diverse",
    "random": "random",
    "least confidence": "one model's least confidence",
}


def run(data: str, words: list[str], way: str, seed: int) -> Line:
    """One sequence of runs, with more labels each."""
    from dmt import api, reviewing
    from dmt.data.catalog import UNLABELED, Part
    from dmt.data.layouts import open_catalog

    whole = open_catalog(data)
    random = np.random.default_rng(seed)
    order = random.permutation(np.flatnonzero(whole.parts == Part.TRAIN))
    known = {
        int(row)
        for label in range(len(whole.classes))
        for row in order[whole.labels[order] == label][: NUM // len(whole.classes)]
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
            settings = ["labels_per_class=null", "baseline=none", f"seed={seed}", f"out={path}"]
            summary = api.train_with(data, [*settings, "device=cpu", *words], api.Quiet()).summary
            errors.append(summary.ensemble)
            num_labels.append(summary.labeled)
            if round_ == ROUNDS:
                break
            if way == "random":
                known |= set(unknown[:NUM])  # in a random order already
                continue
            found = reviewing.review(path, listener=api.Quiet(), show=NUM, device="cpu")
            with found.table.open(newline="", encoding="utf-8") as file:
                rows = [row for row in csv.DictReader(file) if row["section"] == "label-next"]
        if way == "least confidence":
            rows.sort(key=lambda row: float(row["confidence_a"]))
        known |= {number[row["path"]] for row in rows[:NUM]}
    return {"way": way, "seed": seed, "settings": words, "errors": errors, "labels": num_labels}


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


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=["digits"])
    parser.add_argument("--seeds", type=int, default=3)
    add_arguments(parser)
    given = parser.parse_intermixed_args()
    wanted = [{"way": way, "seed": seed} for seed in range(given.seeds) for way in WAYS]
    print(table(run_missing(given, wanted, run)))


if __name__ == "__main__":
    main()
