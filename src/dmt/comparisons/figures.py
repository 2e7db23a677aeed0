"""What finished runs give the table of a comparison, and what must be said beside it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from dmt.comparisons.words import Job, Question
from dmt.metrics.over_seeds import Entry, Key
from dmt.records import METRICS, Summary, read_metrics
from dmt.records.comparison import METRIC_NAMES, ORACLE, PAIR_SUFFIX, SUPERVISED, Comparison, Seen


def entries_of(
    question: Question, finished: Sequence[tuple[Job, Path, Summary]], folds: int
) -> dict[Key, dict[int, Entry]]:
    """Figures by method and labels, in the order they were asked for, and by seed.

    The supervised model and the oracle of a seed are those of its first run: where budgets are
    equal, all its runs have the same.

    Args:
        question: what was asked.
        finished: its runs that came to their end, in its order.
        folds: of every run.
    """
    names = [*question.methods, *(each + PAIR_SUFFIX for each in question.methods)]
    entries: dict[Key, dict[int, Entry]] = {
        (name, at): {} for at in question.labels or (None,) for name in names
    }
    for job, run, summary in finished:
        for name, entry in _of_run(job.method, run, summary, folds).items():
            if (name, job.labels) in entries:
                entries[name, job.labels].setdefault(job.seed, entry)
    # Pairs are in the table where they have a supervised pair to be compared with.
    return {key: e for key, e in entries.items() if e or not key[0].endswith(PAIR_SUFFIX)}


def notes_on(question: Question, result: Comparison, first: Summary) -> list[str]:
    """What must be said beside the table.

    Args:
        question: what was asked.
        result: the table.
        first: the summary of its first run.
    """
    notes = [f"{METRIC_NAMES[result.metric].capitalize()} in % on {first.held_out}; one model "
             "against one model."]  # fmt: skip
    budgets = {
        each.method: each.images_seen.per_model
        for each in result.methods
        if each.images_seen is not None
    }
    if len(set(budgets.values())) > 1:
        listed = ", ".join(f"{name} {images:,.0f}" for name, images in budgets.items())
        notes.append(
            f"Budgets differ, in images that one model is trained on: {listed}. Differences to "
            "supervised are to a model of as many images as the method's own; others are not "
            "between equals."
        )
    if len(question.seeds) == 1:
        notes.append(
            "One seed: intervals are over the held-out images of its runs, not over seeds."
        )
    if first.num_held_out == 0:
        notes.append("There are no held-out labels, so nothing is measured: put some into test/.")
    elif ORACLE in question.methods and first.oracle is None:
        notes.append(
            "No labels are hidden, so there is no oracle: labels= or labels_per_class= hides some."
        )
    return notes


def _of_run(method: str, run: Path, summary: Summary, folds: int) -> dict[str, Entry]:
    """One run's figures by name."""
    seconds: dict[str, float] = defaultdict(float)
    for event in read_metrics(run / METRICS):
        if event["event"] == "finished":
            *_, role, peer = str(event["stage"]).replace("/label/", "/").split("/")
            seconds["own" if role.startswith("round") else f"{role}/{peer}"] += event["seconds"]
    seen, judged, num_runs = summary.images_seen, folds or 1, folds + 1
    num_models = 2 if summary.headline == "ensemble" else 1
    has_pair = summary.supervised_ensemble is not None
    own = Seen(
        trained=seen.trained,
        per_model=seen.trained / num_models / num_runs,
        forward_only=seen.forward_only,
    )
    alone = seen.baseline / (2 if has_pair else 1)
    entries = {
        method: Entry(
            summary.peers["a"],
            None if method == SUPERVISED else summary.supervised,
            summary.oracle,
            summary.interval,
            None if method == SUPERVISED else summary.gap_closed,
            seconds["own"],
            own,
        )
    }
    if method != SUPERVISED and summary.supervised is not None:
        entries[SUPERVISED] = Entry(
            summary.supervised,
            seconds=seconds["baseline/a"],
            seen=Seen(trained=alone, per_model=alone / judged, forward_only=None),
        )
    if summary.oracle is not None:
        entries[ORACLE] = Entry(
            summary.oracle,
            summary.supervised,
            seconds=seconds["oracle/a"],
            seen=Seen(trained=seen.oracle, per_model=seen.oracle, forward_only=None),
        )
    if has_pair:
        entries[method + PAIR_SUFFIX] = Entry(
            summary.ensemble, summary.supervised_ensemble, seconds=seconds["own"], seen=own
        )
        entries[SUPERVISED + PAIR_SUFFIX] = Entry(
            summary.supervised_ensemble,
            seconds=seconds["baseline/a"] + seconds["baseline/b"],
            seen=Seen(trained=2 * alone, per_model=alone / judged, forward_only=None),
        )
    return entries
