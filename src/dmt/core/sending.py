"""From the host to a device without waiting for the device; nothing comes back this way."""

from __future__ import annotations

import torch
from torch import Tensor

_LARGEST_STAGED = 1 << 16  # bytes that CUDA's driver sets aside at once, however busy the device is


def sent(values: Tensor, device: torch.device) -> Tensor:
    """`values` on a device; where they come from the host, it does not wait for earlier work.

    `Tensor.to` waits until all is done that was asked of a CUDA device before, in every call.

    Args:
        values: on the CPU or the device.
        device: where they go.
    """
    if values.device == device or device.type in {"cpu", "mps"}:
        # Apple's GPU reads the host's memory itself and must have read it before that is freed.
        return values.to(device)
    if device.type == "cuda" and values.nbytes > _LARGEST_STAGED and not values.is_pinned():
        values = values.pin_memory()
    return values.to(device, non_blocking=True)
