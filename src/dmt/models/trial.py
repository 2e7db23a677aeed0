"""A dry run of a new network, so that what does not fit is said before training starts."""

from __future__ import annotations

import torch
from torch import Tensor

from dmt.errors import SettingError
from dmt.models.factories import reason
from dmt.models.network import Made, Network
from dmt.models.norm import frozen_batch_norm

_STRIDES = (1, 2, 4, 8, 16, 32, 64)


def settle(network: Network, made: Made) -> None:
    """Try a new network out, and find which images it takes where that is not known.

    Args:
        network: of `made`; left in train mode, its running statistics as they were.

    Raises:
        SettingError: it takes no images of its size, or gives something else than it must.
    """
    assert made.trial_size is not None
    if network.is_dense and made.is_foreign:
        _find_stride(network)
    elif made.has_fixed_size:
        network.min_side = network.max_side = network.image_size
    try:
        try_out(network, made.trial_size)
    except SettingError:
        if made.trial_size == network.image_size:
            raise
        # Some architectures pool so often that a small image vanishes; those are padded then.
        try_out(network, network.image_size)
        network.min_side = network.image_size


def _find_stride(network: Network) -> None:
    """Learn of what a dense module's sides must be a multiple, by trying odd multiples of 1, 2, …

    Where none does, it is taken to be made for one size.
    """
    network.eval()
    for stride in _STRIDES:
        side = stride * (-(-network.image_size // stride) // 2 * 2 + 1)
        images = torch.zeros(1, 3, side, side + 2 * stride)
        try:
            with torch.no_grad():
                network.coarse_logits(images)
        except Exception:  # as many kinds as there are models; what it says is of no use yet
            continue
        network.stride = stride
        return
    network.min_side = network.max_side = network.image_size


def try_out(network: Network, size: int) -> None:
    """Run two black images through, in the modes evaluation and training will use.

    Args:
        network: on the CPU; it is left in train mode, its running statistics as they were.
        size: side of the images in pixels.

    Raises:
        SettingError: the model takes no such images, or gives something else than (B, K), or
            (B, K, h, w) if it is dense.
    """
    images = torch.zeros(2, 3, size, size, dtype=torch.uint8)
    for mode in (False, True):
        network.train(mode)
        try:
            with torch.no_grad(), frozen_batch_norm(network):
                logits: object = (network.coarse_logits if network.is_dense else network)(images)
        except Exception as error:  # as many kinds as there are models
            raise SettingError(
                f"model={network.spec} cannot take images of {size}×{size} pixels "
                f"({reason(error)}); set {'data.crop' if network.is_dense else 'data.image_size'} "
                "to what it was made for"
            ) from error
        if network.is_dense:
            _check_pixels(network, logits)
        else:
            _check_rows(network, logits)


def _check_rows(network: Network, logits: object) -> None:
    num_classes = network.num_classes
    if not isinstance(logits, Tensor) or logits.shape != (2, num_classes):
        raise SettingError(
            f"model={network.spec} must give one row of {num_classes} logits an image, so "
            f"(2, {num_classes}) for two images, not {_what(logits)}"
        )


def _check_pixels(network: Network, logits: object) -> None:
    num_classes = network.num_classes
    if not isinstance(logits, Tensor) or logits.ndim != 4 or logits.shape[:2] != (2, num_classes):
        raise SettingError(
            f"model={network.spec} must give {num_classes} logits for every pixel, as one tensor "
            f"(2, {num_classes}, height, width) for two images, not {_what(logits)}"
        )


def _what(logits: object) -> str:
    return str(tuple(logits.shape)) if isinstance(logits, Tensor) else type(logits).__name__
