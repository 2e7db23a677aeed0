"""Weak and strong views of uint8 image batches; RandAugment's operations live in `randaugment`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dmt.core.random import uniform
from dmt.core.sending import sent
from dmt.data.randaugment import Fill, cosine_sine, cutout, nearest, randaugment, whole
from dmt.errors import SettingError


@dataclass(frozen=True)
class Augmentation:
    """What a training view may change; the defaults are the paper's for CIFAR-10.

    Raises:
        SettingError: a value outside the range its field states.
    """

    flip: bool = True
    """Mirror left and right for half of the views."""
    shift: float = 0.125
    """Move by whole pixels, at most this share of the side (0 to 1), all offsets equally likely."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Smallest and largest zoom about the centre, uniform between; above 1 magnifies."""
    rotate: float = 0.0
    """Turn by at most so many degrees (0 to 180), uniform in ±, in steps of a quarter degree."""
    fill: Fill = 128
    """What comes in from outside: a grey level (0 to 255), or "edge" to repeat the border."""
    randaugment: int = 1
    """RandAugment operations in the strong view; 0 leaves them out."""
    magnitude: tuple[int, int] = (1, 10)
    """Weakest and strongest magnitude (whole numbers, 0 to 10), drawn once for an image."""
    cutout: float = 0.0
    """A hole after RandAugment, its side as a share of the image's (0 to 1); 0 for none."""

    def __post_init__(self) -> None:
        for name in ("shift", "cutout"):
            value = getattr(self, name)
            _require(0 <= value <= 1, name, value, "a share of the side from 0 to 1")
        _require(
            0 < self.scale[0] <= self.scale[1], "scale", self.scale, "two zooms above 0, sorted"
        )
        _require(0 <= self.rotate <= 180, "rotate", self.rotate, "degrees from 0 to 180")
        is_grey = isinstance(self.fill, int) and 0 <= self.fill <= 255
        _require(
            is_grey or self.fill == "edge", "fill", self.fill, 'a grey level 0 to 255 or "edge"'
        )
        _require(self.randaugment >= 0, "randaugment", self.randaugment, "a count, 0 for none")
        low, high = self.magnitude
        _require(0 <= low <= high <= 10, "magnitude", self.magnitude, "two of 0 to 10, sorted")


def weak(
    images: Tensor, ids: Tensor, augmentation: Augmentation, seed: int, *where: int | str
) -> Tensor:
    """Flip and shift (and zoom and turn) every image by what its id draws at this place.

    Without zoom and turn no pixel value changes; with them the image is resampled once,
    bilinearly. An image's result depends on its id, never on its neighbours in the batch.

    Args:
        images: uint8 (B, 3, H, W), any device.
        ids: int64 (B,), on the images' device or the CPU.
        augmentation: what may change.
        seed, where: the place, for example the stage and the step.

    Returns:
        uint8 (B, 3, H, W) on the images' device.
    """
    height, width = images.shape[-2:]
    draws = sent(uniform(seed, *where, "geometry", ids, num=5), images.device)
    flipped = draws[:, 0] < (0.5 if augmentation.flip else 0.0)
    down = _offset(draws[:, 1], augmentation.shift, height)
    right = _offset(draws[:, 2], augmentation.shift, width)
    low, high = augmentation.scale
    if (low, high) != (1, 1) or augmentation.rotate:
        zoom = low + draws[:, 3] * (high - low)
        degrees = (draws[:, 4] * 2 - 1) * augmentation.rotate
        return _bilinear(images, flipped, down, right, zoom, degrees, augmentation.fill)
    rows = torch.arange(height, device=images.device) - down.unsqueeze(1)
    columns = torch.arange(width, device=images.device) - right.unsqueeze(1)
    columns = torch.where(flipped.unsqueeze(1), width - 1 - columns, columns)
    return nearest(images, rows.unsqueeze(2), columns.unsqueeze(1), augmentation.fill)


def strong(
    images: Tensor, ids: Tensor, augmentation: Augmentation, seed: int, *where: int | str
) -> Tensor:
    """The weak view of the same place, then RandAugment and, if set, a cutout.

    The authors' order too, so that colour changes leave the strong view lying pixel on pixel over
    the weak one.

    Args:
        images: uint8 (B, 3, H, W), any device.
        ids: int64 (B,), on the images' device or the CPU; on the CPU the grouping by operation
            does not wait for an accelerator.
        augmentation: what may change.
        seed, where: the place, for example the stage and the step.

    Returns:
        uint8 (B, 3, H, W) on the images' device.
    """
    view = weak(images, ids, augmentation, seed, *where)
    view = randaugment(
        view,
        ids,
        augmentation.randaugment,
        augmentation.magnitude,
        augmentation.fill,
        seed,
        *where,
    )
    if augmentation.cutout:
        centre = sent(uniform(seed, *where, "cutout", ids, num=2), images.device)
        share = torch.full_like(centre[:, 0], augmentation.cutout)
        view = cutout(view, share, centre, augmentation.fill)
    return view


def _require(is_fine: bool, name: str, value: object, wanted: str) -> None:
    if not is_fine:
        raise SettingError(f"{name} is {value!r}; give {wanted}")


def _offset(draw: Tensor, share: float, side: int) -> Tensor:
    """Draws in [0, 1) as whole offsets within ±share·side, every one equally likely."""
    limit = int(share * side + 1e-6)  # 0.29 · 100 is 28.999… in floating point
    return whole(draw, 2 * limit + 1) - limit


def _bilinear(
    images: Tensor,
    flipped: Tensor,
    down: Tensor,
    right: Tensor,
    zoom: Tensor,
    degrees: Tensor,
    fill: Fill,
) -> Tensor:
    """Flip, zoom and turn about the centre, then shift: one bilinear look-up for each pixel.

    The grid is written out because `affine_grid` multiplies matrices in batches, whose last bits
    depend on the size of the batch.
    """
    height, width = images.shape[-2:]
    cosine, sine = (value / zoom for value in cosine_sine(degrees))
    cosine, sine = cosine[:, None, None], sine[:, None, None]
    y = torch.arange(height, device=images.device) - (height - 1) / 2
    x = torch.arange(width, device=images.device) - (width - 1) / 2
    y = (y - down[:, None])[:, :, None]
    x = (x - right[:, None])[:, None, :]
    source_y = sine * x + cosine * y
    source_x = cosine * x - sine * y
    source_x = torch.where(flipped[:, None, None], -source_x, source_x)
    # grid_sample counts from −1 to 1 between the outer edges of the border pixels.
    grid = torch.stack((source_x * (2 / width), source_y * (2 / height)), dim=-1)
    if fill == "edge":
        limit = sent(torch.tensor([1 - 1 / width, 1 - 1 / height]), images.device)
        grid = torch.minimum(torch.maximum(grid, -limit), limit)
    outside = 0 if fill == "edge" else fill  # grid_sample brings in zeros, so count from the fill
    sampled = F.grid_sample(images.float() - outside, grid, align_corners=False)
    return (sampled + outside).round().clamp(0, 255).to(torch.uint8)
