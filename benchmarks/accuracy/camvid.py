"""CamVid, one drive held out after the other: supervised, self-training, mutual and DMT.

    python benchmarks/accuracy/camvid.py PATH/camvid-half --out results/camvid.jsonl

Three films: each is held out once, the labels are 1/8 of the others' frames in blocks of
consecutive ones, all other frames are unlabeled. One run gives DMT and the supervised model of as
many images as one peer; others self-training (one model) and `mutual` (a pair, weights of one).
One model is compared with one model. Intervals are over blocks of consecutive frames of the drive
that was held out: they say how sure a difference is on that drive, not on another city.
Finished runs are kept in `--out`, a line each, and not run again. `--jobs` processes of one thread
each work side by side: figures do not depend on it, seconds do.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from kept import Line, add_arguments, run_missing

DRIVES = ("0001TP", "0006R0", "0016E5")
METHODS = {
    "dmt": [],
    "self-training": ["method=self-training", "baseline=none"],
    "mutual": ["method=mutual", "baseline=none"],
}


def run(data: str, words: list[str], method: str, drive: str) -> Line:
    """One training run: its summary, and the confusion of every held-out block by every model."""
    import numpy as np

    from dmt.api import Quiet, train_with

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        settings = ["recipe=camvid", *words, *METHODS[method], f"data.test_group={drive}"]
        summary = train_with(data, [*settings, f"out={path}"], Quiet()).summary
        counts, blocks = _held_out(path)
    names = {"a": method, "supervised": "supervised"}
    return {
        "method": method,
        "drive": drive,
        "settings": words,
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
    from dmt.materials import sizes_of
    from dmt.models.weights import restore
    from dmt.scene_material import SceneMaterial
    from dmt.using import settings_of

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


def table(lines: list[Line]) -> str:
    """By drive: mean IoU, DMT's differences with intervals over blocks, and IoU by class."""
    import numpy as np

    from dmt.metrics.confusion import iou_per_class, mean_iou
    from dmt.metrics.intervals import block_interval

    rows: list[str] = []
    for drive in DRIVES:
        found = {
            name: np.array(blocks, dtype=np.int64)
            for line in lines
            if line["drive"] == drive
            for name, blocks in line["blocks"].items()
        }
        if len(found) < 4:
            continue
        summary = next(line["summary"] for line in lines if line["drive"] == drive)
        seconds = ", ".join(
            f"{line['method']} {line['summary']['seconds']:.0f} s"
            for line in lines
            if line["drive"] == drive
        )
        sums = {name: blocks.sum(0) for name, blocks in found.items()}
        names = ["supervised", "self-training", "mutual", "dmt"]
        rows += [
            "",
            f"{drive} held out: {summary['num_held_out']} frames in {len(found['dmt'])} blocks, "
            f"{summary['labeled']} labeled, {summary['unlabeled']} unlabeled ({seconds})",
            "",
            "| | " + " | ".join(names) + " |",
            "|---|" + "---|" * len(names),
            "| mean IoU | " + " | ".join(f"{mean_iou(sums[n]).value:.2f}" for n in names) + " |",
        ]
        for index, name in enumerate(summary["classes"]):
            values = [iou_per_class(sums[each])[index] for each in names]
            cells = ["absent" if np.isnan(value) else f"{value:.1f}" for value in values]
            rows.append(f"| {name} | " + " | ".join(cells) + " |")
        rows.append("")
        for other in names[:-1]:
            seen = block_interval(found["dmt"], found[other], seed=0)
            rows.append(
                f"DMT − {other}: {seen.value:+.2f} points, 95 % interval {seen.low:+.2f} to "
                f"{seen.high:+.2f}"
            )
    return "\n".join(rows)


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    add_arguments(parser)
    given = parser.parse_intermixed_args()
    wanted = [{"method": method, "drive": drive} for method in METHODS for drive in DRIVES]
    print(table(run_missing(given, wanted, run)))


if __name__ == "__main__":
    main()
