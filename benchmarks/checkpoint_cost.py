"""What saving costs of a training's time, for a small classifier and a small segmenter.

Run `python benchmarks/checkpoint_cost.py [--saves 5] [--threads 1] [--folder FOLDER]`. A save is
timed as a run does it: state to bytes, fsync of the record, temporary file, fsync, rename, fsync of
the folder. The share of the time is save / (save + checkpoint_every) at the default
checkpoint_every, since a run saves that long after it saved last; a training step of the same
network is timed in turns, for scale. FOLDER decides the disk (default: the temporary folder's).
Nothing is asserted here.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from dmt.config import Settings
from dmt.engine.fit import FitSpec, Learner
from dmt.engine.folder import RunFolder
from dmt.models.build import build

NETWORKS = (  # name, classes, batch, side of an image in pixels
    ("wrn_28_2", 10, 128, 32),
    ("deeplab_v2:wrn_10_1", 6, 8, 64),
)


def main() -> None:
    """Time saves and steps, and print their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--saves", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=None)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    every = Settings().checkpoint_every
    print(f"| network | parameters | MB a save | s a save | s a step | share at {every:g} s |")
    print("|---|---|---|---|---|---|")
    for name, num_classes, batch_size, side in NETWORKS:
        learner = _learner(name, num_classes, batch_size, side)
        with tempfile.TemporaryDirectory(dir=asked.folder) as place:
            folder = RunFolder(Path(place))
            saves, steps = [], []
            for _ in range(asked.saves):
                steps.append(_step(learner, batch_size, side))
                folder.record("step", "round1/a", loss=1.0)
                began = time.perf_counter()
                folder.save_state({"stage": "round1/a", "learners": {name: learner.state_dict()}})
                saves.append(time.perf_counter() - began)
            size = (folder.path / "checkpoint" / "state.pt").stat().st_size
        save, step = statistics.median(saves), statistics.median(steps)
        num = sum(each.numel() for each in learner.net.parameters())
        print(
            f"| {name} | {num:,} | {size / 1e6:.1f} | {save:.3f} (most {max(saves):.3f}) "
            f"| {step:.3f} | {save / (save + every):.4%} |"
        )


def _learner(name: str, num_classes: int, batch_size: int, side: int) -> Learner:
    net = build(name, num_classes, seed=0, image_size=side, is_dense=name.startswith("deeplab"))
    spec = FitSpec(num_steps=1000, batch_size=batch_size, num_labeled=batch_size // 2, lr=0.05)
    return Learner(net.to(memory_format=torch.channels_last).train(), spec)


def _step(learner: Learner, batch_size: int, side: int) -> float:
    images = torch.rand(batch_size, 3, side, side)
    began = time.perf_counter()
    learner.optimizer.zero_grad(set_to_none=True)
    learner.net(images).square().mean().backward()
    learner.optimizer.step()
    if learner.ema is not None:
        learner.ema.update(learner.net)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
