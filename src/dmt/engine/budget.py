"""How fast this machine trains a model, and how many steps of a run fit into a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dmt.engine.fit import FitSpec, Learner, Tally, fit
from dmt.engine.runtime import Runtime
from dmt.engine.step import Batch, Method, Position


class Rates(NamedTuple):
    """Images a second, all in one process."""

    plain: float  # a training step on given labels
    weighted: float  # a student's step, the forward for the weights included
    forward: float  # labeling


class Shapes(NamedTuple):
    """What goes through a network; sizes are (height, width) in pixels."""

    view: tuple[int, int]  # of a training view
    whole: tuple[int, int]  # of an image that is labeled or judged, or of a window of it
    is_dense: bool  # every pixel has a label
    windows: int = 1  # through which an image is labeled


def measure(
    net: nn.Module,
    shapes: Shapes,
    num_classes: int,
    spec: FitSpec,
    plain: Method,
    weighted: Method,
    runtime: Runtime,
    seconds: float,
) -> Rates:
    """Train on noise for about `seconds` by each method, and label some.

    Each rank measures its share of a batch for itself: how many steps that takes is its clock's
    affair, so nothing in them may wait for the others. The rates are those of all ranks.

    Args:
        net: a network; trained in place, so hand in a spare one.
        shapes: of images and labels.
        num_classes: K.
        spec: batch size and optimizer.
        plain, weighted: the methods of round 0 and of the rounds.
        runtime: where it computes.
        seconds: for each of the two.
    """
    num_ranks, runtime = runtime.world_size, replace(runtime, rank=0, world_size=1)
    size = spec.batch_size // num_ranks
    generator = torch.Generator().manual_seed(0)

    def noise(num: int, sides: tuple[int, int]) -> Tensor:
        return torch.randint(0, 256, (num, 3, *sides), generator=generator, dtype=torch.uint8)

    of_label = (size, *shapes.view) if shapes.is_dense else (size,)
    label = torch.arange(size).view(-1, *[1] * (len(of_label) - 1)) % num_classes
    batch = Batch(
        ids=torch.arange(size),
        slots=torch.arange(size),
        images=noise(size, shapes.view),
        label=label.expand(of_label).contiguous(),
        confidence=torch.full(of_label, 0.5),
        valid=torch.ones(of_label, dtype=torch.bool),
        is_labeled=torch.arange(size) < spec.num_labeled // num_ranks,
    )
    moved = Batch(*(column.to(runtime.device) for column in batch))
    batch = moved._replace(slots=batch.slots, is_labeled=batch.is_labeled)

    def train(method: Method) -> float:
        learners = {name: Learner(net, spec) for name in method.learners}
        num_images = size * len(learners)
        return _rate(lambda num: _train(learners, method, batch, num, runtime), num_images, seconds)

    # A batch of whole scenes may not fit where a batch of views does.
    num_whole = 1 if shapes.is_dense else size
    whole = noise(num_whole, shapes.whole).to(runtime.device)

    def label_all(num: int) -> None:
        net.eval()
        with torch.no_grad(), runtime.autocast():
            for _ in range(num):
                net(whole)
        if runtime.device.type == "cuda":
            torch.cuda.synchronize()

    labeling = _rate(label_all, num_whole, seconds / 3) / shapes.windows
    rates = train(plain), train(weighted), labeling
    return Rates(*(num_ranks * rate for rate in rates))


class Workload(NamedTuple):
    """All that a run trains and labels, but for the number of steps."""

    batch_size: int
    num_rounds: int
    first_share: float  # of a peer's steps, for round 0
    num_peers: int
    num_plain_runs: int  # baselines and oracles, each as long as a peer
    num_pool: int  # images to label, once a round and peer
    num_runs: int  # 1, and one more for each fold

    def seconds(self, num_steps: int, rates: Rates) -> float:
        """Time for everything, if one peer takes `num_steps` in all rounds together."""
        return self.num_runs * (self._labeling(rates) + num_steps * self._a_step(rates))

    def num_steps(self, seconds: float, rates: Rates) -> int:
        """The steps of one peer that fit into a time; 0 if even labeling takes longer."""
        left = seconds / self.num_runs - self._labeling(rates)
        return max(0, int(left / self._a_step(rates)))

    def _labeling(self, rates: Rates) -> float:
        return self.num_rounds * self.num_peers * self.num_pool / rates.forward

    def _a_step(self, rates: Rates) -> float:
        of_a_peer = self.first_share / rates.plain + (1 - self.first_share) / rates.weighted
        return self.batch_size * (self.num_peers * of_a_peer + self.num_plain_runs / rates.plain)


def _rate(work: Callable[[int], None], size: int, seconds: float) -> float:
    """Images a second: of the first batch alone if that takes longer, else after warming up."""
    began = time.perf_counter()
    work(1)
    first = time.perf_counter() - began
    if first > seconds:
        return size / first
    num, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds:
        work(1)
        num += 1
    return num * size / max(elapsed, 1e-9)


def _train(
    learners: Mapping[str, Learner], method: Method, batch: Batch, num: int, runtime: Runtime
) -> None:
    fit(
        learners,
        method,
        ((Position(0, "measure", step, num), batch) for step in range(num)),
        runtime,
        tally=Tally(),
        scaler=runtime.grad_scaler(),
        after_step=lambda position, sums: None,
    )
