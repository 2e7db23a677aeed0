"""A model with its preprocessing: images in, logits out. How one is made is in `build`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmt.errors import SettingError

ChannelOrder = Literal["rgb", "bgr"]

# Per-channel statistics in 0..1, of the training images: CIFAR-10 (its 50 000, per pixel) and
# ImageNet (as everywhere in the field since Krizhevsky et al., 2012).
CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Made(NamedTuple):
    """A module as it was made, with what is known of it."""

    module: nn.Module
    stride: int
    mean: Sequence[float]
    std: Sequence[float]
    trial_size: int | None  # side in pixels of the images to try it with; None: it needs no trial
    align_corners: bool = False
    has_fixed_size: bool = False  # whether it takes images of `image_size` only
    is_foreign: bool = False  # whether it is somebody's own, of which nothing is known


class Network(nn.Module):
    """A model together with the preprocessing it wants: images in, logits out.

    Args:
        module: takes normalised float images (B, 3, H, W), gives logits (B, K), or (B, K, h, w)
            of any h and w if it is dense.
        mean, std: three numbers each in 0..1, in the order of channels that `module` sees.
        stride: of the last feature map; sides of an image are best a multiple of it.
        channel_order: what `module` expects; images always come as RGB.
        is_dense: whether every pixel gets logits, not the image.
        align_corners: how dense logits are brought to the images' size.
        spec, num_classes, image_size: what `build` was asked for, kept for the weights file.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        module: nn.Module,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        stride: int,
        channel_order: ChannelOrder = "rgb",
        is_dense: bool = False,
        align_corners: bool = False,
        spec: str,
        num_classes: int,
        image_size: int,
    ) -> None:
        super().__init__()
        self.module = module
        # In the images' own unit, so that a uint8 batch needs no division by 255 first.
        self.register_buffer("mean", 255 * torch.tensor([*map(float, mean)]).view(1, -1, 1, 1))
        self.register_buffer("std", 255 * torch.tensor([*map(float, std)]).view(1, -1, 1, 1))
        self.stride = stride
        self.channel_order: ChannelOrder = channel_order
        self.is_dense = is_dense
        self.align_corners = align_corners
        self.spec = spec
        self.num_classes = num_classes
        self.image_size = image_size
        # Of a dense module, in pixels: smaller images are padded to it, larger ones are refused.
        self.min_side = 1
        self.max_side: int | None = None

    def forward(self, images: Tensor, *, is_coarse: bool = False) -> Tensor:
        """Logits of images.

        Args:
            images: RGB in 0..255, uint8 or float, (B, 3, H, W), any memory format; a dense network
                takes any H and W.
            is_coarse: of a dense network: as its module gives them, to `enlarge` afterwards.

        Returns:
            float (B, K), or (B, K, H, W) if the network is dense.

        Raises:
            SettingError: a dense network in train mode got so few pixels that it cannot normalise,
                or images larger than it can take.
        """
        if not self.is_dense:
            logits: Tensor = self.module(self.normalize(images))
            return logits
        small = self.coarse_logits(images)
        return small if is_coarse else self.enlarge(small, *images.shape[-2:])

    def enlarge(self, small: Tensor, height: int, width: int) -> Tensor:
        """Coarse logits at the size of the images that they are of, (B, K, `height`, `width`)."""
        sides = self.padded(height), self.padded(width)
        if small.shape[-2:] != sides:
            small = F.interpolate(
                small, size=sides, mode="bilinear", align_corners=self.align_corners
            )
        return small if sides == (height, width) else small[..., :height, :width]

    def coarse_logits(self, images: Tensor) -> Tensor:
        """What a dense module gives for images padded to a size that suits it, (B, K, h, w)."""
        height, width = images.shape[-2:]
        if self.max_side is not None and max(height, width) > self.max_side:
            raise SettingError(
                f"model={self.spec} takes images of {self.max_side}×{self.max_side} pixels only, "
                f"not of {height}×{width}; let it see larger ones through a sliding window of "
                "that size (data.window)"
            )
        below, beside = self.padded(height) - height, self.padded(width) - width
        normal = self.normalize(images)
        if below or beside:
            # After normalisation, so that the margin is the mean colour, as in the module's own
            # padding; on the right and below, so that no pixel of the image moves.
            normal = F.pad(normal, (0, beside, 0, below))
        try:
            logits: Tensor = self.module(normal)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise SettingError(
                f"model={self.spec} cannot train on {len(images)} image of {height}×{width} "
                "pixels, as its BatchNorm sees a single value a channel; take at least two images "
                "a batch (batch_size), or a larger crop (data.crop)"
            ) from error
        return logits

    def padded(self, side: int) -> int:
        """The side in pixels that a side of an image is padded to before a dense module sees it.

        A multiple of the stride fits every module. Where corners are aligned, the grid of features
        lies exactly on the pixels only if the side is one more than a multiple (321 and 505 of the
        paper are); up-sampling a multiple would move what lies on the right and below.
        """
        side = max(side, self.min_side)
        spare = int(self.align_corners)
        return -(-(side - spare) // self.stride) * self.stride + spare

    def normalize(self, images: Tensor) -> Tensor:
        """The same images as `module` wants them: channels in its order, mean 0, deviation 1."""
        if self.channel_order == "bgr":
            images = images.flip(1)
        return ((images - self.mean) / self.std).to(self.mean.dtype)
