"""Row 8: what a pool of a thousand and of a million images costs an image, in time and memory.

Run `python benchmarks/speed/growth.py [--sizes 1000 100000 1000000]`. The images are one file that
is mapped into memory, 8×8 pixels, and the network is a linear layer, so that what is measured is
everything else: order, reading, labeling, the store, selection and a few hundred batches. Each size
is a process of its own. Memory is what is resident beyond the smallest pool's, the file itself,
which the system may drop at any time, left out. The smallest pool shows what a labeling costs
whatever its size; the one between, whether an image's share grows.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from table import Row, print_table
from torch import Tensor, nn

from dmt.core import predict
from dmt.data.pool import StreamPool
from dmt.data.pseudo_labels import ImageLabels
from dmt.engine.forward import Share, forward
from dmt.engine.order import draw
from dmt.engine.runtime import open_runtime

SIDE, NUM_CLASSES, BATCH, STEPS = 8, 10, 128, 200


class Linear(nn.Module):
    """The cheapest network there is."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3 * SIDE * SIDE, NUM_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(images.flatten(1).float() / 255)
        return logits


def _one(num: int) -> None:
    """Print what a pool of one size costs."""
    torch.set_num_threads(1)
    runtime = open_runtime("cpu", "fp32")
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "images.bin"
        block = np.random.default_rng(0).integers(0, 256, (1000, SIDE, SIDE, 3), np.uint8)
        with file.open("wb") as out:
            for _ in range(num // len(block)):
                out.write(block.tobytes())
        images = np.memmap(file, np.uint8, "r", shape=(num, SIDE, SIDE, 3))
        pool = StreamPool(
            lambda row: images[row], num=num, size=SIDE, device=runtime.device, workers=0
        )
        net, ids = Linear(), torch.arange(num)
        began = time.perf_counter()
        batches = Share(ids, runtime).batches
        found = (predict(each) for each in forward(net, pool, batches, runtime))
        answers = [(each.label.int(), each.code) for each in found]
        label, code = (torch.cat(parts) for parts in zip(*answers, strict=True))
        del answers
        ImageLabels.write(
            Path(place) / "labels", ids, label, code, NUM_CLASSES,
            fraction=0.2, is_class_balanced=False, seed=0, where="benchmark",
        )  # fmt: skip
        store = ImageLabels(Path(place) / "labels")
        kept = store.ids[store.is_selected]
        labeling = time.perf_counter() - began
        began = time.perf_counter()
        order = draw(len(kept), BATCH, range(STEPS), 0, "benchmark")
        for _, batch in pool.stream(kept[row] for row in order):
            net(batch)
        stepping = time.perf_counter() - began
        peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        mapped = _resident_of(file)
    print(json.dumps({"label": labeling / num, "step": stepping / STEPS / BATCH,
                      "memory": peak - mapped}))  # fmt: skip


def _resident_of(file: Path) -> int:
    """Bytes of a mapped file that are resident now."""
    total, is_ours = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ")[0]:
            is_ours = line.endswith(str(file))
        elif is_ours and line.startswith("Rss:"):
            total += 1024 * int(line.split()[1])
    return total


def measure(asked: argparse.Namespace) -> list[Row]:
    """Row 8."""
    found: dict[int, list[dict[str, float]]] = {num: [] for num in asked.sizes}
    for _ in range(asked.repeats):
        for num in asked.sizes:
            words = [sys.executable, __file__, "--one", str(num)]
            done = subprocess.run(words, check=True, capture_output=True, text=True)
            found[num].append(json.loads(done.stdout))
    *smaller, large = asked.sizes
    small = smaller[0]
    best = {
        num: {name: min(each[name] for each in runs) for name in runs[0]}
        for num, runs in found.items()
    }
    added = (best[large]["memory"] - best[small]["memory"]) / (large - small)
    return [
        Row("8", f"{name}, of {large:,} images", f"{1e6 * best[large][key]:.1f} µs an image",
            f"{1e6 * best[other][key]:.1f} µs an image", f"of {other:,}",
            f"{best[large][key] / best[other][key] - 1:+.0%}", "within 20 %")
        for name, key in (("labeling and selecting", "label"), ("a batch", "step"))
        for other in smaller
    ] + [
        Row("8", "resident memory", f"{added:.0f} bytes an image more", "", f"of {small:,}", "",
            "100 bytes an image")
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 100_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--one", type=int, default=None, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one is not None:
        return _one(asked.one)
    print_table(measure(asked))
    return None


if __name__ == "__main__":
    main()
