"""The report's table of scores by class, of images and of pixels. No files, no layout."""

from __future__ import annotations

from collections.abc import Sequence

from dmt.insight import numbers
from dmt.insight.charts import Cell, heat_table
from dmt.insight.figures import learner_name
from dmt.insight.quality import MAX_TABLE_CLASSES
from dmt.records import ModelScores, Summary

_ORDER = {
    "supervised": "supervised",
    "supervised_ensemble": "supervised pair",
    "a": learner_name("a"),
    "b": learner_name("b"),
    "ensemble": "ensemble",
    "oracle": "oracle",
}
_STRONGEST = 15.0  # points of difference that take the full colour
_UNLABELED, _UNSEEN = " *", " †"


def score_table(summary: Summary, decimals: int) -> tuple[str, list[str]]:
    """IoU by class, mean IoU and pixel accuracy of every model, side by side.

    Args:
        summary: of any run.
        decimals: of the percentages.

    Returns:
        The table as HTML and the notes that belong under it; empty for a classification.
    """
    by_model = {scores.model: scores for scores in summary.scores}
    shown = [by_model[model] for model in _ORDER if model in by_model]
    if not shown:
        return "", []
    pair = (by_model["a"], by_model["supervised"]) if {"a", "supervised"} <= set(by_model) else None
    pixels = _true_pixels(summary)
    columns = ["share", *(_ORDER[scores.model] for scores in shown)]
    columns += ["a − supervised"] if pair else []
    means = {scores.model: _value(summary, scores.model) for scores in shown}
    rows = [
        _total("mean IoU", [means[scores.model] for scores in shown], pair, means, decimals),
        _total(
            "pixel accuracy",
            [scores.pixel_accuracy for scores in shown],
            pair,
            {scores.model: scores.pixel_accuracy for scores in shown},
            decimals,
        ),
    ]
    for index, name in enumerate(summary.classes):
        cells = [_share_cell(pixels[index], sum(pixels))]
        cells += [_iou_cell(scores.iou[index], decimals) for scores in shown]
        if pair:
            cells.append(_difference_cell(pair[0].iou[index], pair[1].iou[index], decimals))
        rows.append((name + _marks(summary, name, pixels[index]), cells))
    table = heat_table("IoU by class", "class", columns, rows)
    return table, _notes(summary, pixels)


def recall_table(summary: Summary, decimals: int) -> str:
    """Recall and precision by class of a classification, beside the supervised model's, as HTML.

    Args:
        summary: of any run.
        decimals: of the percentages.
    """
    by_model = {each.model: each.counts for each in summary.confusion}
    shown = {name: by_model[name] for name in dict.fromkeys(("supervised", summary.headline))
             if name in by_model}  # fmt: skip
    if not shown or summary.task == "segmentation":
        return ""
    pair = list(shown.values()) if len(shown) == 2 else None
    columns = ["held out"]
    for word in ("recall", "precision"):
        columns += [f"{word}, {_ORDER[name]}" for name in shown]
        columns += [f"{word}, difference"] if pair else []
    rows = []
    for index, name in enumerate(summary.classes[:MAX_TABLE_CLASSES]):
        cells = [Cell(numbers.count(sum(next(iter(shown.values()))[index])))]
        for share in (_recall, _precision):
            values = [share(counts, index) for counts in shown.values()]
            cells += [_iou_cell(value, decimals) for value in values]
            if pair:
                cells.append(_difference_cell(values[1], values[0], decimals))
        rows.append((name, cells))
    return heat_table("Recall and precision by class", "class", columns, rows, upright=True)


def _recall(counts: Sequence[Sequence[int]], index: int) -> float | None:
    total = sum(counts[index])
    return 100 * counts[index][index] / total if total else None


def _precision(counts: Sequence[Sequence[int]], index: int) -> float | None:
    total = sum(row[index] for row in counts)
    return 100 * counts[index][index] / total if total else None


def pixel_accuracies(summary: Summary) -> tuple[float | None, float | None]:
    """Pixel accuracy of the headline and of the supervised model in %, None where unknown."""
    known = {scores.model: scores.pixel_accuracy for scores in summary.scores}
    headline = known.get(summary.headline, known.get("a"))
    return headline, known.get("supervised")


def _value(summary: Summary, model: str) -> float | None:
    return {
        **summary.peers,
        "supervised": summary.supervised,
        "supervised_ensemble": summary.supervised_ensemble,
        "ensemble": summary.ensemble,
        "oracle": summary.oracle,
    }[model]


def _true_pixels(summary: Summary) -> list[int]:
    """Held-out pixels of each class."""
    counts = summary.confusion[0].counts if summary.confusion else []
    return [sum(row) for row in counts] or [0] * len(summary.classes)


def _marks(summary: Summary, name: str, num_pixels: int) -> str:
    return (_UNLABELED if name in summary.unlabeled_classes else "") + (
        "" if num_pixels else _UNSEEN
    )


def _notes(summary: Summary, pixels: Sequence[int]) -> list[str]:
    notes = []
    if summary.unlabeled_classes:
        notes.append(
            "* Not one labeled pixel (allow_unlabeled_classes=true), so it cannot be learned; "
            "where it is held out, its IoU of 0 counts in the mean."
        )
    if not all(pixels):
        notes.append(
            "† In no held-out mask: a dash where the model never predicted it, which leaves the "
            "class out of that model's mean; 0 where it did."
        )
    return notes


def _total(
    name: str,
    values: Sequence[float | None],
    pair: tuple[ModelScores, ModelScores] | None,
    by_model: dict[str, float | None] | dict[str, float],
    decimals: int,
) -> tuple[str, list[Cell]]:
    cells = [Cell("")]
    cells += [Cell(numbers.fixed(value, decimals), style="total") for value in values]
    if pair:
        cells.append(_difference_cell(by_model["a"], by_model["supervised"], decimals))
    return name, cells


def _share_cell(num: int, total: int) -> Cell:
    share = num / max(1, total)
    text = numbers.percent(share) if num == 0 or share >= 0.001 else f"< {numbers.percent(0.001)}"
    return Cell(text, hint=f"{numbers.short(num)} held-out pixels")


def _iou_cell(value: float | None, decimals: int) -> Cell:
    if value is None:
        return Cell(numbers.NONE, hint="in none of the truth, or never predicted")
    return Cell(numbers.fixed(value, decimals), value / 100, "a")


def _difference_cell(value: float | None, reference: float | None, decimals: int) -> Cell:
    if value is None or reference is None:
        return Cell(numbers.NONE)
    points = value - reference
    text = numbers.fixed(points, decimals, signed=True)
    return Cell(text, abs(points) / _STRONGEST, "good" if points > 0 else "bad")
