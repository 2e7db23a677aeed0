"""How many threads small networks want, and how threads should wait; no row of the issue's table.

Run `python benchmarks/speed/threads.py [--cores 2]`. A way is a process of its own, as threads
learn how to wait when torch is loaded; the ways take turns. On a machine where others work too it
says what it costs to share. Seconds of the processor count what threads burn while they wait.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from table import Row, print_table

SIZES = ((8, 64), (16, 128), (32, 128))  # side of the images, batch, of wrn_10_1
STEPS = 20


def _one(side: int, batch: int) -> None:
    """Print seconds by the clock and of the processor for one training step."""
    import torch

    from dmt.engine.machine import keep_freed_memory
    from dmt.engine.runtime import open_runtime
    from dmt.models.build import build

    keep_freed_memory()
    runtime = open_runtime("cpu", "auto")
    net = build("wrn_10_1", 10, seed=0, image_size=side)
    net = net.to(memory_format=torch.channels_last)
    images = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8)
    label = torch.arange(batch) % 10
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, fused=True)

    def step() -> None:
        with runtime.autocast():
            logits = net(images)
        torch.nn.functional.cross_entropy(logits.float(), label).backward()
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(3):
        step()
    clock, processor = time.perf_counter(), time.process_time()
    for _ in range(STEPS):
        step()
    found = (time.perf_counter() - clock) / STEPS, (time.process_time() - processor) / STEPS
    print(json.dumps(found))


def measure(asked: argparse.Namespace) -> list[Row]:
    """A row for each size and way, beside one thread."""
    ways = {
        "1 thread": {"OMP_NUM_THREADS": "1"},
        f"{asked.cores} threads": {"OMP_NUM_THREADS": str(asked.cores)},
        f"{asked.cores} threads that sleep": {
            "OMP_NUM_THREADS": str(asked.cores), "OMP_WAIT_POLICY": "passive"
        },
    }  # fmt: skip
    clean = {key: value for key, value in os.environ.items() if "OMP_" not in key}
    rows = []
    for side, batch in SIZES:
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(asked.repeats):
            for name, environment in ways.items():
                words = [sys.executable, __file__, "--one", str(side), str(batch)]
                done = subprocess.run(
                    words, env=clean | environment, check=True, capture_output=True, text=True
                )
                found[name].append(tuple(json.loads(done.stdout)))
        first, *others = ways
        clock, processor = (
            {
                name: statistics.median(each[which] for each in turns)
                for name, turns in found.items()
            }
            for which in (0, 1)
        )
        for name in others:
            rows.append(
                Row(
                    "-", f"step of wrn_10_1, {side}×{side}, batch {batch}, {name}",
                    f"{1e3 * clock[name]:.1f} ms ({1e3 * processor[name]:.1f} of the processor)",
                    f"{1e3 * clock[first]:.1f} ms ({1e3 * processor[first]:.1f})", first,
                    f"{clock[first] / clock[name]:.2f}×", "",
                )
            )  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", type=int, nargs=2, default=None, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one is not None:
        return _one(*asked.one)
    print_table(measure(asked))
    return None


if __name__ == "__main__":
    main()
