"""Training views of scenes: where a crop lies, cutting it out of images and planes, their colours.

Which images a step takes is the task's business.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dmt.core.random import uniform, uniform_float
from dmt.core.sending import sent
from dmt.data.randaugment import brightness, color, contrast
from dmt.errors import SettingError

PADDING = (124, 116, 104)
"""RGB beside an image smaller than the crop: ImageNet's mean, near 0 once a network normalises."""

_Value = TypeVar("_Value", bound=np.generic)


@dataclass(frozen=True)
class SceneAugmentation:
    """What a training view of a scene may change; the defaults are the paper's.

    Raises:
        SettingError: a value outside the range its field states.
    """

    crop: tuple[int, int]
    """Height and width of a view in pixels, at least 1."""
    scale: tuple[float, float] = (0.5, 1.5)
    """Smallest and largest zoom (above 0), uniform between; above 1 magnifies."""
    flip: bool = True
    """Mirror left and right for half of the views."""
    photometric: float = 0.0
    """Brightness, contrast and saturation are each multiplied by a factor uniform in 1 ± this
    (0 to 1); 0 leaves the colours alone."""

    def __post_init__(self) -> None:
        is_crop = len(self.crop) == 2 and all(isinstance(side, int) for side in self.crop)
        if not (is_crop and min(self.crop) >= 1):
            raise SettingError(f"crop is {self.crop!r}; give a height and a width of at least 1")
        if not (len(self.scale) == 2 and 0 < self.scale[0] <= self.scale[1] < math.inf):
            raise SettingError(f"scale is {self.scale!r}; give two zooms above 0, sorted")
        if not 0 <= self.photometric <= 1:
            raise SettingError(f"photometric is {self.photometric!r}; give a strength from 0 to 1")


class Placement(NamedTuple):
    """Where a crop lies in its image after zooming; it is mirrored once it is cut."""

    scaled: tuple[int, int]  # height and width of the whole image, zoomed
    top: int  # of the crop in the zoomed image; negative where there is padding above
    left: int
    is_flipped: bool


def place(
    size: tuple[int, int], augmentation: SceneAugmentation, seed: int, *where: int | str, slot: int
) -> Placement:
    """Draw zoom, crop and mirroring of one view.

    Every offset at which the crop lies inside the zoomed image is equally likely. Where the
    zoomed image is the smaller one, every offset at which it lies inside the crop is.

    Args:
        size: height and width of the image.
        augmentation: what may change.
        seed, where: the place, for example the stage and the step.
        slot: the view's number in the step's whole batch.
    """
    zoom, down, right, mirror = (
        uniform_float(seed, *where, "scene", slot, number) for number in range(4)
    )
    low, high = augmentation.scale
    height, width = (max(1, round(side * (low + zoom * (high - low)))) for side in size)
    return Placement(
        (height, width),
        _offset(down, height - augmentation.crop[0]),
        _offset(right, width - augmentation.crop[1]),
        augmentation.flip and mirror < 0.5,
    )


def _offset(draw: float, spare: int) -> int:
    """A draw in [0, 1) as one of the whole numbers between 0 and `spare`, which may be negative."""
    return int(draw * (abs(spare) + 1)) + min(spare, 0)


def cut_image(
    image: NDArray[np.uint8], placement: Placement, crop: tuple[int, int]
) -> NDArray[np.uint8]:
    """A view's pixels: zoomed bilinearly (antialiased where that shrinks), cropped, mirrored.

    Only the part that is seen is resampled.

    Args:
        image: uint8 (H, W, 3).
        placement: from `place` for an image of this size.
        crop: height and width of the view.

    Returns:
        uint8 (3, h, w), C-contiguous; `PADDING` where the image does not reach.
    """
    rows, seen_rows = _seen(placement.top, placement.scaled[0], crop[0])
    columns, seen_columns = _seen(placement.left, placement.scaled[1], crop[1])
    view = np.empty((3, *crop), dtype=np.uint8)
    if len(seen_rows) < crop[0] or len(seen_columns) < crop[1]:
        view[...] = np.array(PADDING, dtype=np.uint8)[:, None, None]
    target = view[:, :, ::-1] if placement.is_flipped else view
    piece = _zoomed(image, placement.scaled, seen_rows, seen_columns)
    target[:, rows, columns] = piece.transpose(2, 0, 1)
    return view


def cut_plane(
    plane: NDArray[_Value], placement: Placement, crop: tuple[int, int], fill: int | float
) -> NDArray[_Value]:
    """What belongs to a view's pixels, from the nearest pixel: lies on `cut_image` of the same.

    Args:
        plane: (H, W) of any type; a mapped file is read only where it is seen.
        placement: from `place` for an image of this size.
        crop: height and width of the view.
        fill: value where the image does not reach.

    Returns:
        (h, w) of the plane's type, C-contiguous.
    """
    rows, seen_rows = _seen(placement.top, placement.scaled[0], crop[0])
    columns, seen_columns = _seen(placement.left, placement.scaled[1], crop[1])
    view = np.full(crop, fill, dtype=plane.dtype)
    target = view[:, ::-1] if placement.is_flipped else view
    down = _nearest(seen_rows, placement.scaled[0], plane.shape[0])
    right = _nearest(seen_columns, placement.scaled[1], plane.shape[1])
    # Rows first: whole lines are copied fast, and at two index arrays at once numpy is slow.
    target[rows, columns] = plane[down].take(right, axis=1)
    return view


def photometric(
    images: Tensor,
    slots: Tensor,
    augmentation: SceneAugmentation,
    seed: int,
    stage: str,
    step: int,
) -> Tensor:
    """Change brightness, then contrast, then saturation of every view by what its slot draws.

    A view's result depends on its slot, never on its neighbours in the batch.

    Args:
        images: uint8 (N, 3, h, w), any device.
        slots: int64 (N,), on the images' device or the CPU.
        augmentation: `photometric` is the strength.
        seed, stage, step: the place.

    Returns:
        uint8 (N, 3, h, w) on the images' device.
    """
    if not augmentation.photometric:
        return images
    draws = sent(uniform(seed, stage, step, "photometric", slots, num=3), images.device)
    factors = 1 + (draws * 2 - 1) * augmentation.photometric
    for number, change in enumerate((brightness, contrast, color)):
        images = change(images, factors[:, number])
    return images


def _seen(first: int, scaled: int, crop: int) -> tuple[slice, range]:
    """Along one side: where in the crop the image lies, and which of its zoomed pixels are seen."""
    low, high = max(first, 0), min(first + crop, scaled)
    return slice(low - first, high - first), range(low, high)


def _nearest(seen: range, scaled: int, side: int) -> NDArray[np.int64]:
    """The pixels under the centres of zoomed ones, ⌊(x + ½) · side / scaled⌋, in whole numbers."""
    return (2 * np.arange(seen.start, seen.stop, dtype=np.int64) + 1) * side // (2 * scaled)


def _zoomed(
    image: NDArray[np.uint8], scaled: tuple[int, int], rows: range, columns: range
) -> NDArray[np.uint8]:
    """The pixels `rows` × `columns` of the image zoomed to `scaled`: uint8 (rows, columns, 3)."""
    height, width = image.shape[:2]
    if scaled == (height, width):
        return image[rows.start : rows.stop, columns.start : columns.stop]
    down, top, bottom = _source(rows, scaled[0], height)
    right, left, end = _source(columns, scaled[1], width)
    piece = Image.fromarray(np.ascontiguousarray(image[down, right]))
    return np.asarray(
        piece.resize(
            (len(columns), len(rows)), Image.Resampling.BILINEAR, box=(left, top, end, bottom)
        )
    )


def _source(seen: range, scaled: int, side: int) -> tuple[slice, float, float]:
    """Along one side: the pixels that enter, and where in them the part that is seen lies.

    A filter as wide as the shrinking looks beyond that part; cut off there, its pixels would
    differ from those of the whole image zoomed.
    """
    start, stop = seen.start * side / scaled, seen.stop * side / scaled
    reach = max(1.0, side / scaled) + 1
    first, last = max(0, int(start - reach)), min(side, math.ceil(stop + reach))
    return slice(first, last), start - first, stop - first
