"""One piece of a run's work, as plain data. Who makes the list of them: `plan`."""

from __future__ import annotations

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

    @property
    def num_images(self) -> int:
        """Images that go forward and backward."""
        return self.fit.num_steps * self.fit.batch_size

    @property
    def num_weighed(self) -> int:
        """Images that also go through an extra forward, for the weights under mixup."""
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
