"""A network over whole scenes without a gradient, at full size or by a sliding window.

What labeling, evaluation and prediction share for pixels; for whole images see `forward`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dmt.core import sent
from dmt.data.read_ahead import read_ahead
from dmt.data.scenes import ScenePool
from dmt.engine.runtime import Runtime
from dmt.errors import SettingError

PIXELS_AT_ONCE = 1 << 19
_FEWEST = 8  # batches of images of one size
"""Pixels that go through a network together; a single larger image or window goes alone."""


@dataclass(frozen=True)
class Inference:
    """How an image goes through a network.

    Raises:
        SettingError: a value outside the range its field states.
    """

    window: tuple[int, int] | None = None
    """Height and width in pixels of a sliding window; None for the whole image at once."""
    overlap: float = 0.5
    """The share of the window by which neighbours overlap at least, from 0 to below 1."""

    def __post_init__(self) -> None:
        if self.window is not None and not (len(self.window) == 2 and min(self.window) >= 1):
            raise SettingError(
                f"window is {self.window!r}; give a height and a width of at least 1, or none"
            )
        if not 0 <= self.overlap < 1:
            raise SettingError(f"overlap is {self.overlap!r}; give a share from 0 to below 1")


@torch.no_grad()
def scene_logits(net: nn.Module, images: Tensor, inference: Inference, runtime: Runtime) -> Tensor:
    """The network's output for every pixel, in eval mode; the mode is put back.

    By a window, the softmax of all windows over a pixel is averaged and its logarithm returned,
    so that the softmax of the result is that mean.

    Args:
        net: from uint8 (B, 3, H, W) of any size to (B, K, H, W).
        images: uint8 (B, 3, H, W) on the runtime's device.
        inference: whole or by a window; a side shorter than the window's is taken whole.
        runtime: where and how precisely it computes.

    Returns:
        float32 (B, K, H, W) on the device.
    """
    height, width = images.shape[-2:]
    window = inference.window or (height, width)
    with _evaluating(net):
        if height <= window[0] and width <= window[1]:
            with runtime.autocast():
                whole: Tensor = net(images)
            return whole.float()
        return _by_window(net, images, window, inference.overlap, runtime)


def forward_scenes(
    net: nn.Module,
    pool: ScenePool,
    ids: Tensor,
    inference: Inference,
    runtime: Runtime,
    workers: int,
) -> Generator[tuple[int, Tensor], None, None]:
    """This rank's images' ids and `scene_logits` (K, H, W); each goes through the network once.

    Images of one size go together, so ids come sorted by size, not in the order asked; for the
    same ids it is the same order. What forms a batch depends on the ids alone, and ranks take whole
    batches in turn, so any number of ranks has the same answers to the last bit.

    Args:
        net: as in `scene_logits`.
        pool: the images.
        ids: int64 (N,), on the CPU, of all ranks.
        inference, runtime: as in `scene_logits`.
        workers: threads that read ahead; 0 reads in the caller's.

    Raises:
        DataError: an image has become unreadable since it was checked.
    """
    batches = list(_same_size(pool, ids))[runtime.rank :: runtime.world_size]
    calls: Iterator[list[Callable[[], NDArray[np.uint8]]]] = (
        [partial(pool.image, id) for id in batch] for batch in batches
    )
    with closing(read_ahead(calls, workers)) as read:
        for batch, images in zip(batches, read, strict=True):
            # Bytes travel as they lie and are turned into planes on the device.
            stacked = sent(torch.from_numpy(np.stack(images)), runtime.device)
            planes = stacked.permute(0, 3, 1, 2).contiguous()
            logits = scene_logits(net, planes, inference, runtime)
            yield from zip(batch, logits, strict=True)


def num_windows(size: tuple[int, int], inference: Inference) -> int:
    """Through how many windows an image of (H, W) goes; 1 where it goes whole."""
    if inference.window is None:
        return 1
    high, wide = (len(_starts(side, window, inference.overlap))
                  for side, window in zip(size, inference.window, strict=True))  # fmt: skip
    return high * wide


def shard_ids(ids: Tensor, runtime: Runtime) -> Tensor:
    """This rank's part of `ids` (int64, (N,)): every `world_size`-th; parts may differ by one."""
    return ids[runtime.rank :: runtime.world_size]


def _same_size(pool: ScenePool, ids: Tensor) -> Iterator[list[int]]:
    """The ids in batches of equal size, of at most `PIXELS_AT_ONCE` pixels or of one image.

    There are a few batches even of few images, for ranks to share.
    """
    sizes, group = np.unique(pool.sizes[ids.numpy()], axis=0, return_inverse=True)
    for number, (height, width) in enumerate(sizes.tolist()):
        members = ids[torch.from_numpy(group.reshape(-1) == number)].tolist()
        num = max(1, min(PIXELS_AT_ONCE // (height * width), len(members) // _FEWEST))
        for start in range(0, len(members), num):
            yield members[start : start + num]


def _by_window(
    net: nn.Module, images: Tensor, window: tuple[int, int], overlap: float, runtime: Runtime
) -> Tensor:
    height, width = images.shape[-2:]
    high, wide = min(window[0], height), min(window[1], width)
    corners = [
        (top, left)
        for top in _starts(height, high, overlap)
        for left in _starts(width, wide, overlap)
    ]
    at_once = max(1, PIXELS_AT_ONCE // (len(images) * high * wide))
    total: Tensor | None = None
    counts = torch.zeros(height, width, device=images.device)
    for start in range(0, len(corners), at_once):
        some = corners[start : start + at_once]
        cut = [images[:, :, top : top + high, left : left + wide] for top, left in some]
        with runtime.autocast():
            logits: Tensor = net(torch.cat(cut))
        if total is None:
            total = images.new_zeros(
                len(images), logits.shape[1], height, width, dtype=torch.float32
            )
        parts = logits.float().softmax(dim=1).split(len(images))
        for (top, left), part in zip(some, parts, strict=True):
            total[:, :, top : top + high, left : left + wide] += part
            counts[top : top + high, left : left + wide] += 1
    assert total is not None, "an image has at least one window"
    # A probability that underflowed stays the smallest there is: −∞ would be no number any more
    # as soon as two of them are subtracted.
    return total.div_(counts).clamp_(min=torch.finfo(torch.float32).tiny).log_()


def _starts(side: int, window: int, overlap: float) -> list[int]:
    """Where windows begin along a side: evenly spaced, the last one ending at the border."""
    stride = max(1, int(window * (1 - overlap) + 1e-9))  # 10 · (1 − 0.9) is 0.999… in floats
    num_gaps = -(-(side - window) // stride)
    return [0] + [number * (side - window) // num_gaps for number in range(1, num_gaps + 1)]


@contextmanager
def _evaluating(net: nn.Module) -> Iterator[None]:
    """Eval mode within; each part's own mode is put back, for some may be frozen in eval mode."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, was_training in modes:
            module.training = was_training
