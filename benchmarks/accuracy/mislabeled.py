"""Do two models find planted wrong labels better than one? "Probably mislabeled" on digits.

    python benchmarks/accuracy/mislabeled.py digits --out results/mislabeled.jsonl steps=200

All 1440 training images of digits are labeled, 72 of them wrongly: drawn by the seed, each as one
of the nine other classes. The audit of `dmt review` judges every label by a pair that never saw it
(5 folds). Printed are average precision and precision at 72 of its score, 1 − mean p(given label)
of both models, and of one model's confidence in the same folds, 1 − p(given label): the mean of
what peer a and peer b would each reach alone. Finished seeds are kept in `--out`, a line each.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from kept import Line, add_arguments, run_missing
from numpy.typing import NDArray

NUM_PLANTED = 72
FOLDS = 5


def run(data: str, words: list[str], seed: int) -> Line:
    """One audit of labels of which some are wrong."""
    from dmt.api import Quiet, settings_for
    from dmt.auditing import audit
    from dmt.data.catalog import Part
    from dmt.data.layouts import open_catalog
    from dmt.metrics.review_scores import improbability
    from dmt.peers import images_of, open_classifier

    catalog = open_catalog(data)
    random = np.random.default_rng(seed)
    rows = np.flatnonzero(catalog.parts == Part.TRAIN)
    planted = random.choice(rows, NUM_PLANTED, replace=False)
    labels = catalog.labels.copy()
    shift = random.integers(1, len(catalog.classes), NUM_PLANTED)
    labels[planted] = (labels[planted] + shift) % len(catalog.classes)
    catalog = replace(catalog, labels=labels)
    number = {path: row for row, path in enumerate(catalog.paths)}
    settings = settings_for(data, ["labels_per_class=null", f"seed={seed}", "device=cpu", *words])
    scores: dict[str, NDArray[Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        found = audit(Path(folder), settings, catalog, folds=FOLDS, listener=Quiet())
        assert len(found.rows) == len(rows)
        for fold, weights in enumerate(found.weights):
            ids = np.array([number[row.path] for row in found.rows if row.fold == fold])
            model = open_classifier([Path(folder) / w for w in weights], settings, catalog.classes)
            batches = [[each.numpy() for each in batch]
                       for batch in model.predict_peers(images_of(catalog, ids))]  # fmt: skip
            a, b = (np.concatenate(each) for each in zip(*batches, strict=True))
            given = labels[ids]
            for name, probs in (("pair", (a, b)), ("a", (a,)), ("b", (b,))):
                scores.setdefault(name, np.zeros(len(catalog)))[ids] = improbability(given, *probs)
        shipped = np.array([row.score for row in found.rows])
        assert np.allclose(shipped, scores["pair"][[number[row.path] for row in found.rows]])
    is_wrong = np.isin(rows, planted)
    figures = {name: precisions(each[rows], is_wrong) for name, each in scores.items()}
    return {"seed": seed, "settings": words, "figures": figures}


def precisions(scores: NDArray[Any], is_wrong: NDArray[np.bool_]) -> tuple[float, float]:
    """Average precision, and precision among as many as are wrong; 0–1."""
    hits = is_wrong[np.argsort(-scores, kind="stable")]
    at = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    num = int(is_wrong.sum())
    return float(at[hits].mean()), float(hits[:num].mean())


def table(lines: list[Line]) -> str:
    """Mean ± sd over seeds, and the paired difference with its 95 % t interval."""
    from dmt.metrics.intervals import paired_t_interval

    ours = [line["figures"]["pair"] for line in lines]
    ones = [
        [statistics.mean(line["figures"][peer][which] for peer in "ab") for which in (0, 1)]
        for line in lines
    ]
    rows = [f"{len(lines)} seeds", "", "| score | average precision | precision at 72 |",
            "|---|---|---|"]  # fmt: skip
    for name, values in (("both models", ours), ("one model's confidence", ones)):
        cells = [
            f"{statistics.mean(column):.3f} ± {statistics.stdev(column):.3f}"
            for column in zip(*values, strict=True)
        ]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    found = paired_t_interval([a[0] - b[0] for a, b in zip(ours, ones, strict=True)])
    rows += ["", f"average precision, both − one: {found.value:.3f}, 95 % interval "
             f"{found.low:.3f} to {found.high:.3f}"]  # fmt: skip
    return "\n".join(rows)


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=["digits"])
    parser.add_argument("--seeds", type=int, default=5)
    add_arguments(parser)
    given = parser.parse_intermixed_args()
    lines = run_missing(given, [{"seed": seed} for seed in range(given.seeds)], run)
    print(table(lines) if len(lines) > 1 else "one seed: no table yet")


if __name__ == "__main__":
    main()
