"""The report's example images and reliability diagram, from `examples.json`. Draws no picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dmt.insight import numbers
from dmt.insight.charts import Axes, Series, line_chart
from dmt.insight.figures import Figure, learner_name
from dmt.insight.read import RunView
from dmt.records.examples import Example, Examples, Kind, Reliability

_KINDS: tuple[tuple[Kind, str, str, str], ...] = (  # title, of images, of scenes
    ("wrong", "Worst errors",
     "Held-out images that were called wrong, those first of which the models were surest.",
     "Held-out images with the fewest pixels right."),
    ("disagreed", "Most disagreed",
     "Unlabeled images that the two peers see most differently.",
     "Unlabeled images that the two peers see most differently, by the mean over pixels."),
    ("least-sure", "Least sure",
     "Unlabeled images with the lowest confidence.",
     "Unlabeled images with the lowest confidence, by the mean over pixels."),
    ("surest", "Surest",
     "Unlabeled images with the highest confidence, the classes in turn.",
     "Unlabeled images with the highest confidence, by the mean over pixels."),
)  # fmt: skip
_LAYERS = {"truth": "Truth", "a": "Peer a", "b": "Peer b", "confidence": "Confidence",
           "disagreement": "Disagreement"}  # fmt: skip
_NAMES = {"a": learner_name("a"), "b": learner_name("b"), "ensemble": "both"}
MAX_LEGEND = 40


@dataclass(frozen=True)
class Card:
    """One image: its path, the picture below and those on top of it, and what is said of it."""

    path: str
    picture: str
    layers: Sequence[tuple[str, str, str]]  # key, name, data URI
    lines: Sequence[tuple[str, str]]
    is_wrong: bool


@dataclass(frozen=True)
class Group:
    """The images of one kind."""

    title: str
    note: str
    cards: Sequence[Card]


@dataclass(frozen=True)
class ExampleSection:
    """All groups; of scenes also what can be laid over them and the classes' colours."""

    groups: Sequence[Group]
    layers: Sequence[tuple[str, str]]
    colors: Sequence[tuple[str, str]]
    note: str


def example_section(view: RunView) -> ExampleSection | None:
    """What the page shows of a run's images; None where none are kept."""
    found = view.examples
    if found is None or not found.examples:
        return None
    is_dense = bool(found.colors)
    groups = [
        Group(title, of_scenes if is_dense else of_images, cards)
        for kind, title, of_images, of_scenes in _KINDS
        if (cards := [_card(each) for each in found.examples if each.kind == kind])
    ]
    there = {what for each in found.examples for what in each.pictures}
    classes = view.summary.classes if view.summary else view.data.get("classes", [])
    return ExampleSection(
        groups=groups,
        layers=[(key, name) for key, name in _LAYERS.items() if key in there],
        colors=list(zip(map(str, classes), found.colors, strict=False))[:MAX_LEGEND],
        note=_note(found, view),
    )


def _note(found: Examples, view: RunView) -> str:
    unlabeled = view.summary.unlabeled if view.summary else found.num_unlabeled
    if not found.num_unlabeled:
        return "Only held-out images are shown with their truth."
    of = "all" if found.num_unlabeled >= unlabeled else f"of {numbers.count(unlabeled)}, evenly"
    return (
        f"By the peers of the last round. Unlabeled images are the extremes of a sample of "
        f"{numbers.count(found.num_unlabeled)} ({of}); no hidden label was looked at for them. "
        "Only held-out images are shown with their truth."
    )


def _card(each: Example) -> Card:
    lines = [("truth", each.truth)] if each.truth is not None else []
    if each.accuracy is not None:
        lines.append(("pixels right", numbers.fixed(each.accuracy, 1, "%")))
    for model, answer in each.answers.items():
        if model == "ensemble" and answer.label is not None:
            continue  # it follows from both, and the card is small
        sure = numbers.percent(answer.confidence, 0 if answer.confidence < 0.995 else 1)
        name = _NAMES.get(model, model)
        lines.append(
            (f"{name}, sure", sure) if answer.label is None else (name, f"{answer.label} · {sure}")
        )
    if each.disagreement is not None:
        lines.append(("disagree", numbers.percent(each.disagreement, 0)))
    return Card(
        path=each.path,
        picture=each.pictures.get("image", ""),
        layers=[(key, name, each.pictures[key]) for key, name in _LAYERS.items()
                if key in each.pictures],
        lines=lines,
        is_wrong=each.kind == "wrong",
    )  # fmt: skip


def reliability_figure(view: RunView) -> Figure | None:
    """Confidence against accuracy on the held-out images; None where it is not kept."""
    found = view.examples
    if found is None or not found.reliability:
        return None
    headline = view.summary.headline if view.summary else "ensemble"
    drawn = [each for each in found.reliability if each.model in ("supervised", headline)]
    series = [Series("as sure as right", "ref", [(0.0, 0.0), (100.0, 100.0)])]
    series += [_series(each) for each in drawn or found.reliability[:1]]
    errors = "; ".join(
        f"{_name(each.model)} {numbers.fixed(each.error, 1, '%')}" for each in found.reliability
    )
    axes = Axes(
        slug="reliability",
        title="Confidence against accuracy",
        description=f"Expected calibration error: {errors}",
        x_format=lambda x: numbers.fixed(x, 0, "%"),
        y_format=lambda y: numbers.fixed(y, 0, "%"),
        height=300,
        x_from=0.0,
        x_to=100.0,
        y_from=0.0,
        y_to=100.0,
    )
    what = "pixels" if view.unit == "pixels" or found.colors else "images"
    return Figure(
        title="Reliability: is it right as often as it is sure?",
        note=f"Accuracy of held-out {what} by confidence. Below the dashed line: too sure. "
        f"Expected calibration error: {errors}.",
        chart=line_chart(axes, series, dots=True),
        legend=[(each.style, each.name) for each in series],
        header=["model", "confidence", what, "mean confidence", "right"],
        rows=[row for each in found.reliability for row in _rows(each)],
    )


def _name(model: str) -> str:
    return learner_name(model) if model in ("a", "b") else model


def _series(each: Reliability) -> Series:
    style = {"supervised": "unsure", "a": "a", "b": "b"}.get(each.model, "c")
    points = [
        (100 * sure, 100 * right / num)
        for num, right, sure in zip(each.num, each.right, each.confidence, strict=True)
        if num and sure is not None
    ]
    return Series(_name(each.model), style, points)


def _rows(each: Reliability) -> list[list[str]]:
    width = 100 / len(each.num)
    return [
        [_name(each.model), f"{i * width:.0f} to {(i + 1) * width:.0f}{numbers.NARROW}%",
         numbers.count(num), numbers.percent(sure), numbers.percent(right / num)]
        for i, (num, right, sure) in enumerate(
            zip(each.num, each.right, each.confidence, strict=True)
        )
        if num
    ]  # fmt: skip
