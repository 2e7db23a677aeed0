"""Batch normalisation that leaves no trace; running statistics are otherwise torch's own affair."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def frozen_batch_norm(module: nn.Module) -> Iterator[None]:
    """Within, a forward in train mode uses batch statistics and updates no running ones.

    So a forward that only computes weights can see what the training forward sees without moving
    BatchNorm twice a step (the authors' code does move it twice). Layers in eval mode keep using
    their running statistics.

    Args:
        module: any module; its BatchNorm layers at every depth, SyncBatchNorm among them.
    """
    layers = [
        layer
        for layer in module.modules()
        if isinstance(layer, _BatchNorm) and layer.track_running_stats
    ]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True
