"""What the engine's tests share: a tiny network, made-up batches, a method that learns two at once.

No tests here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from dmt.core import uniform, weighted_cross_entropy
from dmt.engine.runtime import Runtime
from dmt.engine.step import Batch, Position, StepResult

NUM_CLASSES = 3
CPU = Runtime(torch.device("cpu"))
NO_SCALER = torch.amp.GradScaler("cpu", enabled=False)


class TinyNet(nn.Module):
    """Pixels, one hidden layer with BatchNorm, three classes."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                nn.Linear(48, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, NUM_CLASSES)
            )

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images.flatten(1).float() / 255)
        return logits


def make_batch(seed: int, num: int = 8, num_labeled: int = 4) -> Batch:
    """Noise whose brightness tells the class."""
    label = torch.arange(num) % NUM_CLASSES
    noise = uniform(seed, "image", torch.arange(num), num=48).view(num, 3, 4, 4)
    images = (60 * noise + 80 * label.view(-1, 1, 1, 1)).to(torch.uint8)
    is_labeled = torch.arange(num) < num_labeled
    sure = uniform(seed, "confidence", num=num) * 0.5 + 0.5
    return Batch(
        ids=torch.arange(num),
        slots=torch.arange(num),
        images=images,
        label=label,
        confidence=torch.where(is_labeled, 1.0, sure),
        valid=torch.ones(num, dtype=torch.bool),
        is_labeled=is_labeled,
    )


def make_batches(num_steps: int, first_step: int = 0) -> Iterator[tuple[Position, Batch]]:
    """A stage's batches from `first_step` on."""
    for step in range(first_step, num_steps):
        yield Position(0, "round1/a", step, num_steps), make_batch(step)


class CrossTeaching:
    """Two networks in one step, each learning what the other decides: CPS in miniature."""

    learners: tuple[str, ...] = ("left", "right")

    def __init__(self) -> None:
        self.num_after_steps = 0

    def begin(self, averages: Mapping[str, nn.Module]) -> None:
        """Remember whom it was shown."""
        self.averages = averages

    def losses(self, nets: Mapping[str, nn.Module], batch: Batch, position: Position) -> StepResult:
        """Each one's loss on the other's decision."""
        logits = {name: nets[name](batch.images) for name in self.learners}
        weight = torch.ones(len(batch.ids))
        found, num_pseudo = {}, (~batch.is_labeled).sum()
        for own, other in (("left", "right"), ("right", "left")):
            label = torch.where(batch.is_labeled, batch.label, logits[other].argmax(dim=1))
            found[own] = (weighted_cross_entropy(logits[own], label, weight, batch.valid),)
        return StepResult(found, {name: {"num_pseudo": num_pseudo} for name in found})

    def after_step(self, nets: Mapping[str, nn.Module], position: Position) -> None:
        """Count the calls."""
        self.num_after_steps += 1

    def gamma(self, position: Position) -> float | None:
        """None: no weights."""
        return None

    def state_dict(self) -> dict[str, Tensor]:
        """The count."""
        return {"num_after_steps": torch.tensor(self.num_after_steps)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """The count again."""
        self.num_after_steps = int(state["num_after_steps"])
