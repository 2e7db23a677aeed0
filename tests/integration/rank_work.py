"""What one of several ranks does so that a test can compare it with one process. No tests here.

As a program: `rank_work.py SCENES OUT`, with a launcher's variables; OUT gets what rank 0 found.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dmt.api import settings_for
from dmt.config import Settings
from dmt.core import uniform
from dmt.data.layouts import open_catalog
from dmt.engine.networks import build_stage
from dmt.engine.plan import plan
from dmt.engine.runtime import Runtime, open_runtime
from dmt.engine.stage import LabelStage, TrainStage
from dmt.errors import DmtError
from dmt.methods import make_method
from dmt.runs.materials import sizes_of
from dmt.runs.session import open_material
from dmt.runs.together import (
    refuse_other_data,
    refuse_other_folder,
    refuse_other_settings,
    refuse_unspreadable,
)
from tiny_scenes import KEYS

Found = dict[str, Any]


def label(data: str | Path, keys: dict[str, Any], folder: Path, runtime: Runtime) -> Found:
    """Label the pool by a network of equal weights, and judge it."""
    settings = settings_for(data, keys)
    material = open_material(open_catalog(data), lambda text: None)
    split = material.split(settings, ())
    material.open(settings, runtime)
    task = material.task(settings, {None: split}, runtime)
    stages = plan(settings, sizes_of(split, material.catalog))
    stage = next(each for each in stages if isinstance(each, LabelStage))
    teacher = next(each for each in stages if each.name == stage.teacher)
    assert isinstance(teacher, TrainStage)
    net, _ = build_stage(
        teacher, len(task.classes), seed=5, image_size=max(material.shapes(settings).view),
        is_dense=task.name == "segmentation", has_weights=False, allow_code=True,
    )  # fmt: skip
    labeling = task.label(stage, net, folder, None)
    table = task.judge({None: {"a": net}})
    assert table is not None
    return {"labeling": str(labeling), "confusion": str(table.confusion), "values": table.values}


def step(method_name: str, labels: Path, runtime: Runtime) -> Found:
    """One step's loss and gradient, as all ranks have them, of a network without BatchNorm."""
    keys = {"method": method_name, "steps": 8, "rounds": 1, "selection.fractions": [0.5],
            "batch_size": 16, "student.labeled_share": 0.25, "model": "wrn_10_1"}  # fmt: skip
    settings = settings_for("digits", keys)
    catalog = open_catalog("digits")
    material = open_material(catalog, lambda text: None)
    split = material.split(settings, ())
    material.open(settings, runtime)
    task = material.task(settings, {None: split}, runtime)
    stages = plan(settings, sizes_of(split, catalog))
    trained = [each for each in stages if isinstance(each, TrainStage)]
    stage = next(each for each in trained if each.pseudo or each.online)
    method = make_method(stage, task.view, task.views, 10, runtime)
    nets = {name: _net(place) for place, name in enumerate(method.learners)}
    method.begin(nets)
    position, batch = next(iter(task.batches(stage, labels, 1)))
    result = method.losses(nets, batch, position)
    losses = {
        name: torch.stack([
            term.total / runtime.sum(term.num_valid).clamp(min=1) for term in terms
        ]).sum()
        for name, terms in result.losses.items()
    }  # fmt: skip
    torch.stack(list(losses.values())).sum().backward()
    for net in nets.values():
        runtime.sum_gradients(net)
    return {
        "loss": {name: runtime.sum(loss.detach()) for name, loss in losses.items()},
        "gradient": [p.grad for net in nets.values() for p in net.parameters()],
    }


def _net(place: int) -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 16), nn.ReLU(), nn.Linear(16, 10))
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            drawn: Tensor = uniform(place, name, num=parameter.numel())
            parameter.copy_((drawn.view(parameter.shape) - 0.5) / 30)

    class Floats(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, images: Tensor) -> Tensor:
            out: Tensor = self.net(images.float() / 64)
            return out

    return Floats()


def work(scenes: Path, out: Path, runtime: Runtime) -> Found:
    """All of it; the stores lie in `out`."""
    return {
        "digits": label("digits", {"model": "wrn_10_1", "steps": 4}, out / "digits", runtime),
        "scenes": label(scenes, KEYS, out / "scenes", runtime),
        **{name: step(name, out / "digits", runtime) for name in METHODS},
    }


METHODS = ("dmt", "mixmatch", "fixmatch", "freematch", "dmt-online")


def refused(runtime: Runtime, out: Path) -> list[str]:
    """What is said where the second rank is the odd one."""
    odd = runtime.rank == 1
    settings = Settings(seed=int(odd))
    own = out / f"rank{runtime.rank}"
    own.mkdir(exist_ok=True)
    (own / "data.json").write_text(str(runtime.rank))
    files = {"num": 3 - odd, "sha256": "other" if odd else "same"}
    said = []
    for ask in (
        lambda: refuse_other_settings(settings, runtime),
        lambda: refuse_other_settings(Settings(sync_batch_norm=True), runtime),
        lambda: refuse_other_data(files, runtime),
        lambda: refuse_other_folder(own, runtime),
        lambda: refuse_unspreadable((), 1, runtime, runtime),
    ):
        try:
            ask()
        except DmtError as error:
            said.append(f"{type(error).__name__}: {error}")
    refuse_other_settings(Settings(device="cpu", workers=runtime.rank), runtime)  # may differ
    return said


def talk(runtime: Runtime) -> Found:
    """Pieces of different lengths, a text, buffers and a checkpoint's sums."""
    lengths = [2, 0] if runtime.world_size == 2 else [2]
    norm = nn.BatchNorm1d(1)
    norm.running_mean = torch.tensor([1.0 + 2 * runtime.rank])
    norm(torch.ones(2, 1)).sum().backward()
    runtime.sum_gradients(norm)
    return {
        "joined": runtime.join(torch.arange(lengths[runtime.rank]), lengths),
        "text": runtime.first_text(f"rank {runtime.rank} ü"),
        "mean": norm.running_mean,
    }


if __name__ == "__main__":
    given, place = Path(sys.argv[1]), Path(sys.argv[2])
    ranks = open_runtime("cpu", "fp32", rank_timeout=120)
    found = work(given, place, ranks) | {"said": refused(ranks, place), "talk": talk(ranks)}
    torch.save(found, place / f"found{ranks.rank}.pt")
    ranks.barrier()
