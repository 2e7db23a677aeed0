"""Who else trains networks of a run: half of the ranks, a second process, other runs, nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from dmt.config import Settings
from dmt.engine.apart import Apart, Train
from dmt.engine.interrupt import StopFlag
from dmt.engine.outcome import installed
from dmt.engine.runtime import Runtime, hardware
from dmt.engine.shared_stages import Elsewhere, SharedStages
from dmt.engine.stage import Stage
from dmt.runs.halves import Halves


def elsewhere(
    stages: Sequence[Stage],
    settings: Settings,
    path: Path,
    runtime: Runtime,
    crew: Runtime,
    stop: StopFlag,
    train: Train,
    store: SharedStages | None,
) -> AbstractContextManager[Elsewhere | None]:
    """Who trains stages of a run beside the one that asks.

    Args:
        stages, settings, path: of the run.
        runtime: of all ranks.
        crew: of those that train the same network as this one.
        stop: looked at while training and waiting.
        train: trains a stage by this rank's crew.
        store: where other runs keep what they train.
    """
    if not settings.parallel_peers:
        return nullcontext(store)
    if runtime.world_size == 1:
        return Halves(stages, settings, path, runtime, stop)
    return Apart(stages, path, runtime, crew, stop, train)


def store_of(
    folder: Path | None, path: Path, settings: Settings, data: Mapping[str, Any], runtime: Runtime
) -> SharedStages | None:
    """Where other runs' stages are, if there are any; with all that one depends on beside its
    own fields.

    Args:
        folder: of the stages.
        path, settings, data, runtime: of the run.
    """
    if folder is None:
        return None
    # Where the images lie and which labels are left is part of the data's hash.
    left_out = {"memory_limit", "follow_links", "labeled_list", "unlabeled"}
    context = {
        "data": data["sha256"],
        "seed": settings.seed,
        "folds": settings.folds,
        "views": settings.data.model_dump(mode="json", exclude=left_out),
        "precision": runtime.precision,
        "hardware": hardware(runtime),
        "versions": installed(),
    }
    return SharedStages(folder, path.name, context)
