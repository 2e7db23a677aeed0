"""The network of a stage, as its training begins. What it becomes is the runner's."""

from __future__ import annotations

from pathlib import Path

from dmt.engine.stage import TrainStage
from dmt.models.build import Network, build
from dmt.models.local_weights import LoadReport, load_local


def build_stage(
    stage: TrainStage,
    num_classes: int,
    *,
    seed: int,
    image_size: int,
    is_dense: bool,
    has_weights: bool,
    allow_code: bool,
) -> tuple[Network, LoadReport | None]:
    """The network of a stage as its name says, on the CPU.

    Args:
        stage: its model, weights and preprocessing.
        num_classes: K.
        seed: of the initialisation.
        image_size: side of a training view in pixels.
        is_dense: whether every pixel gets a class.
        has_weights: whether to begin from the stage's pre-trained weights, if it has some.
        allow_code: whether a `package.module:factory` may be imported.

    Returns:
        The network, and what fitted where its weights came from a file.

    Raises:
        SettingError, EnvironmentFault: as `models.build.build` and `load_local`.
    """
    network = build(
        stage.model,
        num_classes,
        seed=seed,
        image_size=image_size,
        pretrained=has_weights and stage.weights == "pretrained",
        mean=stage.preprocessing.mean,
        std=stage.preprocessing.std,
        channel_order=stage.preprocessing.channel_order,
        allowed_factory=allow_code,
        is_dense=is_dense,
    )
    if has_weights and stage.weights not in {"none", "pretrained"}:
        return network, load_local(network, Path(stage.weights))
    return network, None
