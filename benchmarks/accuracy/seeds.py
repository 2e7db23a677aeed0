"""DMT against supervised and self-training over seeds: the tables of the README.

    python benchmarks/accuracy/seeds.py digits --seeds 20 --out results/digits.jsonl
    python benchmarks/accuracy/seeds.py PATH/cifar10-jpeg --seeds 3 \
        --out results/cifar10-mini.jsonl recipe=cifar10-mini
    python benchmarks/accuracy/seeds.py shapes --seeds 10 --out results/shapes.jsonl \
        --no-oracle data.val_images=60

Every seed draws labeled subset and initial weights anew. One run gives DMT (peer a and the pair),
the supervised model of equal images and the oracle (all labels, as many images; not with
`--no-oracle`); a second one
self-training: one model, weights of one, as many images as one peer. Finished runs are kept in
`--out`, a line each, and not run again. `--jobs` processes of one thread each work side by side:
figures do not depend on it, seconds do.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from functools import partial
from pathlib import Path

from kept import Line, add_arguments, run_missing

METHODS = {"dmt": [], "self-training": ["method=self-training", "baseline=none"]}


def run(data: str, words: list[str], method: str, seed: int, has_oracle: bool) -> Line:
    """One training run; what is kept of its summary."""
    from dmt.api import Quiet, train_with

    with tempfile.TemporaryDirectory() as folder:
        oracle = ["oracle=true"] if method == "dmt" and has_oracle else []
        settings = [*words, *METHODS[method], *oracle, f"seed={seed}", f"out={folder}/run"]
        summary = train_with(data, settings, Quiet()).summary.model_dump(mode="json")
        lines = Path(folder, "run", "metrics.jsonl").read_text().splitlines()
        events = [json.loads(line) for line in lines]
    for key in ("confusion", "command"):
        del summary[key]
    # IoU by class on the validation part after every round, where there is one.
    val = [
        {key: event[key] for key in ("stage", "value", "classes")}
        for event in events
        if event["event"] == "evaluate"
    ]
    return {"method": method, "seed": seed, "settings": words, "summary": summary, "val": val}


def table(lines: list[Line]) -> str:
    """Mean ± sd by method, paired differences with 95 % t intervals, mean gap closed."""
    from dmt.metrics.intervals import paired_t_interval

    by_seed: dict[int, dict[str, float]] = {}
    for line in lines:
        summary, values = line["summary"], by_seed.setdefault(line["seed"], {})
        if line["method"] == "dmt":
            values["DMT, one model"] = summary["peers"]["a"]
            values["DMT, both models"] = summary["ensemble"]
            values["supervised, equal images"] = summary["supervised"]
            if summary["oracle"] is not None:
                values["all labels (oracle)"] = summary["oracle"]
        else:
            values["self-training"] = summary["peers"]["a"]
    num = max(len(values) for values in by_seed.values())
    whole = [values for values in by_seed.values() if len(values) == num]
    if len(whole) < 2:
        return f"{len(whole)} whole seeds: no table yet"
    metric = {"error": "error", "miou": "mean IoU"}[lines[0]["summary"]["metric"]]
    rows = [f"{len(whole)} seeds", "", f"| model | {metric} in % (mean ± sd) |", "|---|---|"]
    names = ["supervised, equal images", "self-training", "DMT, one model", "DMT, both models"]
    has_oracle = "all labels (oracle)" in whole[0]
    for name in [*names, *(["all labels (oracle)"] if has_oracle else [])]:
        values = [each[name] for each in whole]
        rows.append(f"| {name} | {statistics.mean(values):.2f} ± {statistics.stdev(values):.2f} |")
    rows.append("")
    for other in ("supervised, equal images", "self-training"):
        found = paired_t_interval([each["DMT, one model"] - each[other] for each in whole])
        rows.append(
            f"DMT (one model) − {other}: {found.value:.2f} points, 95 % interval "
            f"{found.low:.2f} to {found.high:.2f}"
        )
    if not has_oracle:
        return "\n".join(rows + rarest(lines))
    gaps = [
        (each["supervised, equal images"] - each["DMT, one model"])
        / (each["supervised, equal images"] - each["all labels (oracle)"])
        for each in whole
    ]
    rows.append(f"mean gap closed: {100 * statistics.mean(gaps):.0f} % (one model)")
    rows += rarest(lines)
    return "\n".join(rows)


def rarest(lines: list[Line]) -> list[str]:
    """Of a segmentation, the lowest IoU on the validation part that any class had, by round."""
    worst: dict[str, tuple[float, str, int]] = {}
    for line in lines:
        for each in line.get("val", []):
            if line["method"] != "dmt" or not each["classes"]:
                continue
            value, name = min(
                (iou, name)
                for iou, name in zip(each["classes"], line["summary"]["classes"], strict=True)
                if iou is not None
            )
            found = worst.setdefault(each["stage"], (value, name, line["seed"]))
            worst[each["stage"]] = min(found, (value, name, line["seed"]))
    return [
        f"lowest IoU of any class and seed after {stage}: {value:.1f} % ({name}, seed {seed})"
        for stage, (value, name, seed) in sorted(worst.items())
    ]


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--no-oracle", action="store_true", help="do not train on all labels")
    add_arguments(parser)
    given = parser.parse_intermixed_args()
    wanted = [{"method": method, "seed": seed} for seed in range(given.seeds) for method in METHODS]
    print(table(run_missing(given, wanted, partial(run, has_oracle=not given.no_oracle))))


if __name__ == "__main__":
    main()
