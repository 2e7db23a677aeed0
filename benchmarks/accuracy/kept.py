"""Runs a list of training runs side by side and keeps what came of each; no script of its own."""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

Line = dict[str, Any]
# Settings in which the runs of one table differ, and which say nothing of their recipe.
_OF_A_RUN = {"dataset", "recipe", "method", "seed", "out", "baseline", "oracle", "data.test_group"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What every such script takes: `--jobs`, `--out`, and settings for every run."""
    parser.add_argument("--jobs", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--out", type=Path, required=True, help="file of the finished runs")
    parser.add_argument("settings", nargs="*", help="key=value for every run")


def run_missing(
    given: argparse.Namespace, wanted: Sequence[Line], run: Callable[..., Line]
) -> list[Line]:
    """Do the runs that `given.out` lacks, and return all of its lines.

    A finished run is a line of that file and is not run again; ending this process ends its workers
    and loses only the runs under way.

    Args:
        given: the parsed arguments.
        wanted: keyword arguments of each run, beside `data` and `words`; a line repeats them.
        run: makes a line; called in another process of one thread.
    """
    given.out.parent.mkdir(parents=True, exist_ok=True)
    text = given.out.read_text() if given.out.exists() else ""
    lines = [json.loads(line) for line in text.splitlines()]
    if any(line["settings"] != given.settings for line in lines):
        raise SystemExit(f"{given.out} holds runs of other settings; give another --out")
    missing = [each for each in wanted if not any(each.items() <= line.items() for line in lines)]
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(given.jobs, initializer=_begin_worker) as pool:
        waiting = [
            pool.submit(run, data=given.data, words=given.settings, **each) for each in missing
        ]
        for num, future in enumerate(waiting, len(wanted) - len(missing) + 1):
            lines.append(future.result())
            with given.out.open("a") as file:
                file.write(json.dumps(lines[-1]) + "\n")
            print(f"{num} of {len(wanted)} runs", flush=True)
    return lines


def recipe_of(run: Path) -> Line:
    """The settings of a run as they were resolved, by dotted name, but those of the run alone and
    what means nothing to its method; and what the method's name meant."""
    from dmt.config import flat_words
    from dmt.engine.plan import PRESETS
    from dmt.inference.using import settings_of
    from dmt.runs.setting_checks import foreign_keys

    settings = settings_of(run)
    found = flat_words(settings.model_dump(mode="json"))
    left_out = _OF_A_RUN | foreign_keys(settings.method, found, settings.schedule)
    recipe = {name: value for name, value in found.items() if name not in left_out}
    return recipe | {f"method {settings.method}": str(PRESETS[settings.method])}


def images_a_model(summary: dict[str, Any]) -> float:
    """Images that one model of a run was trained on."""
    num_models = 2 if summary["headline"] == "ensemble" else 1
    return float(summary["images_seen"]["trained"] / num_models)


def refuse_unequal(lines: Sequence[Line]) -> None:
    """Runs of one table are of one recipe and budget: one may have changed since some of them ran.

    Lines from before recipes were kept are asked for their budget, and those of one method for
    their rounds.

    Raises:
        SystemExit: they are not.
    """
    recipe: Line = {}
    for line in lines:
        rounds = {f"rounds of {line['method']}": len(line["summary"]["rounds"])}
        for name, value in (rounds | line.get("recipe", {})).items():
            if recipe.setdefault(name, value) != value:
                raise SystemExit(
                    f"these runs were made with {name}={recipe[name]} and with {name}={value}, so "
                    "that no table can hold them all; give another --out"
                )
    seen = {images_a_model(line["summary"]) for line in lines}
    seen |= {
        float(line["summary"]["images_seen"][name])
        for line in lines
        for name in ("baseline", "oracle")
        if line["summary"]["images_seen"].get(name)
    }
    if len(seen) > 1:
        found = ", ".join(f"{each:,.0f}" for each in sorted(seen))
        raise SystemExit(
            f"these runs saw {found} images a model, so that no table can hold them all; "
            "give another --out"
        )


def _begin_worker() -> None:
    """One thread for sums; and one that ends this process with its parent, however that ends."""
    import torch

    torch.set_num_threads(1)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
