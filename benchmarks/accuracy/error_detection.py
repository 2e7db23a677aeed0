"""What finds wrong pseudo labels, over seeds: a table from finished runs. Trains nothing.

    python benchmarks/accuracy/error_detection.py runs/digits-*
    python benchmarks/accuracy/error_detection.py results/digits.jsonl

Each argument is the folder of a run, or a file of lines that hold a `summary`. Runs are put
together by data set and method; a run's figure of a round is the mean over its teachers. Average
precision and AUROC in % (mean ± sd over seeds), and paired differences of average precision with
95 % t intervals over seeds.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

Figures = dict[tuple[str, int], float]  # (score, round): mean over the teachers, in %

TABLES = {
    "ap": "average precision in finding wrong labels among all pseudo labels",
    "auroc": "AUROC in the same",
    "ap_selected": "average precision among the selected labels, which are learned",
}
PAIRS = (
    ("disagreement", "confidence"),
    ("dmt_weight", "confidence"),
    ("ensemble_confidence", "confidence"),
    ("ensemble_probability", "confidence"),
    ("disagreement", "ensemble_confidence"),
)


def summaries(path: Path) -> list[dict[str, Any]]:
    """The summaries of a run's folder, or of a file of lines."""
    if path.is_dir():
        return [json.loads((path / "summary.json").read_text())]
    return [json.loads(line)["summary"] for line in path.read_text().splitlines()]


def figures(summary: dict[str, Any], field: str) -> Figures:
    """What is on record of one run; `share_wrong` is the average precision of a random order."""
    found: dict[tuple[str, int], list[float]] = {}
    among = "_selected" if field.endswith("_selected") else ""
    for record in summary["rounds"]:
        for each in record.get("error_detection", {}).values():
            total, wrong = each[f"num{among or '_labels'}"], each[f"num{among}_wrong"]
            if 0 < wrong < total:
                if field.startswith("ap"):
                    found.setdefault(("share_wrong", record["round"]), []).append(wrong / total)
                for name, score in each["scores"].items():
                    found.setdefault((name, record["round"]), []).append(score[field])
    return {key: 100 * statistics.mean(values) for key, values in found.items()}


def table(runs: list[Figures]) -> list[str]:
    """Score by round, mean ± sd over the runs."""
    keys = dict.fromkeys(key for run in runs for key in run)
    rounds = sorted({number for _, number in keys})
    rows = ["| | " + " | ".join(f"R{number}" for number in rounds) + " |",
            "|---|" + "---|" * len(rounds)]  # fmt: skip
    for name in dict.fromkeys(name for name, _ in keys):
        cells = [_spread([run[name, r] for run in runs if (name, r) in run]) for r in rounds]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return rows


def _spread(values: list[float]) -> str:
    if not values:
        return "–"
    sd = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{sd}"


def differences(runs: list[Figures], *, is_last_alone: bool = False) -> list[str]:
    """Paired differences of average precision by round, or in the last one."""
    from dmt.metrics.intervals import paired_t_interval
    from dmt.records.comparison import signed

    lines = []
    numbers = sorted({number for run in runs for _, number in run})
    for first, second in PAIRS:
        for number in numbers[-1:] if is_last_alone else numbers:
            values = [
                run[first, number] - run[second, number]
                for run in runs
                if (first, number) in run and (second, number) in run
            ]
            if len(values) > 1:
                found = paired_t_interval(values)
                value, low, high = (signed(each, 1) for each in found)
                lines.append(
                    f"R{number} {first} − {second}: {value} points, 95 % interval {low} to {high} "
                    f"({len(values)} runs)"
                )
            elif values:
                lines.append(
                    f"R{number} {first} − {second}: {signed(values[0], 1)} points (one run)"
                )
    return lines


def main() -> None:
    """Print the tables of all runs named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for path in parser.parse_args().runs:
        for summary in summaries(path):
            groups.setdefault((summary["dataset"], summary["method"]), []).append(summary)
    for (dataset, method), members in groups.items():
        known = [each for each in members if figures(each, "ap")]
        print(f"\n{dataset}, {method}: {len(known)} of {len(members)} runs have such a record")
        for field, title in TABLES.items() if known else ():
            runs = [figures(each, field) for each in known]
            print("\n".join(["", f"{title}, %", "", *table(runs)]))
            if field.startswith("ap"):
                print("\n".join(["", *differences(runs)]))


if __name__ == "__main__":
    main()
