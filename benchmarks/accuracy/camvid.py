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
from typing import TYPE_CHECKING, Any

from kept import Line, add_arguments, refuse_unequal, run_missing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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
    names = {"a": method, "supervised": "supervised", "oracle": "oracle"}
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


def table(lines: list[Line]) -> str:
    """By drive: mean IoU, IoU by class, and differences with intervals over blocks; then over
    all drives."""
    import numpy as np

    from dmt.engine.plan import PRESETS
    from dmt.metrics.confusion import iou_per_class, mean_iou

    refuse_unequal(lines)
    rows: list[str] = []
    by_drive: list[dict[str, float]] = []
    for drive in DRIVES:
        found = {
            name: np.array(blocks, dtype=np.int64)
            for line in lines
            if line["drive"] == drive
            for name, blocks in line["blocks"].items()
        }
        if "dmt" not in found:
            continue
        summary = next(line["summary"] for line in lines if line["drive"] == drive)
        seconds = ", ".join(
            f"{line['method']} {line['summary']['seconds']:.0f} s"
            for line in lines
            if line["drive"] == drive
        )
        sums = {name: blocks.sum(0) for name, blocks in found.items()}
        names = [name for name in (*PRESETS, "oracle") if name in found]
        names = ["supervised", *(name for name in names if name != "supervised")]
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
        rows += [f"- {text}" for text in differences(found, names)]
        by_drive.append({name: mean_iou(sums[name]).value for name in names})
    return "\n".join([*rows, *_over_drives(by_drive)])


def _over_drives(values: list[dict[str, float]]) -> list[str]:
    """The same differences of mean IoU with intervals over drives, which are few."""
    from dmt.metrics.intervals import paired_t_interval
    from dmt.metrics.over_seeds import questions

    if len(values) < 2:
        return []
    names = [name for name in values[0] if all(name in each for each in values)]
    lines = ["", f"Over the {len(values)} drives:", ""]
    for one, other in questions(names):
        found = paired_t_interval([each[one] - each[other] for each in values])
        lines.append(f"- {_said(one, other, found.value, found.low, found.high)}")
    return lines


def differences(found: dict[str, NDArray[np.int64]], names: list[str]) -> list[str]:
    """Every method against supervised training, and ours against every other one."""
    from dmt.metrics.intervals import block_interval
    from dmt.metrics.over_seeds import questions

    lines = []
    for one, other in questions(names):
        seen = block_interval(found[one], found[other], seed=0)
        lines.append(_said(one, other, seen.value, seen.low, seen.high))
    return lines


def _said(one: str, other: str, value: float, low: float, high: float) -> str:
    from dmt.records.comparison import signed

    return (
        f"{one} − {other}: {signed(value)} points of mean IoU, 95 % interval "
        f"{signed(low)} to {signed(high)}"
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
