"""What a method must offer so that `fit` can train it, and the words the two share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from dmt.core import LossSums, sent


class Position(NamedTuple):
    """Where a run is; everything random is drawn from this."""

    seed: int
    stage: str
    step: int  # 0 … num_steps − 1
    num_steps: int


class Batch(NamedTuple):
    """One step's samples. `S` is empty for images with one label, `(H, W)` for pixels."""

    ids: Tensor  # int64 (N,) into the data set
    slots: Tensor  # int64 (N,) on the CPU: the place in the step's whole batch, to draw views from
    images: Tensor  # uint8 (N, 3, H, W)
    label: Tensor  # int64 (N, *S), given or pseudo; where a method labels by itself, no class
    confidence: Tensor  # float32 (N, *S), the teacher's; 1 where the label is given
    valid: Tensor  # bool (N, *S), False: no loss and not counted
    is_labeled: Tensor  # bool (N,) on the CPU, the label was given by a person


View = Callable[[Batch, Position], Batch]
"""An augmented copy of a batch, drawn from the position; labels follow the images' geometry."""


Views = Callable[[Batch, Position], tuple[Batch, Batch]]
"""A weak and a strong copy of a batch; a label of the one is one of the other."""


class StepResult(NamedTuple):
    """What one step's forward gives, by learner: a loss, and sums to look at."""

    losses: dict[str, tuple[LossSums, ...]]  # terms, each divided by its own count, then added
    sums: dict[str, dict[str, Tensor]]
    """What adds up over steps and ranks: the scalars `num_pseudo`, `num_agreed` and `weight`; of a
    method that labels by itself, the labels of each class, (K,), that are `given` and `predicted`.
    """


def picked(batch: Batch, places: Tensor) -> Batch:
    """Some samples of a batch.

    Args:
        batch: N samples.
        places: int64 (n,) on the CPU.
    """
    there = sent(places, batch.images.device)
    return Batch(*(column[places if column.device.type == "cpu" else there] for column in batch))


class Method(Protocol):
    """A way to learn from a batch. Owns no optimizer, no clock and no backward: `fit` does."""

    learners: tuple[str, ...]
    """The networks it trains: one for the rounds, two where both learn in one step."""

    def begin(self, averages: Mapping[str, nn.Module]) -> None:
        """Called once, before the first step, with every learner's averaged network.

        They follow the learners; where nothing is averaged it is the learner's own network.
        """
        ...

    def losses(self, nets: Mapping[str, nn.Module], batch: Batch, position: Position) -> StepResult:
        """Forward passes in train mode, under `fit`'s autocast."""
        ...

    def after_step(self, nets: Mapping[str, nn.Module], position: Position) -> None:
        """Called when the optimizers have moved."""
        ...

    def gamma(self, position: Position) -> float | None:
        """The exponent in force, for the records; None where there is none."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """What a checkpoint must keep besides networks and optimizers."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state_dict()`."""
        ...
