"""Kills short runs again and again, anywhere, and counts what was lost. No tests here.

`python tests/faults/soak.py --points 500 --folder FOLDER`. A trial begins a run, ends it by SIGKILL
one to three times (at a named point of `dmt.faults` or after a random time; between sessions the
number of reading threads changes), finishes it, and compares it with the run that nobody killed.
What was found is kept in FOLDER, so that the command can be stopped and given again. Its exit code
is 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness import (
    KILLED,
    OF_RESUMING,
    Whole,
    Zygote,
    assert_equal,
    cases,
    finish,
    occurrence,
    points_of,
    set_workers,
    undisturbed,
)

_MOST_KILLS = 3  # in one run
# Drawn twice as often as the last, whose runs take four times as long.
_NAMES = (
    *("digits-pair", "digits-chain", "scenes-pair", "scenes-chain", "scenes-streamed") * 2,
    *("photos-streamed",) * 2,
    "shapes-pair",
)


def main(words: Sequence[str]) -> int:
    """Kill, count, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=500, help="how many kills in all")
    parser.add_argument("--folder", type=Path, default=Path("build/soak"))
    parser.add_argument("--minutes", type=float, default=None, help="stop after this long")
    asked = parser.parse_args(words)
    found = asked.folder / "trials.jsonl"
    asked.folder.mkdir(parents=True, exist_ok=True)
    trials = _read(found)
    began = time.monotonic()
    if _num_kills(trials) < asked.points:
        with Zygote() as zygote:
            whole = _whole(zygote, asked.folder / "whole")
            while _num_kills(trials) < asked.points:
                if asked.minutes and time.monotonic() - began > 60 * asked.minutes:
                    break
                most = min(_MOST_KILLS, asked.points - _num_kills(trials))
                trial = _try(zygote, whole, len(trials), most, asked.folder / "trial")
                with found.open("a") as file:
                    file.write(json.dumps(trial) + "\n")
                trials.append(trial)
                print(f"{_num_kills(trials)}/{asked.points} {_told(trial)}", flush=True)
    print(*_table(trials), sep="\n")
    return int(any(trial["lost"] for trial in trials))


def _whole(zygote: Zygote, folder: Path) -> dict[str, Whole]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return {
        name: undisturbed(zygote, case, folder / name)
        for name, case in cases(folder / "data").items()
    }


def _try(
    zygote: Zygote, whole: Mapping[str, Whole], number: int, most: int, folder: Path
) -> dict[str, Any]:
    draw = random.Random(number)
    wanted = whole[draw.choice(_NAMES)]
    asked = draw.randint(1, most)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    kills: list[dict[str, str]] = []
    sessions, lost = 0, ""
    workers = [1]
    while len(kills) < asked and not (folder / "run" / "report.html").exists():
        is_new = not (folder / "run" / "data.json").exists()
        if not is_new:
            workers.append(draw.choice([0, 1, 4]))
            set_workers(folder / "run", workers[-1])
        how, options = _how(draw, wanted, is_new)
        ended = zygote.call(wanted.case.train if is_new else ("resume", "run"), folder, **options)
        sessions += 1
        if ended.code == KILLED:
            kills.append({"how": how, "in": _place(folder / "run")})
        elif ended.code != 0:
            lost = f"session {sessions} ended with {ended.code}: {ended.err[-300:]}"
            break
    if not lost:
        try:
            finish(zygote, wanted.case, folder)
            assert_equal(folder / "run", wanted.run)
        except AssertionError as error:
            lost = str(error)[:500] or "an assertion"
    return {
        "trial": number, "case": wanted.case.name, "kills": kills, "sessions": sessions,
        "workers": workers, "lost": lost,
    }  # fmt: skip


def _how(draw: random.Random, wanted: Whole, is_new: bool) -> tuple[str, dict[str, Any]]:
    """A moment, or a point that this session may reach."""
    if draw.random() < 0.5:
        return "moment", {"kill_after": draw.uniform(0, wanted.seconds)}
    point = draw.choice([p for p in points_of(wanted) if not is_new or p not in OF_RESUMING])
    if point in OF_RESUMING:
        return point, {"crash_at": point}
    return point, {"crash_at": occurrence(point, wanted.points, str(draw.random()))}


def _place(run: Path) -> str:
    """What the session was doing when it was killed, by what it left."""
    if not (run / "data.json").exists():
        return "beginning"
    if (run / "summary.json").exists():
        return "report"
    path = run / "metrics.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    if not lines:
        return "beginning"
    last = json.loads(lines[-1])
    if last["event"] == "finished":
        return "between stages, evaluation"
    return "labeling" if "/label/" in last["stage"] else "training"


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _num_kills(trials: Iterable[Mapping[str, Any]]) -> int:
    return sum(len(trial["kills"]) for trial in trials)


def _told(trial: Mapping[str, Any]) -> str:
    kills = ", ".join(f"{kill['how']} ({kill['in']})" for kill in trial["kills"]) or "not killed"
    return f"{trial['case']}: {kills}: {trial['lost'] or 'equal'}"


def _table(trials: Sequence[Mapping[str, Any]]) -> list[str]:
    """Kills by case and by what the run was doing; then what was lost."""
    kills: Counter[tuple[str, str]] = Counter()
    for trial in trials:
        kills.update((trial["case"], kill["in"]) for kill in trial["kills"])
    places = sorted({place for _, place in kills})
    lines = [f"| run | runs | {' | '.join(places)} | kills | lost |"]
    lines.append("|---" * (len(places) + 4) + "|")
    for name in [*sorted({trial["case"] for trial in trials}), "all"]:
        own = [trial for trial in trials if name in {trial["case"], "all"}]
        counts = [
            sum(num for (case, at), num in kills.items() if at == place and name in {case, "all"})
            for place in places
        ]
        num_lost = sum(bool(trial["lost"]) for trial in own)
        row = [name, len(own), *counts, sum(counts), num_lost]
        lines.append(f"| {' | '.join(map(str, row))} |")
    at_points = sum(kill["how"] != "moment" for trial in trials for kill in trial["kills"])
    names = {kill["how"] for trial in trials for kill in trial["kills"]} - {"moment"}
    lines.append(
        f"{_num_kills(trials) - at_points} kills at a random moment, {at_points} at "
        f"{len(names)} different named points"
    )
    lines += [f"LOST in trial {trial['trial']}: {trial['lost']}" for trial in trials
              if trial["lost"]]  # fmt: skip
    return lines


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
