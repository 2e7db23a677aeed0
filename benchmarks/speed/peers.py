"""Row 6: the two halves of a round side by side, beside one after the other.

Run `python benchmarks/speed/peers.py [--steps 60] [--threads 2]`, or on a machine with two GPUs
with `--device cuda`. Two whole runs of digits without a baseline, in turns; compared are the
seconds from the first to the last line of the rounds, in which one takes what the other has.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from table import Row, print_table


def _seconds(place: Path, asked: argparse.Namespace, *, is_parallel: bool) -> float:
    """Of a run's rounds after round 0, in which the second process starts."""
    words = [
        "steps=" + str(asked.steps), "rounds=2", "baseline=none", f"model={asked.model}",
        f"batch_size={asked.batch}", f"device={asked.device}", "schedule=pair", f"out={place}",
        f"parallel_peers={str(is_parallel).lower()}",
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": str(asked.threads)}
    command = [sys.executable, "-m", "dmt", "train", asked.data, *words, "--json"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    times: list[float] = [
        json.loads(line)["time"]
        for line in (place / "metrics.jsonl").read_text().splitlines()
        if json.loads(line)["stage"].startswith(("round1", "round2"))
    ]
    return max(times) - min(times)


def measure(asked: argparse.Namespace) -> list[Row]:
    """Row 6."""
    beside, after = [], []
    with tempfile.TemporaryDirectory() as place:
        for turn in range(asked.repeats):
            beside.append(_seconds(Path(place) / f"{turn}-beside", asked, is_parallel=True))
            after.append(_seconds(Path(place) / f"{turn}-after", asked, is_parallel=False))
    middle = statistics.median(b / a for a, b in zip(beside, after, strict=True))
    return [
        Row(
            "6", f"two rounds of {asked.data}, {asked.model}, batch {asked.batch}, "
            f"{asked.threads} threads in all",
            f"{min(beside):.1f} s", f"{min(after):.1f} s", "one half after the other",
            f"{middle:.2f}×", "1.3×",
        )
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--model", default="wrn_28_2")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    print_table(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
