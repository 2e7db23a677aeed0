"""A trained segmentation as something to predict with: images of any size in, scenes out.

What becomes of a scene on disk is `mask_predicting`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dmt.data.decode import decode, shown
from dmt.data.read_ahead import read_ahead
from dmt.data.sizes import fit_within
from dmt.engine.runtime import Runtime
from dmt.engine.scene_forward import Inference, scene_logits
from dmt.errors import DataError
from dmt.models.network import Network

_BAND = 1 << 22  # probabilities made at a time: 16 MB, whatever the size of an image


class Scene(NamedTuple):
    """What a model says of one image, at the image's own upright size."""

    label: NDArray[np.uint8]  # (H, W), numbers of classes
    confidence: NDArray[np.float32]  # (H, W), largest probability, 0–1
    agreement: NDArray[np.float32] | None  # (H, W), Σ_k min(p_a, p_b), 0–1; None for one model
    probs: NDArray[np.float32] | None  # (K, H, W), where asked for


class Segmenter:
    """The headline model of a run.

    Args:
        networks: whose mean probability decides; on the runtime's device, in eval mode.
        other: a network that only agrees or not (a chain's last generation but one).
        classes: names.
        max_side: larger images are brought down to this many pixels on their longer side before a
            network sees them; None: none is.
        inference: at once or by windows.
        runtime: where it computes.
        workers: threads that decode files.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        other: Network | None,
        classes: tuple[str, ...],
        max_side: int | None,
        inference: Inference,
        runtime: Runtime,
        workers: int = 2,
    ) -> None:
        self.classes = classes
        self.max_side = max_side
        self.workers = workers
        self._num_deciding = len(networks)
        self._networks = [*networks, *([] if other is None else [other])]
        self._inference = inference
        self._runtime = runtime

    @property
    def has_agreement(self) -> bool:
        """Whether there are two networks to agree or not."""
        return len(self._networks) == 2

    def predict(self, images: Iterable[Any], *, keep_probs: bool = False) -> list[Scene]:
        """`predict_each`, all at once."""
        return list(self.predict_each(images, keep_probs=keep_probs))

    def predict_each(self, images: Iterable[Any], *, keep_probs: bool = False) -> Iterator[Scene]:
        """A scene for each image, in order, one image in the networks at a time.

        Args:
            images: paths, PIL images, or arrays or tensors of uint8 (H, W, 3), of any size; they
                are asked for a few ahead of their use.
            keep_probs: whether to keep every class's probability: 4·K bytes a pixel.

        Raises:
            DataError: a file cannot be read as an image, or the model has no finite answer to it.
            TypeError: an array is not uint8 (H, W, 3).
        """
        calls: Iterator[list[Callable[[], tuple[NDArray[np.uint8], str]]]] = (
            [partial(_pixels, image)] for image in images
        )
        with closing(read_ahead(calls, self.workers)) as ahead:
            for ((pixels, name),) in ahead:
                yield self.predict_pixels(pixels, name, keep_probs=keep_probs)

    @torch.no_grad()
    def predict_pixels(
        self, pixels: NDArray[np.uint8], name: str = "an image", *, keep_probs: bool = False
    ) -> Scene:
        """The scene of one image.

        Args:
            pixels: uint8 (H, W, 3), RGB.
            name: of the image, as it can stand in a message.
            keep_probs: as in `predict_each`.

        Raises:
            DataError: the model has no finite answer to it.
        """
        height, width = pixels.shape[:2]
        small = _resized(pixels, *fit_within(height, width, self.max_side))
        image = torch.from_numpy(np.ascontiguousarray(small.transpose(2, 0, 1)))[None]
        image = image.to(self._runtime.device)
        logits = [
            scene_logits(net, image, self._inference, self._runtime)[0] for net in self._networks
        ]
        if not all(bool(each.isfinite().all()) for each in logits):
            raise DataError(f"the model has no finite answer to {name}; look at it, or train again")
        return self._decide(logits, height, width, keep_probs)

    def _decide(self, logits: list[Tensor], height: int, width: int, keep_probs: bool) -> Scene:
        """Label and confidence at full size, a band of rows at a time."""
        num_classes = len(self.classes)
        label = np.empty((height, width), dtype=np.uint8)
        confidence = np.empty((height, width), dtype=np.float32)
        agreement = np.empty_like(confidence) if self.has_agreement else None
        probs = np.empty((num_classes, height, width), np.float32) if keep_probs else None
        num_rows = max(1, _BAND // ((num_classes + 1) * width))
        for top in range(0, height, num_rows):
            rows = slice(top, min(top + num_rows, height))
            planes = self._planes(logits, rows, height, width)
            mean = planes[:num_classes]
            largest, called = mean.max(dim=0)
            label[rows] = called.to(torch.uint8).cpu().numpy()
            confidence[rows] = largest.clamp(max=1).cpu().numpy()
            if agreement is not None:
                agreement[rows] = planes[num_classes].clamp(max=1).cpu().numpy()
            if probs is not None:
                probs[:, rows] = mean.cpu().numpy()
        return Scene(label, confidence, agreement, probs)

    def _planes(self, logits: list[Tensor], rows: slice, height: int, width: int) -> Tensor:
        """Mean probabilities, and agreement where there is one, of `rows` at full size.

        They are taken where the networks looked and then brought to the image's size, bilinearly.
        """
        start, stop, lower, upper, share = _source_rows(rows, height, logits[0].shape[1])
        softmax = [each[:, start:stop].softmax(dim=0) for each in logits]
        planes = [torch.stack(softmax[: self._num_deciding]).mean(dim=0)]
        if self.has_agreement:
            planes.append(torch.minimum(softmax[0], softmax[1]).sum(dim=0, keepdim=True))
        small = torch.cat(planes)
        if logits[0].shape[1] != height:
            device = small.device
            small = torch.lerp(
                small[:, lower.to(device)], small[:, upper.to(device)], share.to(device)
            )
        if logits[0].shape[2] == width:
            return small
        return F.interpolate(small, size=width, mode="linear", align_corners=False)


def _source_rows(
    rows: slice, height: int, num_source: int
) -> tuple[int, int, Tensor, Tensor, Tensor]:
    """Between which rows of the small picture each row of the large one lies.

    Returns:
        First and last + 1 of the source rows that are needed; within them, the row above and the
        row below (int64 each), and the share of the one below, float32 (number of rows, 1).
    """
    target = torch.arange(rows.start, rows.stop, dtype=torch.float64)
    at = ((target + 0.5) * num_source / height - 0.5).clamp(0, num_source - 1)
    lower = at.floor().long()
    upper = (lower + 1).clamp(max=num_source - 1)
    start, stop = int(lower[0]), int(upper[-1]) + 1
    return start, stop, lower - start, upper - start, (at - lower).float()[:, None]


def _pixels(image: Any) -> tuple[NDArray[np.uint8], str]:
    """An image's pixels and its name."""
    if isinstance(image, (str, Path)):
        return decode(image), shown(image)
    array = np.asarray(image.convert("RGB") if hasattr(image, "convert") else image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise TypeError(f"an image must be uint8 (H, W, 3), not {array.dtype} {array.shape}")
    return array, "an image"


def _resized(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    if pixels.shape[:2] == (height, width):
        return pixels
    small = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC, None, 3.0)
    return np.asarray(small)
