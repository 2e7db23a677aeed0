"""Methods against supervised training over seeds: the tables of docs/results.md.

    python benchmarks/accuracy/seeds.py digits --seeds 20 --out results/digits.jsonl
    python benchmarks/accuracy/seeds.py PATH/cifar10-jpeg --seeds 3 \
        --out results/cifar10-mini.jsonl recipe=cifar10-mini
    python benchmarks/accuracy/seeds.py shapes --seeds 10 --out results/shapes.jsonl \
        --no-oracle data.val_images=60

Every seed draws labeled subset and initial weights anew. The run of DMT gives as well the
supervised model of equal images and the oracle (all labels, as many images; not with
`--no-oracle`). `--methods` names which are run beside it; every peer sees as many images as the
supervised model. Finished runs are kept in `--out`, a line each, and not run again. `--jobs`
processes of one thread each work side by side: figures do not depend on it, seconds do.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kept import Line, add_arguments, images_a_model, recipe_of, refuse_unequal, run_missing

if TYPE_CHECKING:
    from dmt.records.comparison import Comparison


def run(data: str, words: list[str], method: str, seed: int, has_oracle: bool) -> Line:
    """One training run; what is kept of its summary."""
    from dmt.api import train_with
    from dmt.engine.listener import Quiet

    with tempfile.TemporaryDirectory() as folder:
        # What all methods are compared with is trained once a seed.
        extra = ["baseline=none"] if method != "dmt" else ["oracle=true"] if has_oracle else []
        own = [f"method={method}", f"seed={seed}", f"out={folder}/run"]
        settings = [*words, *extra, *own]
        summary = train_with(data, settings, Quiet()).summary.model_dump(mode="json")
        lines = Path(folder, "run", "metrics.jsonl").read_text().splitlines()
        events = [json.loads(line) for line in lines]
        recipe = recipe_of(Path(folder, "run"))
    for key in ("confusion", "command"):
        del summary[key]
    # IoU by class on the validation part after every round, where there is one.
    val = [
        {key: event[key] for key in ("stage", "value", "classes")}
        for event in events
        if event["event"] == "evaluate"
    ]
    return {"method": method, "seed": seed, "settings": words, "recipe": recipe,
            "summary": summary, "val": val}  # fmt: skip


def comparison(lines: list[Line]) -> Comparison:
    """What `dmt compare` would say of these runs; seconds are not kept by part of a run."""
    from dmt.engine.plan import PRESETS
    from dmt.metrics.over_seeds import Entry, compare_methods
    from dmt.records.comparison import PAIR_SUFFIX, Seen

    refuse_unequal(lines)
    names = ["supervised"]
    for name, preset in PRESETS.items():
        if name != "supervised":
            names += [name] if preset.num_peers == 1 else [name, f"{name}{PAIR_SUFFIX}"]
    found: dict[tuple[str, None], dict[int, Entry]] = {
        (name, None): {} for name in (*names, "oracle")
    }
    alone = {line["seed"]: line["summary"] for line in lines if line["method"] == "dmt"}
    for line in lines:
        seed, summary = line["seed"], line["summary"]
        by_dmt = alone.get(seed, {})
        supervised, oracle = by_dmt.get("supervised"), by_dmt.get("oracle")
        images = summary["images_seen"]
        own = Seen(
            trained=images["trained"],
            per_model=images_a_model(summary),
            forward_only=images["forward_only"],
        )
        found[line["method"], None][seed] = Entry(
            summary["peers"]["a"], supervised, oracle, seen=own
        )
        if summary["headline"] == "ensemble":
            found[f"{line['method']}{PAIR_SUFFIX}", None][seed] = Entry(
                summary["ensemble"], seen=own
            )
        if line["method"] == "dmt":
            for name, value in (("supervised", supervised), ("oracle", oracle)):
                if value is None:
                    continue
                num = images["baseline" if name == "supervised" else name]
                seen = Seen(trained=num, per_model=num, forward_only=None)
                found[name, None][seed] = Entry(value, supervised, seen=seen)
    first = lines[0]["summary"]
    return compare_methods(
        {key: entries for key, entries in found.items() if entries},
        sorted({line["seed"] for line in lines}),
        dataset=first["dataset"],
        task=first["task"],
        metric=first["metric"],
    )


def table(lines: list[Line]) -> str:
    """Mean ± sd by method, paired differences with 95 % t intervals, mean gap closed."""
    from dmt.insight.comparison_text import markdown_table
    from dmt.records.comparison import sentence
    from dmt.records.comparison import table as rows_of

    result = comparison(lines)
    num = len({line["seed"] for line in lines})
    said = [sentence(pair, result) for pair in result.pairs]
    parts = [f"{num} seeds", markdown_table(*rows_of(result)), *said, *rarest(lines)]
    return "\n\n".join(parts)


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
    parser.add_argument("--methods", default="self-training", help="beside dmt, with commas")
    add_arguments(parser)
    given = parser.parse_intermixed_args()
    methods = ["dmt", *filter(None, given.methods.split(","))]
    wanted = [{"method": method, "seed": seed} for seed in range(given.seeds) for method in methods]
    print(table(run_missing(given, wanted, partial(run, has_oracle=not given.no_oracle))))


if __name__ == "__main__":
    main()
