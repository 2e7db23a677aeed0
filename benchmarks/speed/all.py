"""Every speed benchmark, one after the other, and one table. What each measures, it says itself.

Run `make bench`, or `python benchmarks/speed/all.py [--authors FOLDER] [--threads 2] [--device D]
[--quick]`. FOLDER is a checkout of the authors' repository; without it the comparison with their
own class is left out. On a machine where others work too, read the ratios and not the seconds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from table import HEAD

HERE = Path(__file__).parent
QUICK = {
    "loss": ["--repeats", "3"],
    "step": ["--batch", "64", "--repeats", "1"],
    "labeling": ["--images", "256", "--scenes", "8", "--repeats", "1"],
    "peers": ["--steps", "6", "--repeats", "1", "--batch", "32"],
    "startup": ["--images", "500", "--repeats", "2"],
    "growth": ["--sizes", "10000", "100000"],
    "record": ["--steps", "10"],
}
WITH_THREADS = {"loss", "step", "labeling", "peers", "record"}
ON_DEVICE = {"loss", "step", "peers"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--authors", type=Path, default=None)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    asked = parser.parse_args()
    print(HEAD, flush=True)
    for name, words in QUICK.items():
        command = [sys.executable, str(HERE / f"{name}.py"), *(words if asked.quick else [])]
        if name in WITH_THREADS:
            command += ["--threads", str(asked.threads)]
        if name in ON_DEVICE:
            command += ["--device", asked.device]
        if name == "loss" and asked.device == "cpu":
            command += ["--up-sample"]
        if name == "loss" and asked.authors is not None:
            command += ["--authors", str(asked.authors)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        rows = [line for line in done.stdout.splitlines() if line.startswith("| ")][1:]
        print("\n".join(rows) or f"| {name} failed: {done.stderr[-300:]!r} |", flush=True)


if __name__ == "__main__":
    main()
