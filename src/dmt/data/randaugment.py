"""RandAugment on whole batches and its pixel look-ups; what a view is lives in `transforms`.

Every operation takes uint8 (n, 3, H, W) and one parameter for each image, as a tensor (n,). None
depends on another image of the batch: arithmetic is integer, or float32 in separate elementwise
steps, so the result does not depend on the size of the batch either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dmt.core.random import uniform
from dmt.core.sending import sent

Fill = int | Literal["edge"]

_STRONGEST = 10  # magnitudes are tenths of an operation's range
_GREY = 128


@dataclass(frozen=True)
class Draw:
    """What was drawn for the n images of one operation.

    `level`: float32 (n,), between the operation's ends. `centre`: float32 (n, 2), row and column
    in [0, 1). `fill`: what comes in from outside.
    """

    level: Tensor
    centre: Tensor
    fill: Fill


@dataclass(frozen=True)
class Operation:
    """A name, the levels at magnitudes 0 and 10, whether the sign is random, and the function."""

    name: str
    low: float
    high: float
    is_signed: bool
    apply: Callable[[Tensor, Draw], Tensor]


def randaugment(
    images: Tensor,
    ids: Tensor,
    num_operations: int,
    magnitude: tuple[int, int],
    fill: Fill,
    seed: int,
    *where: int | str,
) -> Tensor:
    """Apply `num_operations` of the 16 operations to every image, each drawn with replacement.

    The magnitude is drawn once for an image. The batch is sorted by operation, so each operation
    runs once, on the images that drew it. Source: Cubuk et al., RandAugment, 2020; operations and
    ranges: `OPERATIONS`. Moved and turned pixels are the nearest ones, as in PIL; that is also
    about three times as fast as bilinear.

    Args:
        images: uint8 (B, 3, H, W), any device.
        ids: int64 (B,), on the images' device or the CPU.
        num_operations: how many, one after the other; 0 returns `images`.
        magnitude: lowest and highest, whole numbers in 0 to 10, every one equally likely.
        fill: grey level 0 to 255, or "edge".
        seed, where: the place.

    Returns:
        uint8 (B, 3, H, W) on the images' device.
    """
    if not num_operations or not len(images):
        return images
    low, high = magnitude
    drawn = uniform(seed, *where, "magnitude", ids, num=1)[:, 0]
    strength = (low + whole(drawn, high - low + 1)).float()
    for turn in range(num_operations):
        draws = uniform(seed, *where, "randaugment", turn, ids, num=4)
        chosen = whole(draws[:, 0], len(OPERATIONS))
        order = torch.argsort(chosen, stable=True)
        counts = torch.bincount(chosen, minlength=len(OPERATIONS)).tolist()
        levels, centres = (
            sent(value[order], images.device).split_with_sizes(counts)
            for value in (_levels(chosen, strength, draws[:, 1]), draws[:, 2:])
        )
        order = sent(order, images.device)
        groups = images.index_select(0, order).split_with_sizes(counts)
        done = [
            operation.apply(group, Draw(levels[number], centres[number], fill))
            for number, (operation, group) in enumerate(zip(OPERATIONS, groups, strict=True))
            if counts[number]
        ]
        images = torch.empty_like(images).index_copy_(0, order, torch.cat(done))
    return images


def _levels(chosen: Tensor, strength: Tensor, draw: Tensor) -> Tensor:
    """The level of every image's operation, with its sign: float32 (n,)."""
    low, high, is_signed = (
        torch.tensor([getattr(each, name) for each in OPERATIONS], device=chosen.device)[chosen]
        for name in ("low", "high", "is_signed")
    )
    # Weighted ends rather than low + share·range: the middle of 0.1 and 1.9 is then exactly 1.
    level = (low * (_STRONGEST - strength) + high * strength) / _STRONGEST
    return torch.where(is_signed & (draw < 0.5), -level, level)


def whole(draw: Tensor, count: int) -> Tensor:
    """Draws in [0, 1) as int64 in [0, count), every value equally likely.

    The clamp is needed: in float32 the largest draw times 9 rounds up to 9.
    """
    return (draw * count).long().clamp(max=count - 1)


def auto_contrast(images: Tensor) -> Tensor:
    """Stretch every channel of every image to 0…255; a channel of one value stays."""
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    extent = (high - low).float()
    # The half makes the float quotient's whole part that of the integers on every device.
    stretched = ((images - low).float() * 255 + 0.5) / extent.clamp(min=1)
    return stretched.to(torch.uint8) + low * (extent == 0)


def equalize(images: Tensor) -> Tensor:
    """Flatten the histogram of every channel, with the integer table that PIL computes."""
    num_images, num_channels, height, width = images.shape
    planes = images.reshape(num_images * num_channels, height * width).long()
    # Not `bincount`, which takes twice as long and waits for an accelerator.
    counts = torch.zeros(len(planes), 256, dtype=torch.int64, device=images.device)
    counts.scatter_add_(1, planes, torch.ones_like(planes))
    brightest = counts.gather(1, planes.amax(dim=1, keepdim=True))
    step = torch.div(height * width - brightest, 255, rounding_mode="floor")
    below = counts.cumsum(dim=1) - counts
    table = torch.div(below + step // 2, step.clamp(min=1), rounding_mode="floor").clamp(max=255)
    table = torch.where(step > 0, table, torch.arange(256, device=images.device))
    return table.gather(1, planes).to(torch.uint8).view_as(images)


def invert(images: Tensor) -> Tensor:
    """255 minus every value."""
    return 255 - images


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the highest `bits` bits (fractions dropped, at least 1, at most 8) of every value."""
    dropped = 8 - bits.int().clamp(1, 8)
    mask = 256 - torch.pow(2, dropped)
    return images & _wide(mask.to(torch.uint8))


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert the values at or above `threshold` (0 to 256)."""
    is_inverted = images.short() >= _wide(threshold.ceil().short())
    return images ^ (is_inverted.to(torch.uint8) * 255)  # v ^ 255 is 255 − v, and `where` is slow


def solarize_add(images: Tensor, amount: Tensor) -> Tensor:
    """Add `amount` (0 to 255, fractions dropped), clip, then invert the values from 128 on."""
    brighter = (images.short() + _wide(amount.short())).clamp(0, 255).to(torch.uint8)
    return torch.minimum(brighter, 255 - brighter)  # the inverted value is the smaller from 128 on


def color(images: Tensor, factor: Tensor) -> Tensor:
    """Blend from grey (factor 0) over the image (1) to a stronger colour."""
    return _blend(_luma(images), images, factor)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend from the image's mean grey (factor 0) over the image (1) to a stronger contrast."""
    luma = _luma(images)
    num_pixels = luma[0].numel()
    total = luma.sum(dim=(1, 2, 3), keepdim=True)
    mean = torch.div(2 * total + num_pixels, 2 * num_pixels, rounding_mode="floor")
    return _blend(mean, images, factor)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Blend from black (factor 0) over the image (1) to a brighter one."""
    return _blend(torch.zeros_like(images[:, :1, :1, :1]), images, factor)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Blend from a smoothed image (factor 0) over the image (1) to a sharper one.

    Smoothing is a 3×3 mean whose centre counts five times; the border pixels stay.
    """
    values = images.float()
    columns = values[..., :-2] + values[..., 1:-1] + values[..., 2:]
    box = columns[..., :-2, :] + columns[..., 1:-1, :] + columns[..., 2:, :]
    inner = box + 4 * values[..., 1:-1, 1:-1]
    smooth = values.clone()
    # A thirteenth rounded to the nearest; with 6.75 for 6.5 no sum lies on the edge between two.
    smooth[..., 1:-1, 1:-1] = ((inner + 6.75) / 13).floor()
    return _blend(smooth, images, factor)


def rotate(images: Tensor, degrees: Tensor, fill: Fill) -> Tensor:
    """Turn counter-clockwise about the centre, in steps of a quarter degree, nearest pixel."""
    y, x = _pixel_centres(images)
    middle_y, middle_x = images.shape[2] / 2, images.shape[3] / 2
    cosine, sine = (value[:, None, None] for value in cosine_sine(degrees))
    rows = sine * (x - middle_x) + cosine * (y - middle_y) + middle_y
    columns = cosine * (x - middle_x) - sine * (y - middle_y) + middle_x
    return nearest(images, rows.floor().long(), columns.floor().long(), fill)


def shear(images: Tensor, amount: Tensor, axis: int, fill: Fill) -> Tensor:
    """Move rows left (axis 1) or columns up (axis 0), `amount` for each pixel from the corner."""
    return _moved(images, amount[:, None, None] * _pixel_centres(images)[1 - axis], axis, fill)


def translate(images: Tensor, share: Tensor, axis: int, fill: Fill) -> Tensor:
    """Move up (axis 0) or left (axis 1) by `share` of the side, nearest pixel."""
    return _moved(images, (share * images.shape[2 + axis])[:, None, None], axis, fill)


def _moved(images: Tensor, distance: Tensor, axis: int, fill: Fill) -> Tensor:
    source = list(_pixel_centres(images))
    source[axis] = source[axis] + distance
    return nearest(images, source[0].floor().long(), source[1].floor().long(), fill)


def cutout(images: Tensor, share: Tensor, centre: Tensor, fill: Fill) -> Tensor:
    """Paint over a rectangle with sides of `share` of the image's, cut off at the border.

    Sides are rounded to whole pixels, at least one. `centre` is (n, 2) in [0, 1), row and column.
    Where `fill` is "edge" the hole is grey (128).
    """
    inside = []
    for axis, side in enumerate(images.shape[2:]):
        length = (share * side).round().long().clamp(min=1)
        first = whole(centre[:, axis], side) - length // 2
        from_first = torch.arange(side, device=images.device) - first[:, None]
        inside.append((from_first >= 0) & (from_first < length[:, None]))
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return images.masked_fill(hole, _GREY if fill == "edge" else fill)


def nearest(images: Tensor, rows: Tensor, columns: Tensor, fill: Fill) -> Tensor:
    """Look every output pixel up at a whole row and column of its image.

    Args:
        images: uint8 (n, C, H, W).
        rows, columns: int64 that broadcast to (n, H, W); outside the image `fill` comes in.
        fill: grey level 0 to 255, or "edge".

    Returns:
        uint8 (n, C, H, W).
    """
    num_images, num_channels, height, width = images.shape
    size = height * width
    flat = rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)
    flat = flat.expand(num_images, height, width).reshape(num_images, 1, size)
    picked = images.flatten(2).gather(2, flat.expand(num_images, num_channels, size))
    picked = picked.view_as(images)
    if fill == "edge":
        return picked
    is_outside = (rows < 0) | (rows >= height) | (columns < 0) | (columns >= width)
    return picked.masked_fill_(is_outside.unsqueeze(1), fill)


def cosine_sine(degrees: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of float32 angles within ±180°, rounded to a quarter degree.

    Read from a table: a vectorised cosine may differ in its last bit with the place in the batch
    and with the device, and a pixel on the edge between two others would then differ too.
    """
    angles = torch.deg2rad(torch.arange(721, dtype=torch.float64) / 4)
    table = sent(torch.stack((angles.cos(), angles.sin())).float(), degrees.device)
    entry = (degrees.abs() * 4).round().long()
    return table[0][entry], table[1][entry] * degrees.sign()


def _pixel_centres(images: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (1, H, 1) and columns (1, 1, W) of the pixels' centres, from 0.5 on."""
    height, width = images.shape[2:]
    y = torch.arange(height, device=images.device) + 0.5
    x = torch.arange(width, device=images.device) + 0.5
    return y[None, :, None], x[None, None, :]


def _wide(value: Tensor) -> Tensor:
    """(n,) as (n, 1, 1, 1)."""
    return value[:, None, None, None]


def _luma(images: Tensor) -> Tensor:
    """ITU-R 601 grey, int32 (n, 1, H, W), rounded as PIL rounds it."""
    red, green, blue = images.int().unsqueeze(2).unbind(1)
    return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16


def _blend(base: Tensor, images: Tensor, factor: Tensor) -> Tensor:
    """`base` + factor · (image − base), clipped and cut to whole levels as PIL does."""
    start = base.float()
    blended = start + _wide(factor) * (images.float() - start)
    return blended.clamp(0, 255).to(torch.uint8)


OPERATIONS: tuple[Operation, ...] = (
    Operation("AutoContrast", 0, 1, False, lambda images, d: auto_contrast(images)),
    Operation("Equalize", 0, 1, False, lambda images, d: equalize(images)),
    Operation("Invert", 0, 1, False, lambda images, d: invert(images)),
    Operation("Rotate", 0, 30, True, lambda images, d: rotate(images, d.level, d.fill)),
    Operation("Posterize", 0, 4, False, lambda images, d: posterize(images, d.level)),
    Operation("Solarize", 0, 256, False, lambda images, d: solarize(images, d.level)),
    Operation("SolarizeAdd", 0, 110, False, lambda images, d: solarize_add(images, d.level)),
    Operation("Color", 0.1, 1.9, False, lambda images, d: color(images, d.level)),
    Operation("Contrast", 0.1, 1.9, False, lambda images, d: contrast(images, d.level)),
    Operation("Brightness", 0.1, 1.9, False, lambda images, d: brightness(images, d.level)),
    Operation("Sharpness", 0.1, 1.9, False, lambda images, d: sharpness(images, d.level)),
    Operation("ShearX", 0, 0.3, True, lambda images, d: shear(images, d.level, 1, d.fill)),
    Operation("ShearY", 0, 0.3, True, lambda images, d: shear(images, d.level, 0, d.fill)),
    Operation("Cutout", 0, 0.5, False, lambda images, d: cutout(images, d.level, d.centre, d.fill)),
    Operation("TranslateX", 0, 0.45, True, lambda images, d: translate(images, d.level, 1, d.fill)),
    Operation("TranslateY", 0, 0.45, True, lambda images, d: translate(images, d.level, 0, d.fill)),
)
"""The 16 operations with their levels at magnitudes 0 and 10, linear between.

The ranges are those of the PIL port that the authors draw from (bits kept, threshold, grey levels,
blend factor, slope, degrees), with its habits: more bits and a higher threshold are *milder*, so
Posterize and Solarize weaken as the magnitude grows, and a blend factor of 1 (magnitude 5) changes
nothing. Departures from it: the port moves by up to 100 pixels and cuts holes of up to 40 pixels
whatever the size of the image, which at 32 pixels leaves nothing to classify for most magnitudes;
here both are shares of the side (0.45 and 0.5 at most), which also serve 8 × 8 and 500 × 300. Its
hole is a fixed brownish grey and what comes in from outside is black; here both are `fill`.
Posterize keeps at least one bit, where keeping none would leave a black image.
"""
