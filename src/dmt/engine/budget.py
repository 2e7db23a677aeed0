"""How fast this machine trains a model, and how many steps fit into a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from dmt.engine.fit import FitSpec, Learner, Tally, fit
from dmt.engine.runtime import Runtime
from dmt.engine.step import Batch, Method, Position


class Rates(NamedTuple):
    """Images a second, all in one process."""

    plain: float  # a training step on given labels
    weighted: float  # a student's step, the forward for the weights included
    forward: float  # labeling


def measure(
    net: nn.Module,
    image_size: int,
    num_classes: int,
    spec: FitSpec,
    plain: Method,
    weighted: Method,
    runtime: Runtime,
    seconds: float,
) -> Rates:
    """Train on noise for about `seconds` by each method, and label some.

    Args:
        net: a network; trained in place, so hand in a spare one.
        image_size: side in pixels.
        num_classes: K.
        spec: batch size and optimizer.
        plain, weighted: the methods of round 0 and of the rounds.
        runtime: where it computes.
        seconds: for each of the two.
    """
    size = spec.batch_size
    generator = torch.Generator().manual_seed(0)
    shape = (size, 3, image_size, image_size)
    images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    batch = Batch(
        ids=torch.arange(size),
        slots=torch.arange(size),
        images=images,
        label=torch.arange(size) % num_classes,
        confidence=torch.full((size,), 0.5),
        valid=torch.ones(size, dtype=torch.bool),
        is_labeled=torch.arange(size) < spec.num_labeled,
    )
    batch = Batch(*(column.to(runtime.device) for column in batch))._replace(slots=batch.slots)

    def train(method: Method) -> float:
        return _rate(lambda num: _train(net, spec, method, batch, num, runtime), size, seconds)

    def label(num: int) -> None:
        net.eval()
        with torch.no_grad(), runtime.autocast():
            for _ in range(num):
                net(batch.images)
        if runtime.device.type == "cuda":
            torch.cuda.synchronize()

    return Rates(train(plain), train(weighted), _rate(label, size, seconds / 3))


def steps_within(
    seconds: float,
    rates: Rates,
    *,
    batch_size: int,
    num_rounds: int,
    first_share: float,
    num_peers: int,
    num_plain_runs: int,
    num_pool: int,
    num_runs: int,
) -> int:
    """Optimizer steps of one peer, all rounds together, such that everything fits into `seconds`.

    Args:
        seconds: for training and labeling.
        rates: measured.
        batch_size: images a step.
        num_rounds: R.
        first_share: of the steps, for round 0.
        num_peers: trained in each round.
        num_plain_runs: baselines and oracles, each as long as a peer.
        num_pool: images to label, once a round and peer.
        num_runs: 1, and one more for each fold.

    Returns:
        A number of steps that may be 0 or negative if even labeling takes longer.
    """
    labeling = num_rounds * num_peers * num_pool / rates.forward
    a_step = batch_size * (
        num_peers * (first_share / rates.plain + (1 - first_share) / rates.weighted)
        + num_plain_runs / rates.plain
    )
    return int((seconds / num_runs - labeling) / a_step)


def _rate(work: Callable[[int], None], size: int, seconds: float) -> float:
    """Images a second, after one round of warming up."""
    work(1)
    num, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds or num < 2:
        work(1)
        num += 1
    return num * size / max(elapsed, 1e-9)


def _train(
    net: nn.Module, spec: FitSpec, method: Method, batch: Batch, num: int, runtime: Runtime
) -> None:
    positions = ((Position(0, "measure", step, num), batch) for step in range(num))
    learners = {name: Learner(net, spec) for name in method.learners}
    fit(
        learners,
        method,
        positions,
        runtime,
        tally=Tally(),
        scaler=runtime.grad_scaler(),
        after_step=lambda position, sums: None,
    )
