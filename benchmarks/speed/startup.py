"""Row 7: how soon `dmt --help` answers, and how many files and images `dmt check` does a second.

Run `python benchmarks/speed/startup.py [--images 4000]`. Small images (32×32, PNG) are written to a
temporary folder; listing is opening it as a data set, decoding is all that `dmt check` does beyond.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from table import Row, in_turns, print_table

from dmt.data.checks.checkup import check
from dmt.data.layouts import open_catalog


def _folder(root: Path, num: int) -> Path:
    rng = np.random.default_rng(0)
    for row in range(num):
        part = f"labeled/{row % 10}" if row % 5 == 0 else "unlabeled"
        (root / part).mkdir(parents=True, exist_ok=True)
        low = rng.integers(0, 256, (8, 8, 3), np.uint8)
        picture = Image.fromarray(low).resize((32, 32), Image.Resampling.BICUBIC)
        picture.save(root / part / f"{row}.png")
    return root


def measure(asked: argparse.Namespace) -> list[Row]:
    """Row 7."""
    with tempfile.TemporaryDirectory() as place:
        data = _folder(Path(place), asked.images)
        seconds = in_turns(
            {
                "help": lambda: subprocess.run(
                    [sys.executable, "-m", "dmt", "--help"], check=True, capture_output=True
                ),
                "python": lambda: subprocess.run([sys.executable, "-c", "pass"], check=True),
                "listing": lambda: open_catalog(str(data)),
                "check": lambda: check(str(data)),
            },
            asked.repeats,
        )
    best = {name: min(each) for name, each in seconds.items()}
    looking = best["check"] - best["listing"]
    return [
        Row("7", "`dmt --help`", f"{best['help']:.2f} s", f"{best['python']:.2f} s",
            "`python -c pass`", "", "0.5 s"),
        Row("7", f"`dmt check`, listing {asked.images:,} files",
            f"{asked.images / best['listing']:,.0f} files/s", "", "", "", "5000 files/s"),
        Row("7", "`dmt check`, decoding and hashing 32×32 PNG",
            f"{asked.images / looking:,.0f} images/s", "", "", "", "1000 images/s"),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=3)
    print_table(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
