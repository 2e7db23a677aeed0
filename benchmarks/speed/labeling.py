"""Row 5: labeling a pool, beside two float32 passes and `.npy` planes.

Run `python benchmarks/speed/labeling.py [--images 2048] [--scenes 96] [--threads 2]`. The other
side goes over the pool once for the thresholds and once for the labels, as the authors do, in
float32, and stores float32: for scenes H×W×2 an image. Ours goes over it once, in the precision
that a run would take. Says how many bytes a label takes on either side, how many selected ones
differ by the store and by the precision, and how much memory a larger pool asks for in addition.
Networks are trained for a moment before, on what can be seen in the images.
"""

from __future__ import annotations

import argparse
import copy
import resource
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from table import Row, in_turns, print_table, ratio
from torch import Tensor
from torch.nn import functional

from dmt.core import predict
from dmt.data.pixel_labels import PixelLabels, PixelLabelWriter
from dmt.data.pool import MemoryPool
from dmt.data.pseudo_labels import ImageLabels
from dmt.engine.forward import Share, forward
from dmt.engine.machine import keep_freed_memory
from dmt.engine.runtime import Runtime, open_runtime
from dmt.engine.scene_forward import Inference, scene_logits
from dmt.models.build import Network, build

FRACTION = 0.4
NUM_CLASSES = 6
SIDE, SCENE_SIDE = 32, 128
SCENES_AT_ONCE = 32  # at most, and an eighth of the pool: as the command has it for this size
SMALL, LARGE = "deeplab_v2:wrn_10_1", "deeplab_v2:resnet50"
FP32 = Runtime(torch.device("cpu"))


class ImagePool:
    """A pool of small images and a WRN-28-2."""

    def __init__(self, num: int, runtime: Runtime) -> None:
        torch.manual_seed(0)
        images, truth = _colours(num * 8 // 7, 4, SIDE)
        self.pool = MemoryPool(images)
        # What is labeled lies anywhere between.
        self.ids = torch.randperm(len(images))[:num].sort().values
        self.runtime = runtime
        self.plain = build("wrn_28_2", 10, seed=0, image_size=SIDE)
        _train(self.plain, images, truth.flatten(1).mode().values, 32, 24)
        self.net: Network = copy.deepcopy(self.plain).to(memory_format=torch.channels_last)

    def ours(self, folder: Path) -> None:
        self.label(folder, self.runtime)

    def label(self, folder: Path, runtime: Runtime) -> None:
        batches = Share(self.ids, runtime).batches
        found = (predict(each) for each in forward(self.net, self.pool, batches, runtime))
        answers = [(each.label.int(), each.code) for each in found]
        label, code = (torch.cat(parts) for parts in zip(*answers, strict=True))
        ImageLabels.write(
            folder, self.ids, label, code, 10,
            fraction=FRACTION, is_class_balanced=False, seed=0, where="benchmark",
        )  # fmt: skip

    @torch.no_grad()
    def twice(self, folder: Path) -> None:
        self.plain.eval()
        batches = self.ids.split(512)
        sure = torch.cat([self.plain(self.pool.batch(each)).softmax(1).amax(1) for each in batches])
        cut = sure.sort().values[-int(FRACTION * len(sure))]
        probs = torch.cat([self.plain(self.pool.batch(each)).softmax(1) for each in batches])
        np.save(folder / "kept.npy", (probs.amax(1) >= cut).numpy())
        np.save(folder / "probs.npy", probs.numpy())

    def selected(self, folder: Path) -> Tensor:
        return ImageLabels(folder).is_selected

    def exact(self) -> Tensor:
        """What float32 confidences select, however they are stored."""
        batches = Share(self.ids, FP32).batches
        answers = [each.softmax(1).amax(1) for each in forward(self.net, self.pool, batches, FP32)]
        sure = torch.cat(answers)
        return sure >= sure.sort(descending=True).values[round(FRACTION * len(sure)) - 1]


class ScenePool:
    """A pool of scenes and a DeepLab."""

    def __init__(
        self, num: int, runtime: Runtime, model: str = SMALL, *, is_trained: bool = True
    ) -> None:
        torch.manual_seed(0)
        self.images, truth = _colours(num, 8, SCENE_SIDE)
        self.batch = max(1, min(SCENES_AT_ONCE, num // 8))
        self.runtime = runtime
        self.plain = build(model, NUM_CLASSES, seed=0, image_size=SCENE_SIDE, is_dense=True)
        if is_trained:
            _train(self.plain, self.images, truth, 4, 24)
        self.net = copy.deepcopy(self.plain).to(memory_format=torch.channels_last)

    def ours(self, folder: Path) -> None:
        self.label(folder, self.runtime)

    def label(self, folder: Path, runtime: Runtime) -> None:
        writer = PixelLabelWriter(folder, NUM_CLASSES)
        for start in range(0, len(self.images), self.batch):
            images = self.images[start : start + self.batch]
            answer = predict(scene_logits(self.net, images, Inference(), runtime))
            for row, (label, code) in enumerate(zip(answer.label, answer.code, strict=True)):
                writer.add(start + row, label, code)
        writer.finish(
            writer.counts, fraction=FRACTION, is_class_balanced=True, seed=0, where="benchmark",
            workers=torch.get_num_threads(),
        )  # fmt: skip

    def twice(self, folder: Path) -> None:
        sampled: list[list[Tensor]] = [[] for _ in range(NUM_CLASSES)]
        for start in range(0, len(self.images), self.batch):
            sure, label = self._probs(start).max(1)
            for each in range(NUM_CLASSES):
                sampled[each].append(sure[label == each][::16])
        cuts = [_cut(torch.cat(each)) for each in sampled]
        for start in range(0, len(self.images), self.batch):
            sure, label = self._probs(start).max(1)
            planes = torch.stack([label.float(), sure], dim=-1)
            planes[..., 0][sure <= torch.tensor(cuts)[label]] = 255
            for row, plane in enumerate(planes):
                np.save(folder / f"{start + row}.npy", plane.numpy())

    def selected(self, folder: Path) -> Tensor:
        store = PixelLabels(folder)
        return torch.from_numpy(
            np.stack([store.read(row).is_selected for row in range(len(self.images))])
        )

    def exact(self) -> Tensor:
        """What float32 confidences select in each class, however they are stored."""
        starts = range(0, len(self.images), self.batch)
        answers = [self._probs(start).max(1) for start in starts]
        sure = torch.cat([each.values for each in answers])
        label = torch.cat([each.indices for each in answers])
        is_kept = torch.zeros_like(label, dtype=torch.bool)
        for each in range(NUM_CLASSES):
            members = label == each
            num = round(FRACTION * int(members.sum()))
            if num:
                cut = sure[members].sort(descending=True).values[num - 1]
                is_kept |= members & (sure >= cut)
        return is_kept

    def _probs(self, start: int) -> Tensor:
        images = self.images[start : start + self.batch]
        return scene_logits(self.plain, images, Inference(), FP32).softmax(1)


def _colours(num: int, coarse: int, side: int) -> tuple[Tensor, Tensor]:
    """Soft patches of colour, uint8 (N, 3, side, side), and the class of every pixel, int64."""
    low = torch.rand(num, 3, coarse, coarse)
    soft = functional.interpolate(low, size=side, mode="bicubic").clamp(0, 1)
    noisy = soft + 0.1 * torch.randn_like(soft)
    truth = soft.argmax(1) + 3 * (soft.sum(1) > 1.5)
    return (255 * noisy).clamp(0, 255).byte(), truth


def _train(net: Network, images: Tensor, truth: Tensor, batch: int, num_steps: int) -> None:
    """A moment: enough that some confidences are high and some are not."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    net.train()
    for step in range(num_steps):
        rows = (torch.arange(batch) + step * batch) % len(images)
        functional.cross_entropy(net(images[rows]), truth[rows]).backward()
        optimizer.step()
        optimizer.zero_grad()


def _cut(sure: Tensor) -> float:
    num = int(FRACTION * len(sure)) + 1
    return float(sure.sort(descending=True).values[num - 1]) if len(sure) >= num else 1.0


def _unlike(one: Tensor, other: Tensor) -> float:
    """The share of the selected that only one of the two selects."""
    return int((one & ~other).sum()) / max(1, int(other.sum()))


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _added_memory(num: int, threads: int) -> int:
    """Bytes of resident memory that labeling `num` scenes takes, in a process of its own."""
    words = [sys.executable, __file__, "--only-memory", str(num), "--threads", str(threads)]
    return int(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def _only_memory(num: int) -> None:
    """Scenes are made as they are asked for, so that what grows is the labeling's own."""
    pool = ScenePool(4, open_runtime("cpu", "auto"), is_trained=False)
    with tempfile.TemporaryDirectory() as place:
        pool.ours(Path(place))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        pool.images = pool.images[:1].expand(num, -1, -1, -1)
        pool.ours(Path(place))
    print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))


def measure(asked: argparse.Namespace) -> list[Row]:
    """Row 5, of either task."""
    runtime = open_runtime("cpu", "auto")
    rows = []
    num_large = max(4, asked.scenes // 4)
    with tempfile.TemporaryDirectory() as place:
        for name, pool, num in (
            ("images", ImagePool(asked.images, runtime), asked.images),
            (f"scenes, {SMALL}", ScenePool(asked.scenes, runtime), asked.scenes),
            (f"scenes, {LARGE}", ScenePool(num_large, runtime, LARGE), num_large),
        ):
            mine, theirs = Path(place) / name / "ours", Path(place) / name / "theirs"
            theirs.mkdir(parents=True)
            seconds = in_turns(
                {"dmt": partial(pool.ours, mine), "twice": partial(pool.twice, theirs)},
                asked.repeats,
            )
            sizes, exact = (_bytes(mine) / num, _bytes(theirs) / num), pool.exact()
            fast = pool.selected(mine)
            pool.label(mine, FP32)
            stored = pool.selected(mine)
            what = f"labeling {num:,} {name}, cpu, {torch.get_num_threads()} threads"
            rows.append(
                Row(
                    "5", what,
                    f"{runtime.precision}: {num / min(seconds['dmt']):,.0f}/s, "
                    f"{sizes[0]:,.1f} B each",
                    f"{num / min(seconds['twice']):,.0f}/s, {sizes[1]:,.0f} B each",
                    "two float32 passes, .npy",
                    f"{ratio(seconds, 'dmt', 'twice'):.2f}×, 1/{sizes[1] / sizes[0]:.1f} of the "
                    f"bytes; of the selected {_unlike(stored, exact):.2%} differ by the store, "
                    f"{_unlike(fast, stored):.2%} by {runtime.precision}",
                    "2.5×, 1/8 of the bytes",
                )
            )  # fmt: skip
    small, large = (_added_memory(num, asked.threads) for num in (asked.scenes, 4 * asked.scenes))
    rows.append(
        Row("5", "memory that labeling adds", f"{large / 1e6:.1f} MB for {4 * asked.scenes} scenes",
            f"{small / 1e6:.1f} MB for {asked.scenes}", "a quarter of the pool",
            f"{(large - small) / (3 * asked.scenes):,.0f} B a scene", "constant")
    )  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--scenes", type=int, default=96)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only-memory", type=int, default=None, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    if asked.only_memory is not None:
        return _only_memory(asked.only_memory)
    keep_freed_memory()
    print_table(measure(asked))
    return None


if __name__ == "__main__":
    main()
