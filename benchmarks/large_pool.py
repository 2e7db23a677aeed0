"""Training on a pool whose names do not fit in memory: seconds to begin, and bytes an image.

Run `python benchmarks/large_pool.py [--names 1000000] [--folder FOLDER]`. A list of NAMES paths to
the same thousand PNGs of 32×32 is written to FOLDER (default: the temporary folder's) and taken as
`data.unlabeled`. One process then does what `dmt train` does with it, a step at a time: gathers
the names, opens them again, splits, tells the data, looks at a sample, hands out 100 batches of 64
in the order of training, and labels the pool twice as a round does, where images are not decoded
and the network is a single layer, since only what is held is the question. After every step:
wall and processor seconds, resident memory, and its highest mark so far (VmHWM).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from dmt.data.catalog import Catalog
from dmt.data.fingerprint import fingerprint
from dmt.data.layouts import open_catalog
from dmt.data.pool import open_pool
from dmt.data.splits import make_split
from dmt.data.transforms import Augmentation
from dmt.data.unlabeled import with_unlabeled
from dmt.engine.order import draw
from dmt.engine.runtime import Runtime
from dmt.engine.stage import LabelStage
from dmt.tasks.classification import Classification

SIDE, NUM_FILES = 32, 1000
CPU = Runtime(torch.device("cpu"))
STAGE = LabelStage(
    name="round1/label/a", role="round", round=1, peer="a", fold=None, needs=("round0/a",),
    student="b", fraction=0.5,
)  # fmt: skip


class Blank:
    """A pool of black images that are not read."""

    size = SIDE
    unreadable: frozenset[int] = frozenset()

    def __init__(self, num: int) -> None:
        self.num = num

    def batch(self, ids: Tensor) -> Tensor:
        """Images whose first pixel says which they are."""
        images = torch.zeros(len(ids), 3, SIDE, SIDE, dtype=torch.uint8)
        images[:, :, 0, 0] = (ids[:, None] * torch.tensor([7, 11, 13]) % 256).byte()
        return images

    def stream(self, batches: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """See `dmt.data.pool.Pool.stream`."""
        return ((ids, self.batch(ids)) for ids in batches)


class Look(nn.Module):
    """Two classes from one pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(images[:, :, 0, 0] / 64)
        return logits


def main() -> None:
    """Make the list, do the steps, print what each cost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--names", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=None)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        os.environ["XDG_CACHE_HOME"] = f"{name}/cache"
        measure(Path(name), asked.names)


def measure(folder: Path, num: int) -> None:
    """All steps on a list of `num` names."""
    write_data(folder, num)
    before = memory("VmRSS")
    own, pool = open_catalog(folder / "data"), str(folder / "files" / "list.txt")
    with step("names gathered"):
        catalog = with_unlabeled(own, pool, large_from=min(num, 1_000_000))
    with step("opened again"):
        catalog = with_unlabeled(own, pool, large_from=min(num, 1_000_000))
    with step("split"):
        split = make_split(catalog, seed=0, labels_per_class=None, labels=None)
    with step("told by shards"):
        record = fingerprint(catalog, split)
    print(f"data.json: {len(json.dumps(record)) / 1e6:.2f} MB")
    with step("a sample looked at"):
        images, _ = open_pool(catalog, size=SIDE, device=torch.device("cpu"), workers=1,
                              memory_limit=0, bad_images="stop")  # fmt: skip
    with step("100 batches of 64"):
        ids = torch.from_numpy(split.unlabeled)
        for _ in images.stream(ids[row] for row in draw(len(ids), 64, range(100), 0, "pseudo")):
            pass
    label(catalog, {None: split}, folder)
    held = (memory("VmRSS") - before) * (1 << 20) / num
    highest = (memory("VmHWM") - before) * (1 << 20) / num
    print(f"bytes an image: {held:.0f} held, {highest:.0f} at most")


def label(catalog: Catalog, splits: dict[int | None, object], folder: Path) -> None:
    """A labeling, once more, and what a training keeps of it."""
    task = Classification(
        Blank(len(catalog)), splits, catalog.classes, Augmentation(), 0, CPU  # type: ignore[arg-type]
    )  # fmt: skip
    net = Look()
    for what in ("labeled", "labeled when all shards are there"):
        with step(what):
            found = task.label(STAGE, net, folder / "labels", None)
    with step(f"{found.num_selected:,} labels read for training"):
        kept = task._kept(_Training(), folder / "labels")  # type: ignore[arg-type]
    assert len(kept[0]) == found.num_selected


class _Training:
    online = None


def write_data(folder: Path, num: int) -> None:
    """Two classes of ten images, and a list of `num` paths beside a thousand others."""
    random = np.random.default_rng(0)
    for name in ("dark", "bright"):
        (folder / "data" / "labeled" / name).mkdir(parents=True)
        for number in range(10):
            save(folder / "data" / "labeled" / name / f"{number}.png", random)
    for number in range(NUM_FILES):
        path = folder / "files" / path_of(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, random)
    paths = [path_of(number) for number in range(NUM_FILES)]
    with (folder / "files" / "list.txt").open("w") as file:
        for start in range(0, num, NUM_FILES):
            file.write("".join(f"{path}\n" for path in paths[: num - start]))


def path_of(number: int) -> str:
    """As people have them."""
    return f"2026/{number // 100:05d}/camera-{number % 7}/{number:09d}.png"


def save(path: Path, random: np.random.Generator) -> None:
    """Random pixels."""
    Image.fromarray(random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(path)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what it cost."""
    began, used = time.perf_counter(), time.process_time()
    yield
    print(
        f"{what}: {time.perf_counter() - began:.1f} s, {time.process_time() - used:.1f} s of CPU, "
        f"{memory('VmRSS'):,.0f} MB, highest {memory('VmHWM'):,.0f} MB",
        flush=True,
    )


def memory(field: str) -> float:
    """A line of the kernel's status of this process, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


if __name__ == "__main__":
    main()
