"""The table of `gpu_cifar.py`, as far as its runs have come: errors and gaps with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dmt.comparisons.words import Question
    from dmt.metrics.over_seeds import Entry

METHODS = ("supervised", "self-training", "dmt", "dmt-online", "oracle")
PAIRS = (("dmt", "supervised"), ("dmt-online", "supervised"), ("dmt", "self-training"),
         ("dmt-online", "dmt"))  # fmt: skip
NOTE = (
    "Intervals are over the test images of this one seed. One model each, peer a of a pair; "
    "seconds and images/s are of all models of the method, labeling included."
)
CORRECT = "correct.npz"  # of a finished run: its test images, right or wrong, by model
_RESAMPLES = 10_000


def judge(run: Path, data: Path) -> dict[str, NDArray[np.bool_]]:
    """Which test images each final model of a finished run has right, by its name."""
    from dmt.data.catalog import Part
    from dmt.data.layouts import open_catalog
    from dmt.engine.folder import RunFolder
    from dmt.engine.model import Model
    from dmt.engine.outcome import final_models
    from dmt.engine.plan import plan
    from dmt.inference.using import open_model, settings_of, sizes_in
    from dmt.records import read_summary

    settings, catalog = settings_of(run), open_catalog(data)
    stages = final_models(plan(settings, sizes_in(run)), None, settings.baseline)
    model = open_model(
        [RunFolder(run).weights(stage.name) for stage in stages.values()], None, settings,
        tuple(read_summary(run).classes), task="classification", device=settings.device,
    )  # fmt: skip
    assert isinstance(model, Model)
    assert catalog.root is not None
    assert list(model.classes) == list(catalog.classes)
    rows = (catalog.parts == Part.TEST).nonzero()[0]
    answers = list(model.predict_peers([catalog.root / catalog.paths[row] for row in rows]))
    return {
        name: np.concatenate([peers[i].argmax(1).cpu().numpy() for peers in answers])
        == catalog.labels[rows]
        for i, name in enumerate(stages)
    }


def table(work: Path, words: Mapping[str, Any]) -> str:
    """What is known so far: errors, gap closed and differences, with 95 % intervals over images."""
    from dmt.comparisons.words import read_question
    from dmt.metrics.intervals import paired_error_interval

    question = read_question(words)
    entries, correct = _known(work, question)
    lines = [
        f"CIFAR-10 (JPEG 75), {words.get('labels_per_class', 400)} labels a class, "
        f"{words.get('model', 'wrn_28_2')}, reduced schedule: {words['steps']} steps of "
        f"{words['batch_size']} images a model; seed {question.seeds[0]}",
        "",
        "| model | error in % [95 %] | gap closed [95 %] | images a model | seconds | images/s |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for method in METHODS:
        name = "fully supervised" if method == "oracle" else method
        entry = entries.get(method)
        if entry is None or entry.seen is None or not entry.seconds or method not in correct:
            lines.append(f"| {name} | not measured | | | | |")
            continue
        error, gap = _interval(correct[method]), _gap(method, correct)
        lines.append(
            f"| {name} | {error} | {gap} | {entry.seen.per_model:,.0f} | {entry.seconds:,.0f} | "
            f"{entry.seen.trained / entry.seconds:,.0f} |"
        )
    for a, b in PAIRS:
        if {a, b} <= correct.keys():
            value, low, high = paired_error_interval(correct[a], correct[b])
            lines += [
                "",
                f"{a} − {b}: {value:+.2f} points of error, 95 % {low:+.2f} to {high:+.2f}",
            ]
    lines += ["", NOTE]
    return "\n".join(lines)


def _known(work: Path, question: Question) -> tuple[dict[str, Entry], dict[str, NDArray[np.bool_]]]:
    from dmt.comparisons.figures import entries_of
    from dmt.records import is_finished, read_summary

    runs = [(job, work / job.name) for job in question.jobs]
    finished = [(job, run, read_summary(run)) for job, run in runs if is_finished(run)]
    entries = {
        method: next(iter(found.values()))
        for (method, _), found in entries_of(question, finished, 0).items()
        if found
    }
    correct: dict[str, NDArray[np.bool_]] = {}
    for job, run, _ in finished:
        with np.load(run / CORRECT) as kept:
            for name in kept.files:
                correct.setdefault(job.method if name == "a" else name, kept[name])
    return entries, correct


def _interval(correct: NDArray[np.bool_]) -> str:
    """Error in % with Wilson's interval."""
    from scipy.stats import binomtest

    wrong = int((~correct).sum())
    ends = binomtest(wrong, len(correct)).proportion_ci(method="wilson")
    return f"{100 * wrong / len(correct):.2f} [{100 * ends.low:.2f}, {100 * ends.high:.2f}]"


def _gap(method: str, correct: Mapping[str, NDArray[np.bool_]]) -> str:
    """(supervised − method) / (supervised − oracle) in %, by a paired bootstrap over images."""
    if method in {"supervised", "oracle"} or not {"supervised", "oracle"} <= correct.keys():
        return "–"
    three = np.stack([correct[each] for each in ("supervised", method, "oracle")])
    kinds, counts = np.unique(three, axis=1, return_counts=True)
    draws = np.random.Generator(np.random.PCG64(0)).multinomial(
        three.shape[1], counts / three.shape[1], size=_RESAMPLES
    )
    right = np.concatenate([counts[None], draws]) @ kinds.T.astype(np.int64)
    supervised, own, oracle = right.T
    if (oracle <= supervised).mean() > 0.025:
        return "no gap"  # all labels are not surely better, so that a share of it means nothing
    shares = 100 * (own - supervised) / np.where(oracle == supervised, 1, oracle - supervised)
    low, high = np.quantile(shares[1:], [0.025, 0.975])
    return f"{shares[0]:.0f} % [{low:.0f}, {high:.0f}]"
