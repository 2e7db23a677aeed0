"""docs/results.md from the runs recorded in results/, and of it the key lines in README.md.

    python benchmarks/accuracy/results.py

Reads what `seeds.py` and `camvid.py` recorded (`*.jsonl`) and every `compare.json` of `dmt compare`
that was put there under another name (`*.json`). Nothing is trained; what is not there is
"not measured".
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import camvid
import error_detection
import seeds
from kept import Line

from dmt.engine.plan import PRESETS
from dmt.insight.comparison_text import body, markdown_table
from dmt.metrics.over_seeds import OURS
from dmt.records.comparison import (
    NONE,
    PAIR_SUFFIX,
    SUPERVISED,
    Comparison,
    ComparisonRecord,
    sentence,
    table,
)

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "results.md"
README = ROOT / "README.md"
_KEY_LINES = re.compile(r"(?<=<!-- results -->\n).*?(?=<!-- /results -->)", re.DOTALL)


@dataclass(frozen=True)
class Recorded:
    """A file of one of the scripts; its command has `seeds`, how many there are, and `methods`."""

    name: str
    about: str
    command: str
    note: str = ""


BY_SEEDS = (
    Recorded(
        "digits",
        "Real digits of 8×8 pixels.",
        "python benchmarks/accuracy/seeds.py digits --seeds {seeds} --methods {methods} "
        "--out results/digits.jsonl",
        "Methods that label at every step learn given labels without mixup (`mixmatch` mixes in "
        "its own way, `dmt-online` in round 0), the rounds and the baseline with it: "
        "[methods](methods.md).",
    ),
    Recorded(
        "shapes",
        "Drawn scenes of 64×64 pixels, DeepLab-v2 on WRN-10-1.",
        "python benchmarks/accuracy/seeds.py shapes --seeds {seeds} --methods {methods} "
        "--no-oracle --out results/shapes.jsonl data.val_images=60",
        "The recipe has no strong view, which hurts where colour and outline tell the classes: "
        "[decision 020](decisions/020-dmt-online.md).",
    ),
    Recorded(
        "cifar10-mini",
        "CIFAR-10 (JPEG 75) at 16×16 pixels, WRN-10-1.",
        "python benchmarks/accuracy/seeds.py PATH/cifar10-jpeg --seeds {seeds} --methods {methods} "
        "--out results/cifar10-mini.jsonl recipe=cifar10-mini",
        "At half as many steps dmt did not help, as the labels were not what was short: "
        "[decision 011](decisions/011-one-schedule-over-the-run.md). "
        "`freematch`, `cps` and `mixmatch` run at the papers' defaults, which are made for longer "
        "trainings, and collapse in this one: [methods](methods.md).",
    ),
)
CAMVID = Recorded(
    "camvid",
    "Street scenes of three drives, each held out once.",
    "python benchmarks/accuracy/camvid.py PATH/camvid-half --methods {methods} "
    "--out results/camvid.jsonl",
    "From nothing, with 20 to 38 masks of neighbouring frames, no method is above the supervised "
    "model on every drive (`dmt-online` is on two and level on the third), and even all masks gain "
    "only 3 to 8 points on a drive of other light. "
    "Why, and what was tried: [decision 016](decisions/016-the-schedule-of-scenes.md). Intervals "
    "of a drive are over blocks of its frames, for one seed and one draw of labels: they say "
    "nothing of other drives; those over drives do, and three are few.",
)
TOP = """\
# Results

Made by `make results` from the files in `results/`; do not edit. Mean ± sd over seeds, each with \
its own labeled subset and initial weights. Differences are paired by seed, with 95 % intervals of \
Student's t over seeds; one model is compared with one model. Supervised and oracle (all labels) \
see as many images as one model of a method. "(pair)": both models together. A mean of fewer \
seeds is of the first ones, which may be harder or easier than the rest: only the differences \
compare it with others.

The recipes were tuned on validation images taken from the training part, never on the images of \
these tables; of `shapes` the held-out figures of seeds 0 and 1 were seen on the way, of \
`cifar10-mini` those of seed 7, which is not in the table; steps and the share of round 0 of \
`camvid` were chosen on validation blocks of 0006R0 and 0016E5, which two other folds hold out, so \
that only 0001TP was never looked at. The last bits of a run depend on the number of threads and \
the release of torch; on one machine the same command repeats them exactly."""


def page(folder: Path) -> str:
    """The whole file from the records in a folder."""
    parts = [TOP]
    for each in BY_SEEDS:
        parts += [f"## {each.name}", *_by_seeds(each, _lines(folder, each.name))]
    parts += [f"## {CAMVID.name}", *_camvid(_lines(folder, CAMVID.name))]
    for path in sorted(folder.glob("*.json")):
        record = ComparisonRecord.model_validate(json.loads(path.read_text()))
        if record.result is not None:
            parts += [f"## {path.stem}", body(record)]
    parts += [
        "## Elsewhere",
        "On a GPU: not measured. The paper's CIFAR-10, PASCAL VOC and Cityscapes recipes in full: "
        "not measured.",
    ]
    return "\n\n".join(parts) + "\n"


def key_lines(folder: Path) -> str:
    """Of every section what ours gain over supervised training, a line each."""
    results = {
        each.name: seeds.comparison(lines)
        for each in BY_SEEDS
        if (lines := _lines(folder, each.name))
    }
    for path in sorted(folder.glob("*.json")):
        record = ComparisonRecord.model_validate(json.loads(path.read_text()))
        if record.result is not None:
            results[path.stem] = record.result
    said = [
        f"- `{name}`: {sentence(pair, result)}"
        for name, result in results.items()
        for pair in result.pairs
        if pair.b == SUPERVISED and pair.a in OURS
    ]
    for section in camvid.sections(_lines(folder, CAMVID.name)):
        said += [
            f"- `{CAMVID.name}`, {section.where}: {text}."
            for (one, other), text in section.differences.items()
            if other == SUPERVISED and one in OURS
        ]
    return "\n".join(said) + "\n"


def readme(text: str, folder: Path) -> str:
    """README.md with its key lines as the records say them now."""
    new, count = _KEY_LINES.subn(lambda _: key_lines(folder), text)
    assert count == 1, "README.md has the two marks between which they stand"
    return new


def _lines(folder: Path, name: str) -> list[Line]:
    path = folder / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _by_seeds(recorded: Recorded, lines: list[Line]) -> list[str]:
    commands = _commands(recorded, lines)
    if not lines:
        return [recorded.about, commands, "Not measured."]
    first, result = lines[0]["summary"], seeds.comparison(lines)
    sizes = (
        f"{first['labeled']:,} labels, {first['unlabeled']:,} unlabeled images, measured on "
        f"{first['held_out']}."
    )
    said = [sentence(pair, result) for pair in result.pairs]
    return [
        f"{recorded.about} {sizes} {_versions(lines)}",
        commands,
        markdown_table(*_without_empty(*table(result))),
        "\n".join(f"- {text}" for text in [*said, *seeds.rarest(lines)]),
        *([recorded.note] if recorded.note else []),
        *_wrong_labels(lines),
        *([f"Not measured here: {', '.join(missing)}."] if (missing := _missing(result)) else []),
    ]


def _commands(recorded: Recorded, lines: list[Line]) -> str:
    """What makes these lines: a command for all methods that have as many seeds."""
    seeds_of: dict[str, int] = dict.fromkeys(PRESETS, 0)
    for line in lines:
        seeds_of[line["method"]] += 1
    commands = []
    for count in sorted(set(seeds_of.values()) - {0}, reverse=True) or [0]:
        # `dmt` is always run.
        beside = [name for name, num in seeds_of.items() if name != "dmt" and 0 < num == count]
        commands.append(
            recorded.command.format(seeds=count or "N", methods=",".join(beside) or '""')
        )
    return "\n\n".join(f"`{command}`" for command in commands)


def _camvid(lines: list[Line]) -> list[str]:
    top = [CAMVID.about, _commands(CAMVID, lines)]
    found = camvid.table(lines).strip() if lines else ""
    if not found:
        return [*top, "Not measured."]
    return [*top, _versions(lines), found, CAMVID.note, *_wrong_labels(lines)]


def _wrong_labels(lines: list[Line]) -> list[str]:
    """What finds the wrong pseudo labels of `dmt`, where its runs say so."""
    found = [
        error_detection.figures(line["summary"], "ap") for line in lines if line["method"] == "dmt"
    ]
    runs = [each for each in found if each]
    if not runs:
        return ["What finds wrong pseudo labels: not measured here."]
    return [
        f"What finds wrong pseudo labels (of `dmt`, all labels of a round, mean ± sd over "
        f"{_unit(lines)} of the average precision in %; `share_wrong` is that of a random order; "
        "what the scores are: [run folder](run-folder.md)):",
        "\n".join(error_detection.table(runs)),
        "\n".join(f"- {text}" for text in error_detection.differences(runs, is_last_alone=True)),
    ]


def _versions(lines: list[Line]) -> str:
    """How many seeds or folds there are, and what computed them."""
    kinds = sorted({line["summary"]["versions"]["torch"] for line in lines})
    num = len({line.get("seed", line.get("drive")) for line in lines})
    return f"{num} {_unit(lines)}, torch {', '.join(kinds)}, {lines[0]['summary']['hardware']}."


def _unit(lines: list[Line]) -> str:
    return "seeds" if "seed" in lines[0] else "folds"


def _missing(result: Comparison) -> list[str]:
    there = {each.method.removesuffix(PAIR_SUFFIX) for each in result.methods}
    return [name for name in (*PRESETS, "oracle") if name not in there]


def _without_empty(header: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """A table without the columns in which there is nothing."""
    kept = [i for i in range(len(header)) if any(row[i] != NONE for row in rows)]
    return [header[i] for i in kept], [[row[i] for i in kept] for row in rows]


if __name__ == "__main__":
    PAGE.write_text(page(ROOT / "results"), encoding="utf-8")
    README.write_text(readme(README.read_text(encoding="utf-8"), ROOT / "results"), "utf-8")
    print(PAGE, README)
