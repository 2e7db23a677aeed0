"""What a task must offer so that the engine can run a plan on it: all that differs between two."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from torch import nn

from dmt.engine.examples import Examples, Shown
from dmt.engine.stage import LabelStage, TrainStage
from dmt.engine.step import Batch, Position
from dmt.records import ClassSelection, Confusion, Difference, ErrorDetection
from dmt.records.examples import Reliability


class Likeness(NamedTuple):
    """How alike two labelings of one pool are."""

    agreement: float  # share of equal labels
    correlation: float | None  # of the confidences; None where one of them does not vary


class Labeling(NamedTuple):
    """What a labeling of the pool came to; accuracies are fractions, None where unknown."""

    num_pool: int
    num_selected: int
    threshold: float | list[float | None]  # lowest confidence kept; by class if class-balanced
    pseudo_label_accuracy: float | None  # of the selected
    pool_accuracy: float | None
    classes: list[ClassSelection]
    unit: Literal["images", "pixels"] = "images"  # what is counted
    likeness: Likeness | None = None  # to the other peer's labels of the same round


class Score(NamedTuple):
    """The metric in %, on the validation part and on labeled images; and by class.

    By class are `classes`, the metric's parts where it has some (IoU in %, None: absent), the
    `recall` in % (None: absent) and `truth`, how many images or pixels there are.
    """

    value: float
    num_images: int
    training: float | None
    recall: list[float | None]
    truth: list[int]
    classes: list[float | None] | None = None


class FinalTable(NamedTuple):
    """The held-out images looked at once, at the end. Values in %."""

    values: dict[str, float]  # a, b, ensemble, supervised, supervised_ensemble, oracle
    difference: Difference | None  # peer a − supervised
    oracle_difference: Difference | None  # oracle − supervised
    confusion: list[Confusion]
    num_images: int
    reliability: Sequence[Reliability] = ()
    wrong: Sequence[Shown] = ()  # held-out images with the worst errors
    num_again: int = 0  # images that went through a network once more to be shown


class Task(Protocol):
    """Classification or segmentation, with its data."""

    name: Literal["classification", "segmentation"]
    metric: Literal["error", "miou"]
    classes: tuple[str, ...]

    def batches(
        self, stage: TrainStage, labels: Path | None, first_step: int
    ) -> Generator[tuple[Position, Batch], None, None]:
        """This rank's share of the batches of steps `first_step` … of a stage.

        `labels` is the folder of the pseudo labels it learns from. A stage that labels for itself
        gets the whole pool without labels.
        """
        ...

    def view(self, batch: Batch, position: Position) -> Batch:
        """The augmented copy of a batch that a student trains on."""
        ...

    def views(self, batch: Batch, position: Position) -> tuple[Batch, Batch]:
        """A weak and a strong copy of unlabeled samples: one to label, one to learn.

        What holds of a sample or a pixel of the one holds of the same of the other.
        """
        ...

    def label(self, stage: LabelStage, net: nn.Module, folder: Path, twin: Path | None) -> Labeling:
        """Label the whole pool in one pass and store it in `folder`.

        `twin` is where the other peer's labels of the same round are, once they are there.
        """
        ...

    def num_checked(self, stage: LabelStage) -> int:
        """Images of the pool whose pseudo labels `detect_errors` compares with the truth; 0 where
        none is known."""
        ...

    def detect_errors(
        self, stage: LabelStage, teacher: nn.Module, other: nn.Module | None, folder: Path
    ) -> ErrorDetection:
        """How well scores find the wrong ones among the pseudo labels in `folder`.

        For records alone. Each network goes once more over the `num_checked` images.
        """
        ...

    def validate(self, stage: TrainStage, net: nn.Module) -> Score | None:
        """The metric on the validation part of the stage's split, None without one, and on at
        most as many of the labeled images that a stage of the rounds saw."""
        ...

    def judge(self, models: Mapping[int | None, Mapping[str, nn.Module]]) -> FinalTable | None:
        """The last table, from models by fold (None: no folds) and name; None without held-out
        labels."""
        ...

    def examples(self, peers: Mapping[str, nn.Module]) -> Examples:
        """Unlabeled images worth showing, from a sample of the pool, by what the last peers say.

        No hidden label is looked at.
        """
        ...

    def num_forward(self, stage: TrainStage | LabelStage) -> int:
        """Images that a stage labels or validates, for the count of forward passes."""
        ...
