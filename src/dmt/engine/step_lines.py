"""What a run says of a training: its place in words, and the fields of its `step` lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from dmt.engine.stage import Stage, TrainStage


def where(stage: Stage, names: Sequence[str]) -> str:
    """The place in the run of stages that are trained together, in words."""
    fold = [] if stage.fold is None else [f"fold {stage.fold}"]
    role = f"round {stage.round}" if stage.role == "round" else f"the {stage.role}"
    peers = " and ".join(name.rsplit("/", 1)[-1] for name in names)
    return ", ".join([*fold, f"peer{'s' * (len(names) > 1)} {peers}", role])


def step_fields(
    stage: TrainStage, learner: str, next_step: int, sums: Mapping[str, Tensor]
) -> dict[str, Any]:
    """A `step` line's fields from the sums since the last one."""
    num_steps = sums["num_steps"].item()
    start = f"{learner}."
    sums = {key.removeprefix(start): sums[key] for key in sums if key.startswith(start)}
    num_pseudo = sums["num_pseudo"].item() if "num_pseudo" in sums else 0.0
    return {
        "round": stage.round,
        "peer": stage.peer,
        "step": next_step,
        "num_steps": stage.fit.num_steps,
        "images_seen": next_step * stage.fit.batch_size,
        "loss": sums["loss"].item() / num_steps,
        "agreement": sums["num_agreed"].item() / num_pseudo if num_pseudo else None,
        "mean_weight": sums["weight"].item() / num_pseudo if num_pseudo else None,
        **{
            name: [int(num) for num in sums[name].tolist()] if name in sums else None
            for name in ("given", "predicted")
        },
        "lr": stage.fit.lr_at(next_step - 1),
    }
