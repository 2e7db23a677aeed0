"""Row 3 (on CUDA row 4): a whole DMT step of WRN-28-2, beside a step as the authors take it.

Run `python benchmarks/speed/step.py [--batch 512] [--threads 2] [--device cuda] [--profile]`. Both
steps weigh by an extra forward, mix, train and average the weights, from images in memory. The
other side is written here after the authors' code, which needs shims to run today: pictures go one
by one through PIL in a worker of torch's DataLoader, the weighting forward moves BatchNorm's
statistics, the network has torch's own memory layout, and sums are read at every step. A third side
is the same without its loading: what the arithmetic alone costs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from table import Row, in_turns, print_table, ratio
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from dmt.data.pool import MemoryPool
from dmt.data.transforms import Augmentation, strong
from dmt.engine.fit import FitSpec, Learner, Tally, fit
from dmt.engine.machine import keep_freed_memory
from dmt.engine.runtime import Runtime, open_runtime
from dmt.engine.step import Batch, Position
from dmt.methods.mutual import WeightedPseudoLabels
from dmt.models.build import build
from dmt.models.network import CIFAR10_MEAN, CIFAR10_STD

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from augment import with_pil

NUM_IMAGES, NUM_CLASSES, SIDE = 8192, 10, 32
GAMMA, LR = 4.0, 0.1
MULTIPLICATIONS = 0.216e9  # of WRN-28-2, for one image of 32×32 forward


class Images(Dataset[tuple[Tensor, int]]):
    """One view after the other, as a loader's worker makes them."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self._images, self._labels = images, labels

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        view = with_pil(self._images[index : index + 1])[0].float() / 255
        mean, std = (torch.tensor(each).view(3, 1, 1) for each in (CIFAR10_MEAN, CIFAR10_STD))
        return (view - mean) / std, int(self._labels[index])


class Theirs:
    """A step as the authors take it."""

    def __init__(self, images: Tensor, labels: Tensor, batch: int, runtime: Runtime) -> None:
        self.device = runtime.device
        self.net = build("wrn_28_2", NUM_CLASSES, seed=0, image_size=SIDE).module.to(self.device)
        self.shadow = {name: each.detach().clone() for name, each in self.net.named_parameters()}
        self.optimizer = torch.optim.SGD(
            self.net.parameters(), lr=LR, momentum=0.9, weight_decay=5e-4
        )
        loader = DataLoader(
            Images(images, labels), batch, shuffle=True, num_workers=1, persistent_workers=True
        )
        self.batches = _endless(loader)
        self.kept: tuple[Tensor, Tensor] | None = None

    def step(self, *, is_loading: bool) -> None:
        if is_loading or self.kept is None:
            self.kept = next(self.batches)
        images, label = (each.to(self.device) for each in self.kept)
        is_given = torch.arange(len(label), device=self.device) < len(label) // 8
        confidence = torch.full((len(label),), 0.9, device=self.device)
        self.optimizer.zero_grad()
        with torch.no_grad():
            probs = self.net(images).softmax(dim=1)
            decision, student = probs.argmax(1), probs.max(1).values
            weight = torch.ones_like(student)
            of_label = probs.gather(1, label.unsqueeze(1)).squeeze(1)
            is_same, is_surer = decision == label, student > confidence
            weight[is_same] = of_label[is_same] ** GAMMA
            weight[~is_same & is_surer] = 0
            weight[~is_same & ~is_surer] = of_label[~is_same & ~is_surer] ** GAMMA
            weight[is_given] = 1
            said = [float((~is_same).sum()), float(weight.mean())]
        share = max(float(np.random.beta(0.75, 0.75)), 0.5)
        partner = torch.randperm(len(label), device=self.device)
        mixed = share * images + (1 - share) * images[partner]
        logits = self.net(mixed)
        said.append(float((logits.argmax(1) == label).float().sum()))
        each = share * F.cross_entropy(logits, label, reduction="none")
        each = each + (1 - share) * F.cross_entropy(logits, label[partner], reduction="none")
        said.append(float(each.detach().mean()))
        loss = (each * (share * weight + (1 - share) * weight[partner])).sum() / len(label)
        loss.backward()
        self.optimizer.step()
        for name, value in self.net.named_parameters():
            self.shadow[name] -= 0.999 * (self.shadow[name] - value.data.clone().detach())


def _endless(loader: DataLoader[tuple[Tensor, int]]) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield from loader


class Ours:
    """The engine's own loop, one step at a time."""

    def __init__(self, images: Tensor, labels: Tensor, batch: int, runtime: Runtime) -> None:
        self.runtime = runtime
        spec = FitSpec(num_steps=100_000, batch_size=batch, num_labeled=batch // 8, lr=LR)
        net = build("wrn_28_2", NUM_CLASSES, seed=0, image_size=SIDE)
        net = net.to(runtime.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.learner = Learner(net, spec)
        self.pool = MemoryPool(images.to(runtime.device))
        self.labels = labels.to(runtime.device)
        self.step_number = 0
        self.method = WeightedPseudoLabels(
            _view, NUM_CLASSES, rule="dmt", agreement_gamma=GAMMA, disagreement_gamma=GAMMA,
            has_ramp=True, mixup=0.75, keep_max=True, num_blocks=spec.num_blocks,
        )  # fmt: skip
        self.tally, self.scaler = Tally(), runtime.grad_scaler()

    def step(self) -> None:
        fit(
            {"student": self.learner}, self.method, [self._batch()], self.runtime,
            tally=self.tally, scaler=self.scaler, after_step=lambda position, sums: None,
        )  # fmt: skip

    def _batch(self) -> tuple[Position, Batch]:
        num, device = self.learner.spec.batch_size, self.runtime.device
        ids = torch.randint(NUM_IMAGES, (num,))
        batch = Batch(
            ids, torch.arange(num), self.pool.batch(ids), self.labels[ids.to(device)],
            torch.full((num,), 0.9, device=device),
            torch.ones(num, dtype=torch.bool, device=device), torch.arange(num) < num // 8,
        )  # fmt: skip
        self.step_number += 1
        return Position(0, "benchmark", self.step_number, 100_000), batch


def _view(batch: Batch, position: Position) -> Batch:
    images = strong(batch.images, batch.slots, Augmentation(), 0, "benchmark", position.step)
    return batch._replace(images=images)


def measure(asked: argparse.Namespace) -> list[Row]:
    """Row 3, or on CUDA row 4."""
    torch.manual_seed(0)
    runtime = open_runtime(asked.device, "auto")
    images = torch.randint(0, 256, (NUM_IMAGES, 3, SIDE, SIDE), dtype=torch.uint8)
    labels = torch.randint(NUM_CLASSES, (NUM_IMAGES,))
    ours = Ours(images, labels, asked.batch, runtime)
    theirs = Theirs(images, labels, asked.batch, runtime)
    ways = {
        "dmt": ours.step,
        "as the authors": lambda: theirs.step(is_loading=True),
        "as the authors, without loading": lambda: theirs.step(is_loading=False),
    }
    seconds = in_turns(ways, asked.repeats, asked.device)
    rate = {name: asked.batch / min(each) for name, each in seconds.items()}
    # Backward is twice a forward, the weighting forward one more.
    reached = 4 * 2 * MULTIPLICATIONS * rate["dmt"] / 1e12
    what = (
        f"step of WRN-28-2, batch {asked.batch}, {asked.device}, {runtime.precision}, "
        f"{torch.get_num_threads()} threads"
    )
    number, wanted = ("3", "3×") if asked.device == "cpu" else ("4", "30 000 images/s")
    if asked.profile:
        with torch.profiler.profile() as profile:
            ours.step()
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=20))
    return [
        Row(
            number, what, f"{rate['dmt']:,.0f} images/s ({reached:.2f} Tflop/s)",
            f"{rate[name]:,.0f} images/s", name, f"{ratio(seconds, 'dmt', name):.2f}×", wanted,
        )
        for name in ways
        if name != "dmt"
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--profile", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    keep_freed_memory()
    rows = measure(asked)
    print_table(rows)


if __name__ == "__main__":
    main()
