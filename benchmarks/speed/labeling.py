"""Row 5: labeling a pool, beside two float32 passes and `.npy` planes.

Run `python benchmarks/speed/labeling.py [--images 4096] [--scenes 48] [--threads 2]`. The other
side goes over the pool once for the thresholds and once for the labels, as the authors do, and
stores float32: for scenes H×W×2 an image. Says how many bytes a label takes on either side, how
many selected ones differ, and how much memory a pool of twice the size asks for in addition.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from table import HEAD, Row, in_turns, ratio
from torch import Tensor

from dmt.core import predict
from dmt.data.pixel_labels import PixelLabels, PixelLabelWriter
from dmt.data.pool import MemoryPool
from dmt.data.pseudo_labels import ImageLabels
from dmt.engine.forward import forward
from dmt.engine.machine import keep_freed_memory
from dmt.engine.runtime import Runtime, open_runtime
from dmt.models.build import Network, build

FRACTION = 0.4
SIDE, SCENE_SIDE = 32, 128
SCENE_BATCH = 4


class ImagePool:
    """A pool of small images and a WRN-28-2."""

    def __init__(self, num: int, runtime: Runtime) -> None:
        torch.manual_seed(0)
        self.pool = MemoryPool(torch.randint(0, 256, (num, 3, SIDE, SIDE), dtype=torch.uint8))
        self.ids = torch.arange(num)
        self.runtime = runtime
        net = build("wrn_28_2", 10, seed=0, image_size=SIDE).to(runtime.device)
        self.plain = net
        self.net: Network = build("wrn_28_2", 10, seed=0, image_size=SIDE).to(  # type: ignore[call-overload]
            runtime.device, memory_format=torch.channels_last
        )

    def ours(self, folder: Path) -> None:
        found = (predict(each) for each in forward(self.net, self.pool, self.ids, self.runtime))
        answers = [(each.label.int(), each.code) for each in found]
        ImageLabels.write(
            folder, self.ids, *(torch.cat(parts) for parts in zip(*answers, strict=True)), 10,
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


class ScenePool:
    """A pool of scenes and a small DeepLab."""

    def __init__(self, num: int, runtime: Runtime) -> None:
        torch.manual_seed(0)
        low = torch.randint(0, 256, (num, 3, 8, 8)).float()
        self.images = torch.nn.functional.interpolate(low, size=SCENE_SIDE, mode="bicubic")
        self.images = self.images.clamp(0, 255).byte()
        self.runtime = runtime
        self.net = build("deeplab_v2:wrn_10_1", 6, seed=0, image_size=SCENE_SIDE, is_dense=True)
        self.net.eval()

    def ours(self, folder: Path) -> None:
        writer = PixelLabelWriter(folder, 6)
        for start in range(0, len(self.images), SCENE_BATCH):
            answer = predict(self._logits(start))
            for row, (label, code) in enumerate(zip(answer.label, answer.code, strict=True)):
                writer.add(start + row, label, code)
        writer.finish(
            writer.counts, fraction=FRACTION, is_class_balanced=True, seed=0, where="benchmark"
        )

    def twice(self, folder: Path) -> None:
        sampled: list[list[Tensor]] = [[] for _ in range(6)]
        for start in range(0, len(self.images), SCENE_BATCH):
            sure, label = self._logits(start).softmax(1).max(1)
            for each in range(6):
                sampled[each].append(sure[label == each][::16])
        cuts = [_cut(torch.cat(each)) for each in sampled]
        for start in range(0, len(self.images), SCENE_BATCH):
            sure, label = self._logits(start).softmax(1).max(1)
            planes = torch.stack([label.float(), sure], dim=-1)
            planes[..., 0][sure <= torch.tensor(cuts)[label]] = 255
            for row, plane in enumerate(planes):
                np.save(folder / f"{start + row}.npy", plane.numpy())

    def differing(self, folder: Path) -> float:
        """The share of the selected pixels that is not what exact float32 selection keeps."""
        store = PixelLabels(folder)
        kept = [store.read(row).is_selected for row in range(len(self.images))]
        starts = range(0, len(self.images), SCENE_BATCH)
        answers = [self._logits(start).softmax(1).max(1) for start in starts]
        sure = torch.cat([each.values for each in answers])
        label = torch.cat([each.indices for each in answers])
        wrong = total = 0
        for each in range(6):
            members = label == each
            num = round(FRACTION * int(members.sum()))
            if num:
                cut = sure[members].sort(descending=True).values[num - 1]
                exact = members & (sure >= cut)
                ours = torch.from_numpy(np.stack(kept)) & members
                wrong, total = wrong + int((exact != ours).sum()), total + num
        return wrong / max(1, total)

    @torch.no_grad()
    def _logits(self, start: int) -> Tensor:
        logits: Tensor = self.net(self.images[start : start + SCENE_BATCH])
        return logits


def _cut(sure: Tensor) -> float:
    num = int(FRACTION * len(sure)) + 1
    return float(sure.sort(descending=True).values[num - 1]) if len(sure) >= num else 1.0


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _added_memory(num: int, threads: int) -> int:
    """Bytes of resident memory that labeling `num` scenes takes, in a process of its own."""
    words = [sys.executable, __file__, "--only-memory", str(num), "--threads", str(threads)]
    return int(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def _only_memory(num: int) -> None:
    """Scenes are made as they are asked for, so that what grows is the labeling's own."""
    runtime = open_runtime("cpu", "fp32")
    pool = ScenePool(SCENE_BATCH, runtime)
    with tempfile.TemporaryDirectory() as place:
        pool.ours(Path(place))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        pool.images = pool.images[:1].expand(num, -1, -1, -1)
        pool.ours(Path(place))
    print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))


def measure(asked: argparse.Namespace) -> list[Row]:
    """Row 5, of either task."""
    runtime = open_runtime("cpu", "fp32")
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for name, pool, num in (
            ("images", ImagePool(asked.images, runtime), asked.images),
            ("scenes", ScenePool(asked.scenes, runtime), asked.scenes),
        ):
            mine, theirs = Path(place) / f"{name}-ours", Path(place) / f"{name}-theirs"
            theirs.mkdir()
            seconds = in_turns(
                {"dmt": partial(pool.ours, mine), "twice": partial(pool.twice, theirs)},
                asked.repeats,
            )
            sizes = _bytes(mine) / num, _bytes(theirs) / num
            what = f"labeling {num:,} {name}, cpu, fp32, {torch.get_num_threads()} threads"
            text = (
                f"{ratio(seconds, 'dmt', 'twice'):.2f}×, 1/{sizes[1] / sizes[0]:.0f} of the bytes"
            )
            if isinstance(pool, ScenePool):
                text += f", {pool.differing(mine):.2%} of the selected differ"
            rows.append(
                Row(
                    "5", what, f"{num / min(seconds['dmt']):,.0f}/s, {sizes[0]:,.0f} B each",
                    f"{num / min(seconds['twice']):,.0f}/s, {sizes[1]:,.0f} B each",
                    "two passes, .npy", text, "2.5×, 1/8 of the bytes",
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
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--scenes", type=int, default=48)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only-memory", type=int, default=None, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    if asked.only_memory is not None:
        return _only_memory(asked.only_memory)
    keep_freed_memory()
    print(HEAD)
    for row in measure(asked):
        print(row)
    return None


if __name__ == "__main__":
    main()
