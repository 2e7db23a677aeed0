"""A trained run as something to predict with: its networks, its classes, its preprocessing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dmt.data.decode import decode_square, fit_square, shown
from dmt.data.pool import MemoryPool, StreamPool
from dmt.engine.finite import NotFiniteError, refuse_unless_all
from dmt.engine.forward import pooled_features, probabilities
from dmt.engine.runtime import Runtime
from dmt.errors import DataError
from dmt.models.build import Network

_IN_CACHE = 64  # images that a CPU takes together, so that what layers say stays in its cache:
# a wrn_10_1 at 32×32 takes 0.7 of the time of 512 at once


class Predictions(NamedTuple):
    """What a model says of N images."""

    label: tuple[str, ...]  # class names
    confidence: NDArray[np.float32]  # (N,), largest probability, 0–1
    agreement: NDArray[np.float32] | None  # (N,), Σ_k min(p_a, p_b), 0–1; None for one model
    probs: NDArray[np.float32]  # (N, K)


class Model:
    """The headline model of a run.

    Args:
        networks: whose mean probability decides; on the runtime's device, in eval mode.
        other: a network that only agrees or not (a chain's last generation but one).
        classes: names.
        image_size: side in pixels that images are brought to.
        runtime: where it computes.
        workers: threads that decode files.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        other: Network | None,
        classes: tuple[str, ...],
        image_size: int,
        runtime: Runtime,
        workers: int = 2,
    ) -> None:
        self.classes = classes
        self.image_size = image_size
        self._networks = networks
        self._other = other
        self._runtime = runtime
        self.workers = workers

    def predict(self, images: Sequence[Any] | NDArray[Any] | Tensor) -> Predictions:
        """Class, confidence and agreement of images.

        Args:
            images: paths, PIL images, or arrays or tensors of uint8 (H, W, 3), of any size; a
                (N, H, W, 3) array or tensor also does.

        Raises:
            DataError: a file cannot be read as an image, or the model has no finite answer to it.
            TypeError: an array is not uint8 (H, W, 3).
        """
        parts = list(self.predict_batches(images))
        if not parts:
            return self._decide([torch.empty(0, len(self.classes))] * 2)
        agreements = [part.agreement for part in parts if part.agreement is not None]
        return Predictions(
            tuple(name for part in parts for name in part.label),
            np.concatenate([part.confidence for part in parts]),
            np.concatenate(agreements) if agreements else None,
            np.concatenate([part.probs for part in parts]),
        )

    def predict_batches(
        self, images: Sequence[Any] | NDArray[Any] | Tensor, size: int = 512
    ) -> Iterator[Predictions]:
        """`predict`, `size` images at a time, so that any number of files fits in memory."""
        for probs in self.predict_peers(images, size):
            yield self._decide(probs)

    def predict_peers(
        self, images: Sequence[Any] | NDArray[Any] | Tensor, size: int = 512
    ) -> Iterator[list[Tensor]]:
        """What every network says by itself, `size` images at a time: float32 (B, K) each."""
        for part, pool in self._pools(images, size):
            ids = torch.arange(len(part))
            try:
                yield [
                    probabilities(net, pool, ids, len(self.classes), self._runtime)
                    for net in self._all
                ]
            except NotFiniteError as error:
                raise DataError(_no_answer([part[index] for index in error.ids])) from error

    @torch.no_grad()
    def predict_squares(self, images: Tensor) -> tuple[Predictions, list[Tensor]]:
        """What the model decides, and what every network says by itself, of images as they are.

        Args:
            images: uint8 (B, 3, image_size, image_size).

        Raises:
            NotFiniteError: a network has no finite answer; its ids count within `images`.
        """
        on_device, probs = images.to(self._runtime.device), []
        is_cpu = on_device.device.type == "cpu"
        for net in self._all:
            with self._runtime.autocast():
                parts = on_device.split(_IN_CACHE if is_cpu else max(1, len(images)))
                logits = torch.cat([net(part) for part in parts])
            probs.append(logits.float().softmax(dim=1).cpu())
            refuse_unless_all(probs[-1].isfinite().all(dim=1), torch.arange(len(images)))
        return self._decide(probs), probs

    def features(
        self, images: Sequence[Any] | NDArray[Any] | Tensor, size: int = 512
    ) -> NDArray[np.float32]:
        """What the networks' last layers see of images, side by side, float32 (N, D).

        D is 0 where no network ends in a linear layer.
        """
        parts = [
            torch.cat([pooled_features(net, pool, self._runtime) for net in self._all], dim=1)
            for _, pool in self._pools(images, size)
        ]
        return torch.cat(parts).numpy() if parts else np.zeros((0, 0), np.float32)

    @property
    def _all(self) -> list[Network]:
        return [*self._networks, *([self._other] if self._other else [])]

    def _pools(
        self, images: Sequence[Any] | NDArray[Any] | Tensor, size: int
    ) -> Iterator[tuple[Sequence[Any] | NDArray[Any] | Tensor, MemoryPool]]:
        """Images in parts, each read once for however many networks."""
        for start in range(0, len(images), size):
            part = images[start : start + size]
            pool = StreamPool(
                lambda row, part=part: _square(part[row], self.image_size),  # type: ignore[misc]
                num=len(part),
                size=self.image_size,
                device=self._runtime.device,
                workers=self.workers,
            )
            yield part, MemoryPool(pool.batch(torch.arange(len(part))))

    def _decide(self, probs: list[Tensor]) -> Predictions:
        deciding = probs[: len(self._networks)]
        mean = torch.stack(deciding).mean(dim=0)
        confidence, label = mean.max(dim=1)
        agreement = None
        if self._other is not None or len(deciding) == 2:
            agreement = torch.minimum(probs[0], probs[1]).sum(dim=1).clamp(max=1).numpy()
        return Predictions(
            tuple(self.classes[index] for index in label.tolist()),
            confidence.numpy(),
            agreement,
            mean.numpy(),
        )


def _no_answer(images: Sequence[Any]) -> str:
    """The sentence for images of a batch; none of them: all."""
    files = [shown(image) for image in images if isinstance(image, (str, Path))]
    named = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
    return f"the model has no finite answer to {named or 'an image'}; look at it, or train again"


def _square(image: Any, size: int) -> NDArray[np.uint8]:
    if isinstance(image, (str, Path)):
        return decode_square(image, size)
    array = np.asarray(image.convert("RGB") if hasattr(image, "convert") else image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise TypeError(f"an image must be uint8 (H, W, 3), not {array.dtype} {array.shape}")
    return fit_square(array, size)
