"""How often intervals over blocks hold the truth, by simulation; the figures of decision 013.

`python tests/unit/metrics/block_coverage.py` prints them all in about two minutes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from dmt.metrics.confusion import mean_iou
from dmt.metrics.intervals import block_interval, widening

NUM_BLOCKS = (3, 4, 5, 6, 8, 12, 20, 60)
_MANY = 100_000  # blocks whose sum stands for all there are


@dataclass(frozen=True)
class World:
    """How blocks differ: in size, classes and difficulty. Spreads are of normal log-odds."""

    num_classes: int
    num_rare: int  # classes that 35 % of the blocks hold
    size_spread: float
    effect_spread: float
    gain: float  # of model a over b


WORLDS: Mapping[str, World] = {
    "even": World(11, 0, 0.2, 0.5, 0.25),
    "rare classes": World(11, 3, 0.2, 0.5, 0.25),
    "uneven, no gain": World(11, 3, 0.8, 0.9, 0.0),
    "two classes": World(2, 0, 0.5, 0.7, 0.25),
}


def draw_blocks(
    world: World, shape: tuple[int, ...], generator: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Confusion counts of both models, each (*shape, K, K), on the same blocks."""
    classes = (*shape, world.num_classes)
    share = np.exp(np.linspace(1.5, -1.5, world.num_classes) + generator.normal(0, 0.7, classes))
    if world.num_rare:
        is_there = generator.random((*shape, world.num_rare)) < 0.35
        share[..., -world.num_rare :] *= is_there
    share /= share.sum(-1, keepdims=True)
    size = 1e5 * np.exp(generator.normal(0, world.size_spread, (*shape, 1)))
    spread = world.effect_spread
    common = generator.normal(0, spread, (*shape, 1)) + generator.normal(0, spread, classes)
    models = []
    for gain in (world.gain, 0.0):
        own = generator.normal(0, 0.35 * spread, (*shape, 1))
        own = own + generator.normal(0, 0.5 * spread, classes)
        logit = np.linspace(1.8, 0.2, world.num_classes) + common + own + gain
        recall = special.expit(logit)[..., None]
        identity = np.eye(world.num_classes)
        wrong = (share + 0.02)[..., None, :] * (1 - identity)  # confused with what is there
        wrong /= wrong.sum(-1, keepdims=True)
        called = recall * identity + (1 - recall) * wrong
        models.append(np.round((size * share)[..., None] * called))
    return models[0], models[1]


def true_difference(world: World) -> float:
    """Mean IoU of a − mean IoU of b over very many blocks."""
    generator = np.random.default_rng(1)
    sums = np.zeros((2, world.num_classes, world.num_classes))
    for _ in range(100):
        sums += [each.sum(0) for each in draw_blocks(world, (_MANY // 100,), generator)]
    a, b = (mean_iou(each.astype(np.int64)).value for each in sums)
    return a - b


def jackknife_t(a: NDArray[np.int64], b: NDArray[np.int64]) -> tuple[float, float]:
    """The other good choice: estimate ± t · the jackknife's standard error."""

    def difference(rows: NDArray[np.bool_]) -> float:
        return mean_iou(a[rows].sum(0)).value - mean_iou(b[rows].sum(0)).value

    num = len(a)
    rows = ~np.eye(num, dtype=np.bool_)
    without = np.array([difference(row) for row in rows])
    error = np.sqrt((num - 1) / num * ((without - without.mean()) ** 2).sum())
    value, reach = difference(np.ones(num, dtype=np.bool_)), special.stdtrit(num - 1, 0.975) * error
    return value - reach, value + reach


def coverages(
    world: World, num_blocks: int, num_trials: int, truth: float | None = None
) -> dict[str, float]:
    """Share of trials, in %, in which each interval holds the truth."""
    generator = np.random.default_rng(num_blocks)
    truth = true_difference(world) if truth is None else truth
    held = dict.fromkeys(("percentile", "jackknife-t", "widened"), 0)
    for trial in range(num_trials):
        drawn = draw_blocks(world, (num_blocks,), generator)
        a, b = (each.astype(np.int64) for each in drawn)
        value, low, high = block_interval(a, b, seed=trial, num_resamples=500)
        factor = widening(num_blocks)
        ends = {
            "percentile": (value + (low - value) / factor, value + (high - value) / factor),
            "jackknife-t": jackknife_t(a, b),
            "widened": (low, high),
        }
        for name, (bottom, top) in ends.items():
            held[name] += bottom <= truth <= top
    return {name: 100 * number / num_trials for name, number in held.items()}


def main(num_trials: int = 1000) -> None:
    """Print the table: a line for each world and number of blocks."""
    for name, world in WORLDS.items():
        truth = true_difference(world)
        for num in NUM_BLOCKS:
            found = coverages(world, num, num_trials, truth)
            words = "  ".join(f"{kind} {share:5.1f}" for kind, share in found.items())
            print(f"{name:16} {num:3} blocks  {words}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
