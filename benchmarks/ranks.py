"""What two ranks do in the time of one, training and labeling, as ratios; nothing is asserted.

Run `torchrun --nproc-per-node 2 benchmarks/ranks.py [--model wrn_16_2] [--turns 5]`, one thread a
rank. In every turn the first rank works alone while the others wait, then all of them do the same
work together, so that a change in the machine's load meets both; the table has the medians. A
training step is DMT's on a batch of 128 images of 32×32 with mixup, views drawn, gradients summed;
labeling goes over a pool of 2048 and stores what it finds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from dmt.config import resolve
from dmt.core import uniform
from dmt.data.hidden import HiddenLabels
from dmt.data.pool import MemoryPool
from dmt.data.pseudo_labels import ImageLabels
from dmt.data.splits import Split
from dmt.data.transforms import Augmentation
from dmt.engine.fit import Learner, Tally, fit
from dmt.engine.plan import Sizes, plan
from dmt.engine.runtime import Runtime, open_runtime
from dmt.engine.stage import LabelStage, TrainStage
from dmt.methods import make_method
from dmt.models.build import build
from dmt.tasks.classification import Classification

NUM_CLASSES, SIDE, NUM_LABELED = 10, 32, 256


def main() -> None:
    """Take turns, and print medians and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="wrn_16_2")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--pool", type=int, default=2048)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    together = open_runtime("cpu", "fp32")
    alone = replace(together, rank=0, world_size=1)
    rates: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as own:
        place = Path(together.first_text(own))
        works = {
            runtime.world_size: _works(asked.model, asked.steps, asked.pool, runtime, place)
            for runtime in (alone, together)
        }
        for turn in range(asked.turns + 1):
            for kind in ("training", "labeling"):
                for num_ranks, (names, num_images) in works.items():
                    together.barrier()
                    if num_ranks > 1 or together.is_writer:
                        began = time.perf_counter()
                        names[kind]()
                        rate = num_images[kind] / (time.perf_counter() - began)
                        if turn:  # the first one warms up
                            rates.setdefault((kind, num_ranks), []).append(rate)
        together.barrier()
    if together.is_writer:
        _print(rates, together.world_size)


def _works(
    model: str, num_steps: int, num_pool: int, runtime: Runtime, place: Path
) -> tuple[dict[str, Callable[[], None]], dict[str, int]]:
    """Training and labeling by some ranks, and how many images each is."""
    num = NUM_LABELED + num_pool
    images = (uniform(0, "images", num=num * 3 * SIDE**2) * 256).byte()
    ids, nothing = np.arange(num), HiddenLabels(np.zeros(0, np.int64), np.zeros(0, np.int64))
    labels = ids[:NUM_LABELED] % NUM_CLASSES
    split = Split(
        ids[:NUM_LABELED], labels, ids[NUM_LABELED:], nothing, nothing, nothing, "nowhere", ()
    )
    task = Classification(
        MemoryPool(images.view(num, 3, SIDE, SIDE)), {None: split},
        tuple(map(str, range(NUM_CLASSES))), Augmentation(), 0, runtime,
    )  # fmt: skip
    words = [f"model={model}", f"steps={2 * num_steps}", "rounds=1", "batch_size=128"]
    settings = resolve(words, dataset=None, default_recipe=None)
    stages = plan(settings, Sizes(NUM_LABELED, num_pool, 0))
    stage = next(each for each in stages if isinstance(each, TrainStage) and each.pseudo)
    labeling = next(each for each in stages if isinstance(each, LabelStage))
    net = build(model, NUM_CLASSES, seed=0, image_size=SIDE).to(memory_format=torch.channels_last)
    method = make_method(stage, task.view, task.views, NUM_CLASSES, runtime)
    learner = Learner(net, stage.fit)
    store = place / f"labels{runtime.world_size}"
    if runtime.is_writer:
        pool = torch.from_numpy(split.unlabeled)
        ImageLabels.write(
            store, pool, pool % NUM_CLASSES, (pool % 9999).int(), NUM_CLASSES,
            fraction=1.0, is_class_balanced=False, seed=0, where="given",
        )  # fmt: skip
    runtime.barrier()

    def train() -> None:
        fit({"student": learner}, method, task.batches(stage, store, 0), runtime,
            tally=Tally(), scaler=runtime.grad_scaler(),
            after_step=lambda position, sums: None)  # fmt: skip

    def label() -> None:
        task.label(labeling, net, place / f"found{runtime.world_size}", None)

    num_trained = stage.fit.num_steps * stage.fit.batch_size
    return {"training": train, "labeling": label}, {"training": num_trained, "labeling": num_pool}


def _print(rates: dict[tuple[str, int], list[float]], num_ranks: int) -> None:
    print(f"| | 1 rank, images/s | {num_ranks} ranks, images/s | ratio | ratio of each turn |")
    print("|---|---|---|---|---|")
    for kind in ("training", "labeling"):
        one, all_ = rates[kind, 1], rates[kind, num_ranks]
        ratios = sorted(b / a for a, b in zip(one, all_, strict=True))
        print(
            f"| {kind} | {statistics.median(one):.0f} | {statistics.median(all_):.0f} | "
            f"{statistics.median(ratios):.2f} | {', '.join(f'{each:.2f}' for each in ratios)} |"
        )


if __name__ == "__main__":
    main()
