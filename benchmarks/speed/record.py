"""Row 9: what checkpoint, record and report take of a run.

Run `python benchmarks/speed/record.py [--steps 300]`. One run of digits, whose functions that
save a state, append a line, write down a finished stage and write the report are timed from
within; and the share that one checkpoint costs at the default `checkpoint_every`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from table import Row, print_table

from dmt.api import train
from dmt.config import Settings
from dmt.engine.folder import RunFolder
from dmt.insight.report import write_report
from dmt.runs import session


class Clock:
    """Adds up the seconds in some functions, each counted once however they call one another."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._depth = 0

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **words: Any) -> Any:
            self._depth += 1
            began = time.perf_counter()
            try:
                return call(*args, **words)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.seconds += time.perf_counter() - began

        return timed


def measure(asked: argparse.Namespace) -> list[Row]:
    """Row 9."""
    clock, saves = Clock(), Clock()
    with (
        tempfile.TemporaryDirectory() as place,
        mock.patch.multiple(
            RunFolder,
            record=clock.around(RunFolder.record),
            finish=clock.around(RunFolder.finish),
            save_state=saves.around(RunFolder.save_state),
        ),
        mock.patch.object(session, "write_report", clock.around(write_report)),
    ):
        began = time.perf_counter()
        train(
            "digits", out=Path(place) / "run", steps=asked.steps, model="wrn_28_2", batch_size=128,
            device="cpu", checkpoint_every=asked.save_every,
        )  # fmt: skip
        whole = time.perf_counter() - began
        lines = (Path(place) / "run" / "metrics.jsonl").read_text().count("\n")
    num_saves = max(1, int(whole / asked.save_every))
    every = Settings().checkpoint_every
    save = saves.seconds / num_saves
    share = clock.seconds / (whole - clock.seconds - saves.seconds) + save / every
    return [
        Row(
            "9", f"record ({lines} lines), report, a checkpoint each {every:g} s",
            f"{clock.seconds:.2f} s and {save:.3f} s a checkpoint",
            f"{whole - clock.seconds - saves.seconds:.1f} s", "the run without them",
            f"{share:.2%}", "under 3 %",
        )
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--save-every", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    print_table(measure(asked))


if __name__ == "__main__":
    main()
