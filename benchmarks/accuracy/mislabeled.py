"""Do two models find planted wrong labels better than one? "Probably mislabeled", measured.

    python benchmarks/accuracy/mislabeled.py digits --out results/mislabeled.jsonl steps=200
    python benchmarks/accuracy/mislabeled.py PATH/cifar10-jpeg --images 4000 \
        --out results/mislabeled-cifar10-mini.jsonl recipe=cifar10-mini
    python benchmarks/accuracy/mislabeled.py PATH/camvid-half \
        --out results/mislabeled-camvid.jsonl recipe=camvid

One label in twenty is made wrong, drawn by the seed: an image gets one of the other classes; of one
mask in ten a class that covers at least 2 % of it is called another. The audit of `dmt review`
judges every label by a pair that never saw it (5 folds). Printed are average precision and
precision at as many as are wrong, of its score by both models and by one in the same folds (the
mean of what peer a and peer b would each reach alone). The score of a label is 1 − mean p(given),
that of a mask the share of its pixels whose given class every model gives less than 0.1. Finished
seeds are kept in `--out`, a line each.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from kept import Line, add_arguments, run_missing
from numpy.typing import NDArray

if TYPE_CHECKING:
    from dmt.config import Settings
    from dmt.data.catalog import Catalog
    from dmt.reviews.auditing import Answers

FOLDS = 5
LABELS, MASKS = 0.05, 0.1  # share that is made wrong
LEAST = 0.02  # of a mask, that a class must cover to be called another


def run(data: str, words: list[str], images: int | None, seed: int) -> Line:
    """One audit of labels of which some are wrong."""
    from subsets import subset

    from dmt.api import settings_for
    from dmt.data.layouts import open_catalog
    from dmt.engine.listener import Quiet
    from dmt.reviews.auditing import audit

    catalog, random = open_catalog(data), np.random.default_rng(seed)
    if images is not None:
        catalog = subset(catalog, images, random, has_test=False)
    is_dense = catalog.task == "segmentation"
    catalog, planted = (plant_masks if is_dense else plant_labels)(catalog, random)
    whole = [] if is_dense else ["labels_per_class=null"]
    settings = settings_for(data, [*whole, f"seed={seed}", "device=cpu", *words])
    with tempfile.TemporaryDirectory() as folder:
        found = audit(Path(folder), settings, catalog, folds=FOLDS, listener=Quiet())
        scores = (mask_scores if is_dense else label_scores)(folder, found, catalog, settings)
    is_wrong = np.array([row.path in planted for row in found.rows])
    figures = {name: precisions(each, is_wrong) for name, each in scores.items()}
    return {"seed": seed, "settings": words, "images": images, "figures": figures,
            "labels": len(found.rows), "wrong": int(is_wrong.sum())}  # fmt: skip


def plant_labels(catalog: Catalog, random: np.random.Generator) -> tuple[Catalog, set[str]]:
    """Another class for some images, and which these are."""
    from dmt.data.catalog import Part

    rows = np.flatnonzero(catalog.parts == Part.TRAIN)
    num = round(LABELS * len(rows))
    planted = random.choice(rows, num, replace=False)
    labels = catalog.labels.copy()
    shift = random.integers(1, len(catalog.classes), num)
    labels[planted] = (labels[planted] + shift) % len(catalog.classes)
    return replace(catalog, labels=labels), {catalog.paths[row] for row in planted}


def plant_masks(catalog: Catalog, random: np.random.Generator) -> tuple[Catalog, set[str]]:
    """Another class for one class of some masks, and which images these belong to."""
    from dmt.data.masks import read_mask

    assert catalog.masks is not None
    rows, num_classes = np.flatnonzero(catalog.labels == 0), len(catalog.classes)
    masks = {int(row): read_mask(catalog, int(row)) for row in rows}
    (shape,) = {mask.shape for mask in masks.values()}
    arrays = np.full((len(catalog), *shape), 255, dtype=np.uint8)
    for row, mask in masks.items():
        arrays[row] = mask
    planted = random.choice(rows, round(MASKS * len(rows)), replace=False)
    for row in planted:
        counts = np.bincount(arrays[row].ravel(), minlength=num_classes)[:num_classes]
        old = random.choice(np.flatnonzero(counts >= LEAST * arrays[row].size))
        new = (old + random.integers(1, num_classes)) % num_classes
        arrays[row][arrays[row] == old] = new
    held = replace(catalog, masks=replace(catalog.masks, arrays=arrays))
    return held, {catalog.paths[row] for row in planted}


def label_scores(
    folder: str, found: Answers, catalog: Catalog, settings: Settings
) -> dict[str, NDArray[Any]]:
    """The score of every row of the audit by both models and by each."""
    from dmt.inference.peers import images_of, open_classifier
    from dmt.metrics.review_scores import improbability

    number = {path: row for row, path in enumerate(catalog.paths)}
    ids = np.array([number[row.path] for row in found.rows])
    scores = {name: np.zeros(len(ids)) for name in ("pair", "a", "b")}
    for fold, weights in enumerate(found.weights):
        rows = np.array([i for i, row in enumerate(found.rows) if row.fold == fold])
        model = open_classifier([Path(folder) / w for w in weights], settings, catalog.classes)
        batches = [[each.numpy() for each in batch]
                   for batch in model.predict_peers(images_of(catalog, ids[rows]))]  # fmt: skip
        a, b = (np.concatenate(each) for each in zip(*batches, strict=True))
        for name, probs in (("pair", (a, b)), ("a", (a,)), ("b", (b,))):
            scores[name][rows] = improbability(catalog.labels[ids[rows]], *probs)
    assert np.allclose([row.score for row in found.rows], scores["pair"])
    return scores


def mask_scores(
    folder: str, found: Answers, catalog: Catalog, settings: Settings
) -> dict[str, NDArray[Any]]:
    """As `label_scores`, of masks."""
    from dmt.data.masks import mask_reader
    from dmt.inference.peers import fitted, open_segmenters, probabilities_at
    from dmt.metrics.review_scores import contradicted

    number = {path: row for row, path in enumerate(catalog.paths)}
    read, num_classes = mask_reader(catalog, settings.data.max_side), len(catalog.classes)
    models = [
        open_segmenters([Path(folder) / w for w in weights], settings, catalog.classes)
        for weights in found.weights
    ]
    scores: dict[str, list[float]] = {"pair": [], "a": [], "b": []}
    for row in found.rows:
        id = number[row.path]
        given = read(id)
        a, b = probabilities_at(models[row.fold], fitted(catalog, id, settings), row.path)
        num = max(1, int((given < num_classes).sum()))
        for name, probs in (("pair", (a, b)), ("a", (a,)), ("b", (b,))):
            scores[name].append(float(contradicted(given, num_classes, *probs).sum() / num))
    assert np.allclose([row.score for row in found.rows], scores["pair"])
    return {name: np.array(each) for name, each in scores.items()}


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
    sizes = {(line.get("wrong", "?"), line.get("labels", "?")) for line in lines}
    rows = [f"{len(lines)} seeds; wrong of all: "
            f"{', '.join(f'{wrong} of {num}' for wrong, num in sorted(sizes))}", "",
            "| score | average precision | precision at the number planted |",
            "|---|---|---|"]  # fmt: skip
    for name, values in (("both models", ours), ("one model's confidence", ones)):
        cells = [
            f"{statistics.mean(column):.3f}"
            + (f" ± {statistics.stdev(column):.3f}" if len(column) > 1 else "")
            for column in zip(*values, strict=True)
        ]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    if len(lines) > 1:
        found = paired_t_interval([a[0] - b[0] for a, b in zip(ours, ones, strict=True)])
        rows += ["", f"average precision, both − one: {found.value:.3f}, 95 % interval "
                 f"{found.low:.3f} to {found.high:.3f}"]  # fmt: skip
    return "\n".join(rows)


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="digits, or a folder")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--images", type=int, help="only so many, as many of each class")
    add_arguments(parser)
    given = parser.parse_intermixed_args()
    wanted = [{"seed": seed} for seed in range(given.seeds)]
    print(table(run_missing(given, wanted, partial(run, images=given.images))))


if __name__ == "__main__":
    main()
