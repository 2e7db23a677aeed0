"""A million images labeled end to end, undisturbed and killed three times; an index of names.

Run `python benchmarks/label_pool.py [--images 1000000] [--shards 100] [--names 10000000]
[--folder FOLDER] [--skip-whole] [method=self-training …]`. Synthetic PNGs of 32×32 in tar shards
are written to FOLDER (default: the temporary folder's), a pair of wrn_10_1 is trained for a few
steps, and `dmt label` runs as a process of its own with one thread and one that decodes. It is
timed from start to end; its memory is the kernel's highest mark (VmHWM). Then the same into
another folder, killed by SIGKILL three times on the way, and every file of both is compared. At
last an index of NAMES names is written, and four processes read 200 000 random names each.
Nothing is asserted but that the two folders are equal. The last words go to `dmt train`: with
method=self-training one network labels in place of two.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 32
KILLED_AT = (0.2, 0.5, 0.8)


def main() -> None:
    """Make the pool, label it twice, read the index, print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--names", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--skip-whole", action="store_true", help="label only the killed one")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        folder = Path(name)
        if asked.images:
            pool = write_pool(folder / "pool", asked.images, asked.shards)
            run = train(folder, asked.words)
            label_twice(folder, run, pool, asked.images, is_whole=not asked.skip_whole)
        if asked.names:
            read_index(folder / "index", asked.names)


def label_twice(folder: Path, run: Path, pool: Path, num: int, *, is_whole: bool) -> None:
    """Label a pool undisturbed, and killed three times; compare."""
    num_shards = len(list(pool.iterdir()))
    outs = {name: folder / name for name in ("whole", "killed")}
    if is_whole:
        before = cpu_seconds()
        seconds, peak = label(run, pool, outs["whole"])
        print(
            f"{num:,} images in {num_shards} shards: {seconds:.0f} s from start to end, "
            f"{num / seconds:,.0f} images/s, at most {peak:.0f} MB; "
            f"{cpu_seconds() - before:.0f} s of CPU, {num / (cpu_seconds() - before):,.0f} images/s"
        )
    total = 0.0
    for share in (*KILLED_AT, None):
        until = None if share is None else round(share * num_shards)
        seconds, peak = label(run, pool, outs["killed"], until)
        total += seconds
        done = len(list(outs["killed"].glob("part-*.parquet")))
        print(f"{'ended' if until is None else 'killed'} after {seconds:.0f} s with {done} parts, "
              f"at most {peak:.0f} MB")  # fmt: skip
    print(f"in all {total:.0f} s")
    if is_whole:
        first, second = (digests(out) for out in outs.values())
        assert first == second, "killing changed the labels"
        print(f"all {len(first)} files are equal to the byte")


def write_pool(folder: Path, num: int, num_shards: int) -> Path:
    """Random colours with a gradient, as PNG in tar."""
    folder.mkdir()
    random = np.random.default_rng(0)
    each = -(-num // num_shards)
    ramp = np.linspace(0, 90, SIDE)[None, :, None]
    for shard in range(num_shards):
        with tarfile.open(folder / f"pool-{shard:05d}.tar", "w") as tar:
            for number in range(shard * each, min((shard + 1) * each, num)):
                color, noise = random.uniform(0, 120, 3), random.integers(0, 40, (SIDE, SIDE, 3))
                file = io.BytesIO()
                Image.fromarray((color + ramp + noise).astype(np.uint8)).save(file, "PNG")
                member = tarfile.TarInfo(f"{number:09d}.png")
                member.size = file.tell()
                file.seek(0)
                tar.addfile(member, file)
    return folder


def train(folder: Path, more: Sequence[str]) -> Path:
    """A pair that looks at images of 32×32; how well it does is not the question."""
    random = np.random.default_rng(1)
    for label_, level in (("dark", 40), ("bright", 200)):
        (folder / "data" / "labeled" / label_).mkdir(parents=True)
        for number in range(20):
            pixels = (level + random.integers(0, 40, (SIDE, SIDE, 3))).astype(np.uint8)
            path = folder / "data" / "labeled" / label_ / f"{number}.png"
            Image.fromarray(pixels).save(path)
    words = ["model=wrn_10_1", "steps=20", "rounds=1", "batch_size=16", f"data.image_size={SIDE}"]
    words += ["device=cpu", "baseline=none", f"out={folder / 'run'}", *more]
    subprocess.run(command("train", folder / "data", *words), check=True, capture_output=True)
    return folder / "run"


def label(run: Path, pool: Path, out: Path, until: int | None = None) -> tuple[float, float]:
    """Seconds and highest memory in MB; killed as soon as `until` parts are there."""
    began = time.perf_counter()
    words = command("label", run, pool, f"out={out}", "device=cpu", "workers=1")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)
    peak = 0.0
    while process.poll() is None:
        time.sleep(0.2)
        peak = max(peak, memory_of(process.pid, "VmHWM"))
        if until is not None and len(list(out.glob("part-*.parquet"))) >= until:
            process.kill()
            process.wait()
            return time.perf_counter() - began, peak
    assert process.returncode == 0, process.returncode
    return time.perf_counter() - began, peak


def read_index(folder: Path, num: int, num_readers: int = 4) -> None:
    """How long an index takes to write and to open, and what readers hold of it."""
    from dmt.data.pools.path_index import write_index

    began = time.perf_counter()
    write_index(folder, names(num))
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    print(f"{num:,} names: {size:,.0f} MB on disk, written in {time.perf_counter() - began:.1f} s")
    words = [sys.executable, "-c", _READER, str(folder)]
    readers = [
        subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(num_readers)
    ]
    for reader in readers:
        print(reader.communicate()[0].strip())


def names(num: int) -> Iterator[str]:
    """Paths as people have them."""
    return (
        f"2026/{number // 10_000:05d}/camera-{number % 7}/{number:09d}.jpg" for number in range(num)
    )


_READER = """
import random, sys, time
from pathlib import Path
from dmt.data.pools.path_index import PathIndex

def memory(field):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024

before = memory("VmRSS")
began = time.perf_counter()
index = PathIndex(Path(sys.argv[1]))
opened = time.perf_counter() - began
draw = random.Random(0)
began = time.perf_counter()
for _ in range(200_000):
    index[draw.randrange(len(index))]
each = (time.perf_counter() - began) / 200_000
print(f"reader: opened in {1e3 * opened:.2f} ms, {1e6 * each:.1f} µs a random name, "
      f"{memory('VmRSS') - before:.1f} MB more than before")
"""


def digests(folder: Path) -> dict[str, str]:
    """Every file's hash."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def cpu_seconds() -> float:
    """Of all processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def memory_of(process: int, field: str) -> float:
    """A line of the kernel's status of a process, in MB; 0 when it has ended."""
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    found = [line.split()[1] for line in text.splitlines() if line.startswith(field)]
    return int(found[0]) / 1024 if found else 0.0


def command(*words: object) -> list[str]:
    """`dmt words…` as a process."""
    return [sys.executable, "-m", "dmt", *map(str, words)]


if __name__ == "__main__":
    main()
