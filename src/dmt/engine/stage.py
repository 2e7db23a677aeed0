"""One piece of a run's work, as plain data. Who makes the list of them: `plan`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from dmt.core.weighting import Rule
from dmt.engine.fit import FitSpec

Role = Literal["round", "baseline", "oracle"]


@dataclass(frozen=True)
class Weights:
    """How a stage weighs its pseudo labels."""

    rule: Rule = "ones"
    agreement_gamma: float = 0.0
    disagreement_gamma: float = 0.0
    has_ramp: bool = False


@dataclass(frozen=True)
class Online:
    """How a stage labels the unlabeled images of every batch while it learns from them.

    None: not of this method.
    """

    kind: Literal["confident", "adaptive", "rule", "consistency", "mixmatch"]
    """What of the labels counts: those above `threshold`; above one that follows the model; by
    the stage's `Weights`; probabilities instead of labels; or MixMatch's guess."""
    teacher: Literal["self", "average", "peer", "peer-average"] = "self"
    is_same_view: bool = False  # labels the very view that is learned
    threshold: float | None = None  # confidence from which a label counts
    unlabeled_weight: float | None = None  # of the unlabeled term beside the labeled one; None:
    # one mean over both, as in the rounds
    ramp: float | None = None  # share of the steps over which that weight rises
    momentum: float | None = None  # of the thresholds: share of history kept
    fairness: float | None = None  # weight of FreeMatch's fairness
    temperature: float | None = None  # of MixMatch's sharpening
    views: int | None = None  # over which MixMatch's guess is taken
    mixup: float | None = None  # Beta's parameter of MixMatch's mixing
    fractions: tuple[float, ...] | None = None  # of a batch's labels those that count, the surest
    # first: one after the other in equal parts of the steps
    is_class_balanced: bool = False  # that share of every class that is called
    cutmix: float = 0.0  # share of the unlabeled scenes that get a box of another one

    @property
    def num_forwards(self) -> int:
        """Forwards without gradient of an unlabeled image, by each network."""
        return 0 if self.is_same_view else self.views or 1


@dataclass(frozen=True)
class Preprocessing:
    """How a network takes its images, where that is not its model's own way."""

    mean: tuple[float, float, float] | None = None  # 0–1, in the network's order of channels
    std: tuple[float, float, float] | None = None
    channel_order: Literal["rgb", "bgr"] = "rgb"


@dataclass(frozen=True)
class Stage:
    """What both kinds of work have: a name, a place in the run, and what must be there before."""

    name: str  # "round1/a", "round1/label/b", "baseline/a"; "fold2/…" in a fold
    role: Role
    round: int
    peer: str  # the model that is trained, or that labels
    fold: int | None
    needs: tuple[str, ...]


@dataclass(frozen=True)
class TrainStage(Stage):
    """Train one network."""

    fit: FitSpec
    model: str  # as `models.build` takes it
    weights: str  # none, pretrained, or the path of a file
    preprocessing: Preprocessing = Preprocessing()
    start: str | None = None  # the stage whose network it goes on from; None: a fresh one
    pseudo: str | None = None  # the label stage it learns from
    sees: Literal["labeled", "dms", "everything"] = "labeled"
    weighting: Weights = Weights()
    online: Online | None = None  # it labels for itself
    together: tuple[str, ...] = ()  # all stages trained in the same steps; (): this one alone

    @property
    def num_images(self) -> int:
        """Images that go forward and backward."""
        return self.fit.num_steps * self.fit.batch_size

    @property
    def num_weighed(self) -> int:
        """Images that also go through an extra forward: for weights under mixup, for labels."""
        if self.online is not None:
            num_unlabeled = self.fit.batch_size - self.fit.num_labeled
            return self.online.num_forwards * self.fit.num_steps * num_unlabeled
        is_extra = self.pseudo and self.fit.mixup and self.weighting.rule != "ones"
        return self.num_images if is_extra else 0


@dataclass(frozen=True)
class LabelStage(Stage):
    """Label the whole pool once with one network, for one student."""

    student: str
    fraction: float
    is_class_balanced: bool = False
    other: str | None = None  # the stage whose network is asked too, to see what finds errors
    gammas: tuple[float, float] = (0.0, 0.0)  # γ1 and γ2 of the weight that is looked at there

    @property
    def teacher(self) -> str:
        """The stage whose network labels."""
        return self.needs[0]


def halves_of_rounds(stages: Sequence[Stage]) -> Iterator[tuple[str, TrainStage]]:
    """Stages of peer a by name, each with the one of peer b that may be trained beside it."""
    trained = [each for each in stages if isinstance(each, TrainStage) and not each.together]
    for first in trained:
        for second in trained:
            if (first.peer, second.peer) == ("a", "b") and _place(first) == _place(second):
                yield first.name, second


def _place(stage: TrainStage) -> tuple[object, ...]:
    return stage.role, stage.round, stage.fold
