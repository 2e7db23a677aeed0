"""CamVid, one drive held out after the other: supervised training, DMT and its rivals.

    python benchmarks/accuracy/camvid.py PATH/camvid-half --out results/camvid.jsonl

Three films: each is held out once, the labels are 1/8 of the others' frames in blocks of
consecutive ones, all other frames are unlabeled. One run gives DMT, the supervised model of as
many images as one peer and the oracle (all masks, as many images); `--methods` are run beside it.
One model is compared with one model. Intervals are over blocks of consecutive frames of the drive
that was held out: they say how sure a difference is on that drive, not on another city.
Finished runs are kept in `--out`, a line each, and not run again. `--jobs` processes of one thread
each work side by side: figures do not depend on it, seconds do.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kept import Line, add_arguments, recipe_of, refuse_unequal, run_missing

if TYPE_CHECKING:
    from dmt.metrics.intervals import Interval

DRIVES = ("0001TP", "0006R0", "0016E5")
METHODS = ("self-training", "mutual", "fixmatch", "dmt-online")  # beside dmt


def run(data: str, words: list[str], method: str, drive: str) -> Line:
    """One training run: its summary, and the confusion of every held-out block by every model."""
    import numpy as np

    from dmt.api import train_with
    from dmt.engine.listener import Quiet

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        alone = ["oracle=true"] if method == "dmt" else ["baseline=none"]
        settings = ["recipe=camvid", *words, *alone, f"method={method}", f"data.test_group={drive}"]
        summary = train_with(data, [*settings, f"out={path}"], Quiet()).summary
        counts, blocks = _held_out(path)
        recipe = recipe_of(path)
    names = {"a": method, "supervised": "supervised", "oracle": "oracle"}
    return {
        "method": method,
        "drive": drive,
        "settings": words,
        "recipe": recipe,
        "summary": summary.model_dump(mode="json", exclude={"confusion", "command"}),
        "blocks": {
            names[name]: [count[blocks == each].sum(0).tolist() for each in np.unique(blocks)]
            for name, count in counts.items()
            if name in names
        },
    }


def _held_out(path: Path) -> tuple[dict[str, Any], Any]:
    """Confusion of every held-out image by the final models, (N, K, K), and the images' blocks."""
    from dmt.data.layouts import open_catalog
    from dmt.data.mask_splits import block_ids
    from dmt.engine.folder import RunFolder
    from dmt.engine.outcome import final_models
    from dmt.engine.plan import plan
    from dmt.engine.runtime import open_runtime
    from dmt.inference.using import settings_of
    from dmt.models.weights import restore
    from dmt.runs.materials import sizes_of
    from dmt.runs.scene_material import SceneMaterial

    settings = settings_of(path)
    material = SceneMaterial(open_catalog(str(settings.dataset)), print)
    split = material.split(settings, skip=())
    runtime = open_runtime("cpu", settings.precision)
    material.open(settings, runtime)
    stages = plan(settings, sizes_of(split, material.catalog))
    nets = {
        name: restore(RunFolder(path).weights(stage.name))
        for name, stage in final_models(stages, None, settings.baseline).items()
    }
    task = material.task(settings, {None: split}, runtime)
    blocks = block_ids(material.catalog, settings.data.group, settings.data.block)
    return task.counts(nets, split.test), blocks[split.test.ids]


class Section(NamedTuple):
    """What is said of one drive, or of all."""

    where: str
    rows: list[str]  # above the differences
    differences: dict[tuple[str, str], str]  # of a pair of methods, in words


def table(lines: list[Line]) -> str:
    """By drive: mean IoU, IoU by class, and differences with intervals over blocks; then over
    all drives."""
    rows: list[str] = []
    for each in sections(lines):
        rows += ["", *each.rows, "", *(f"- {text}" for text in each.differences.values())]
    return "\n".join(rows)


def sections(lines: list[Line]) -> list[Section]:
    """Every drive that was held out, and all of them together."""
    refuse_unequal(lines)
    drives, means = [], []
    for drive in DRIVES:
        there = [line for line in lines if line["drive"] == drive]
        if any(line["method"] == "dmt" for line in there):
            section, values = _of_drive(drive, there)
            drives.append(section)
            means.append(values)
    return [*drives, _over_drives(means)] if len(means) > 1 else drives


def _of_drive(drive: str, lines: list[Line]) -> tuple[Section, dict[str, float]]:
    """What is said of a drive, and mean IoU by method."""
    import numpy as np

    from dmt.engine.plan import PRESETS
    from dmt.metrics.confusion import iou_per_class, mean_iou
    from dmt.metrics.intervals import block_interval
    from dmt.metrics.over_seeds import questions

    found = {
        name: np.array(blocks, dtype=np.int64)
        for line in lines
        for name, blocks in line["blocks"].items()
    }
    summary = lines[0]["summary"]
    seconds = ", ".join(f"{line['method']} {line['summary']['seconds']:.0f} s" for line in lines)
    sums = {name: blocks.sum(0) for name, blocks in found.items()}
    names = [name for name in (*PRESETS, "oracle") if name in found]
    names = ["supervised", *(name for name in names if name != "supervised")]
    means = {name: mean_iou(sums[name]).value for name in names}
    rows = [
        f"{drive} held out: {summary['num_held_out']} frames in {len(found['dmt'])} blocks, "
        f"{summary['labeled']} labeled, {summary['unlabeled']} unlabeled ({seconds})",
        "",
        "| | " + " | ".join(names) + " |",
        "|---|" + "---|" * len(names),
        "| mean IoU | " + " | ".join(f"{value:.2f}" for value in means.values()) + " |",
    ]
    for index, name in enumerate(summary["classes"]):
        values = [iou_per_class(sums[each])[index] for each in names]
        cells = ["absent" if np.isnan(value) else f"{value:.1f}" for value in values]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    said = {
        (one, other): _said(one, other, block_interval(found[one], found[other], seed=0))
        for one, other in questions(names)
    }
    return Section(f"{drive} held out", rows, said), means


def _over_drives(means: list[dict[str, float]]) -> Section:
    """The same differences with intervals over drives, which are few."""
    from dmt.metrics.intervals import paired_t_interval
    from dmt.metrics.over_seeds import questions

    common = [name for name in means[0] if all(name in each for each in means)]
    where = f"over the {len(means)} drives"
    said = {
        (one, other): _said(
            one, other, paired_t_interval([each[one] - each[other] for each in means])
        )
        for one, other in questions(common)
    }
    return Section(where, [f"{where.capitalize()}:"], said)


def _said(one: str, other: str, found: Interval) -> str:
    from dmt.records.comparison import signed

    return (
        f"{one} − {other}: {signed(found.value)} points of mean IoU, 95 % interval "
        f"{signed(found.low)} to {signed(found.high)}"
    )


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--methods", default=",".join(METHODS), help="beside dmt, with commas")
    add_arguments(parser)
    given = parser.parse_intermixed_args()
    methods = ["dmt", *filter(None, given.methods.split(","))]
    wanted = [{"method": method, "drive": drive} for method in methods for drive in DRIVES]
    print(table(run_missing(given, wanted, run)))


if __name__ == "__main__":
    main()
