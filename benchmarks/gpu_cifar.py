"""CIFAR-10 with 4000 labels and WRN-28-2 on a GPU that is lent for minutes at a time.

    python benchmarks/gpu_cifar.py pack PATH/cifar10-jpeg pieces          # once, at home
    python benchmarks/gpu_cifar.py stage pieces --state old --out new     # again and again
    python benchmarks/gpu_cifar.py table new

`pack` writes the images as files of at most 60 MiB. A `stage` goes on with `dmt compare` where
`old` stands (an empty folder: from the beginning), stops before `--minutes` are over, writes what
the next one needs as files of at most 16 MiB to `new`, and prints the table. Files may come and go
in any way; each is checked by its hash. When all is done, `new/compare.json` is the record for
results/. Words key=value replace settings below, the same ones in every stage.

All models see about 8 million images: a reduced schedule, not the paper's (120 million a run).
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "accuracy"))
from gpu_table import CORRECT, METHODS, judge, table
from pieces import pack, unpack

if TYPE_CHECKING:
    from dmt.engine.stage import Stage

MIB = 1 << 20
DATA_PIECE, STATE_PIECE = 60 * MIB, 16 * MIB
# The short schedule of cifar10-mini, whose peers go on, with the views and the batch of the paper.
SETTINGS: dict[str, Any] = {
    "recipe": "cifar10-4000", "steps": 15600, "batch_size": 512, "rounds": 3, "schedule": "pair",
    "initial.lr": 0.1, "initial.share": 0.25, "student.lr": 0.1, "student.start": "continue",
    "student.lr_span": "run", "selection.fractions": [0.6, 0.8, 1], "checkpoint_every": 60,
}  # fmt: skip


def needed(work: Path) -> Iterator[Path]:
    """What of a comparison's folder the next stage needs, in order.

    Of a finished run its record, of an unfinished one everything but networks of earlier rounds.
    """
    from dmt.records import CONFIG, METRICS, SUMMARY, is_finished

    idle: set[Path] = set()
    for run in (path.parent for path in work.glob(f"*/{CONFIG}")):
        files = {path for path in run.rglob("*") if path.is_file()}
        if is_finished(run):
            idle |= files - {run / name for name in (CONFIG, METRICS, SUMMARY, CORRECT)}
        else:
            idle |= files & _idle_networks(run)
    for path in sorted(work.rglob("*")):
        if path.is_file() and path not in idle and path.name != ".lock":
            yield path


def _idle_networks(run: Path) -> set[Path]:
    """Weights that no stage of an unfinished run will read again."""
    from dmt.engine.folder import RunFolder
    from dmt.engine.outcome import final_models
    from dmt.engine.plan import plan
    from dmt.engine.stage import TrainStage
    from dmt.inference.using import settings_of, sizes_in
    from dmt.records import DATA

    if not (run / DATA).exists():
        return set()
    settings, folder = settings_of(run), RunFolder(run)
    folder.load_progress()
    stages = plan(settings, sizes_in(run))
    wanted = {stage.name for stage in final_models(stages, None, settings.baseline).values()}
    for stage in stages:
        if stage.name not in folder.progress.finished:
            wanted |= {stage.name, *stage.needs}
    return {
        folder.weights(stage.name)
        for stage in stages
        if isinstance(stage, TrainStage) and stage.name not in wanted
    }


class Until:
    """Shows how far it is, and stops the run, once, when time is over: it saves its state then."""

    def __init__(self, deadline: float) -> None:
        self._deadline, self._shown, self._is_sent = deadline, 0.0, False

    def on_note(self, text: str) -> None:
        """See `dmt.engine.runner.Listener`."""
        print(text, flush=True)

    def on_event(self, event: Mapping[str, Any]) -> None:
        """See `dmt.engine.runner.Listener`."""

    def on_plan(self, stages: Sequence[Stage]) -> None:
        """See `dmt.engine.runner.Listener`."""

    def on_step(self, stage: Stage, step: int, num_steps: int, done: float) -> None:
        """See `dmt.engine.runner.Listener`."""
        now = time.monotonic()
        if now > self._deadline and not self._is_sent:
            self._is_sent = True
            os.kill(os.getpid(), signal.SIGTERM)
        if now - self._shown > 30:
            self._shown = now
            print(f"{stage.name}: step {step} of {num_steps}, {done:.1%} of the run", flush=True)


def train(data: Path, work: Path, words: Mapping[str, Any], deadline: float) -> bool:
    """Go on with the comparison; whether it came to its end."""
    from dmt.comparisons.comparing import compare_with
    from dmt.errors import Interrupted

    try:
        compare_with(str(data), {**words, "out": str(work)}, Until(deadline))
    except Interrupted as error:
        print(error, flush=True)
        return False
    return True


def stage(given: argparse.Namespace, words: Mapping[str, Any]) -> None:
    """Go on for `given.minutes`, from pieces to pieces."""
    deadline = time.monotonic() + 60 * given.minutes
    work, data = given.work / "comparison", given.data
    if (given.data / "data.json").exists():
        data = given.work / "data"
        if not data.exists():  # a machine that is still warm has it
            with tempfile.TemporaryDirectory(dir=given.work) as scratch:
                unpack(given.data, "data", Path(scratch))
                Path(scratch).rename(data)
                Path(scratch).mkdir()  # for who removes it
    shutil.rmtree(work, ignore_errors=True)
    if (given.state / "state.json").exists():
        unpack(given.state, "state", work)
    is_done = train(data, work, words, deadline)
    from dmt.records import CONFIG, is_finished

    for run in sorted(path.parent for path in work.glob(f"*/{CONFIG}")):
        if is_finished(run) and not (run / CORRECT).exists():
            found: dict[str, Any] = dict(judge(run, data))
            np.savez(run / CORRECT, **found)
    paths = pack(work, needed(work), given.out, "state", STATE_PIECE)
    if is_done:
        paths.append(Path(shutil.copy(work / "compare.json", given.out)))
    text = table(work, words)
    (given.out / "table.md").write_text(text + "\n")
    size = sum(path.stat().st_size for path in paths)
    print(f"{len(paths)} files, {size / MIB:.1f} MiB; {'done' if is_done else 'to be continued'}\n")
    print(text)


def words_of(own: Sequence[str]) -> dict[str, Any]:
    """What `dmt compare` is asked: `SETTINGS`, but for a person's own words."""
    from dmt.config import flat_words

    return SETTINGS | {"methods": list(METHODS), "seeds": [0]} | flat_words(own)


def main(arguments: Sequence[str]) -> int:
    """Read the words and do one thing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command")
    packing = commands.add_parser("pack", help="the images as pieces")
    packing.add_argument("data", type=Path)
    packing.add_argument("out", type=Path)
    staging = commands.add_parser("stage", help="go on, and print the table")
    staging.add_argument("data", type=Path, help="the pieces, or the folder with train/ and test/")
    staging.add_argument("--state", type=Path, required=True)
    staging.add_argument("--out", type=Path, required=True)
    staging.add_argument("--work", type=Path, help="where images stay unpacked between stages")
    staging.add_argument("--minutes", type=float, default=8.0)
    showing = commands.add_parser("table", help="print the table of a state")
    showing.add_argument("state", type=Path)
    given, rest = parser.parse_known_args(arguments)
    if given.command is None:  # as `make bench` calls it: this one needs a GPU and hours
        parser.print_help()
        return 0
    if given.command == "pack":
        files = sorted(path for path in given.data.rglob("*") if path.is_file())
        for path in pack(given.data, files, given.out, "data", DATA_PIECE):
            print(f"{path} {path.stat().st_size / MIB:.1f} MiB")
        return 0
    if wrong := [word for word in rest if not re.fullmatch(r"[\w.]+=.*", word)]:
        parser.error(f"{wrong[0]} is not a setting; write key=value")
    words = words_of(rest)
    if given.command == "table":
        with tempfile.TemporaryDirectory() as folder:
            unpack(given.state, "state", Path(folder))
            print(table(Path(folder), words))
        return 0
    given.work = given.work or Path(tempfile.gettempdir()) / "gpu-cifar"
    given.work.mkdir(parents=True, exist_ok=True)
    stage(given, words)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
