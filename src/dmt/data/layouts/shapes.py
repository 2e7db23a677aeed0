"""The built-in `shapes`: drawn scenes with a class for every pixel, the same ones on every machine.

Nothing is read from disk. All arithmetic is elementwise on integers and IEEE doubles (sums,
products, quotients; no sine, no root, no matrix product), so every bit is the same everywhere.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from dmt.core.random import bits, uniform
from dmt.data.catalog import Catalog, MaskFiles, Part
from dmt.data.masks import Coding
from dmt.errors import DataError

_NUM_TRAIN = 600
_NUM_TEST = 150
_SEED = 0x736861706573  # "shapes"; a constant, so that every run has the same scenes
_CLASSES = ("background", "disc", "square", "triangle", "ring", "cross")
_DISC, _SQUARE, _TRIANGLE, _RING, _CROSS = range(1, 6)
# A class leans to a colour, as things in the world do; a fifth of them has any colour at all.
_TYPICAL = {
    _DISC: (205, 70, 60),
    _SQUARE: (60, 175, 80),
    _TRIANGLE: (65, 85, 215),
    _RING: (215, 195, 60),
    _CROSS: (200, 70, 200),
}
_VOID = 255
_CROSSES = 0.32  # in a square scene, on average
_DEFAULT_SIDE = 64
_SMALLEST, _LARGEST = 32, 1024

Floats = NDArray[np.float64]


class _Draws(NamedTuple):
    """Numbers in [0, 1) from which a scene is made, by what they decide."""

    ground: Floats  # (3, 3)
    cells: Floats  # (1,)
    lattice: Floats  # (11, 11), of which a corner is used
    bands: Floats  # (3, 8)
    counts: Floats  # (2,)
    things: Floats  # (most things in a scene, 7)
    paints: Floats  # (most things in a scene, 9)
    camera: Floats  # (2,)


class _Thing(NamedTuple):
    """One object: its class and where it lies, lengths in pixels."""

    label: int
    y: float
    x: float
    radius: float
    squeeze: float  # of its second axis, up to 1
    cos: float
    sin: float


def read_shapes(name: str) -> Catalog | None:
    """The drawn data set called `name`, if it is one: `shapes`, `shapes:96` or `shapes:96x128`.

    600 images to train on and 150 of the test part, all with masks. Discs, squares, triangles and
    rings, in part hidden by each other, and in some images a small cross: 0.5 % of all pixels.
    Colours hint at the class; only the outline tells it. One pixel between two objects that touch
    is void. Time and memory grow with the number of pixels.

    Args:
        name: `shapes` is 64×64; one number is both sides, two are height x width.

    Returns:
        A catalog with images uint8 (750, H, W, 3) and masks uint8 (750, H, W), or None for
        another name.

    Raises:
        DataError: the size is no size, or a side is not among 32 … 1024.
    """
    kind, colon, size = name.partition(":")
    if kind != "shapes":
        return None
    height, width = _sides(name, size) if colon else (_DEFAULT_SIDE, _DEFAULT_SIDE)
    num = _NUM_TRAIN + _NUM_TEST
    images = np.empty((num, height, width, 3), dtype=np.uint8)
    masks = np.empty((num, height, width), dtype=np.uint8)
    draws = _draws(num, height, width)
    for index in range(num):
        drawn = _Draws(*(table[index] for table in draws))
        images[index], masks[index] = _scene(drawn, index, height, width)
    parts = np.full(num, Part.TRAIN, dtype=np.uint8)
    parts[_NUM_TRAIN:] = Part.TEST
    paths = tuple(f"shapes/{index:04d}" for index in range(num))
    coding = Coding(len(_CLASSES))
    return Catalog(
        name=name,
        layout="shapes",
        root=None,
        classes=_CLASSES,
        paths=paths,
        labels=np.zeros(num, dtype=np.int64),
        parts=parts,
        images=images,
        problems=(),
        masks=MaskFiles(tuple(f"{path}.mask" for path in paths), coding, masks),
    )


def _sides(name: str, size: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,4})(?:x([0-9]{1,4}))?", size)
    sides = [int(side) for side in found.groups(default=found[1])] if found else [0]
    if not all(_SMALLEST <= side <= _LARGEST for side in sides):
        raise DataError(
            f"{name} names no size: write shapes, shapes:96 or shapes:96x128 (height x width), "
            f"each side from {_SMALLEST} to {_LARGEST}"
        )
    return sides[0], sides[1]


def _draws(num: int, height: int, width: int) -> _Draws:
    """What is drawn for `num` scenes, each table with a leading axis of scenes."""
    most = int(6 * _area(height, width)) + int(_area(height, width) * _CROSSES + 1)

    def table(name: str, *shape: int) -> Floats:
        size = int(np.prod(shape))
        numbers = uniform(_SEED, name, torch.arange(num), num=size).double().numpy()
        return np.asarray(numbers).reshape(num, *shape)

    return _Draws(
        ground=table("ground", 3, 3),
        cells=table("cells", 1),
        lattice=table("lattice", 11, 11),
        bands=table("bands", 3, 8),
        counts=table("counts", 2),
        things=table("things", most, 7),
        paints=table("paints", most, 9),
        camera=table("camera", 2),
    )


def _area(height: int, width: int) -> float:
    """Of the scene in squares on its shorter side: a long one is to be as crowded as a square."""
    return max(height, width) / min(height, width)


def _scene(
    drawn: _Draws, index: int, height: int, width: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Image (H, W, 3) and mask (H, W) number `index`, both uint8."""
    image, ground = _background(drawn, height, width)
    things = _things(drawn, height, width)
    owner = np.zeros((height, width), dtype=np.int64)  # 0 the ground, n the n-th thing
    for number, (thing, values) in enumerate(zip(things, drawn.paints.tolist(), strict=False)):
        _draw(image, owner, thing, number + 1, _paint(thing.label, ground, values))
    labels = np.array([0, *(thing.label for thing in things)], dtype=np.uint8)
    mask = labels[owner]
    mask[_meetings(owner)] = _VOID
    return _photograph(image, drawn.camera.tolist(), index), mask


def _background(drawn: _Draws, height: int, width: int) -> tuple[Floats, list[float]]:
    """A slope between two colours, soft patches and a few bands; and its colour on average."""
    first, second, slope = drawn.ground.tolist()
    y = (np.arange(height) / height)[:, None]
    x = (np.arange(width) / width)[None, :]
    share = slope[0] * y + (1 - slope[0]) * x
    start = np.array([85 + 80 * value for value in first])
    end = np.array([85 + 80 * value for value in second])
    image = start + share[..., None] * (end - start)
    image += (60 * slope[1] * (_patches(drawn, height, width) - 0.5))[..., None]
    for row, column, breadth, within, quarter, *rgb in drawn.bands[: int(4 * slope[2])].tolist():
        cos, sin = _direction(within, quarter)
        is_band = np.abs(cos * (y - row) + sin * (x - column)) < 0.012 + 0.03 * breadth
        colour = np.array([255 * value for value in rgb])
        image[is_band] += 0.35 * (colour - image[is_band])
    return image, ((start + end) / 2).tolist()


def _patches(drawn: _Draws, height: int, width: int) -> Floats:
    """Soft noise in [0, 1): random values on a lattice, 5 to 10 cells a side, linear in between."""
    cells = 5 + int(6 * drawn.cells[0])
    lattice = drawn.lattice
    y, x = (np.arange(side) * cells / side for side in (height, width))
    row, column = y.astype(np.int64), x.astype(np.int64)
    down, right = (y - row)[:, None], (x - column)[None, :]
    rows = lattice[row] + down * (lattice[row + 1] - lattice[row])
    left, following = rows[:, column], rows[:, column + 1]
    return np.asarray(left + right * (following - left))


def _things(drawn: _Draws, height: int, width: int) -> list[_Thing]:
    """What lies in the scene, the lowest first; crosses, which are rare and small, on top."""
    area = _area(height, width)
    how_many, has_cross = drawn.counts.tolist()
    num_large = int(area * (3 + 3 * how_many))
    num_crosses = int(area * _CROSSES + has_cross)
    things = []
    for number, values in enumerate(drawn.things[: num_large + num_crosses].tolist()):
        kind, y, x, size, squeeze, *turn = values
        label = _DISC + int(4 * kind) if number < num_large else _CROSS
        low, high = (0.09, 0.115) if label == _CROSS else (0.15, 0.28)
        radius = min(height, width) * (low + (high - low) * size)
        things.append(
            _Thing(label, y * height, x * width, radius, 0.7 + 0.3 * squeeze, *_direction(*turn))
        )
    return things


def _direction(within: float, quarter: float) -> tuple[float, float]:
    """Cosine and sine of a turn, from two numbers in [0, 1): rational, so exact everywhere."""
    half = within * 0.41421356237309503  # tangent of a sixteenth of a turn
    below = 1 + half * half
    cos, sin = (1 - half * half) / below, 2 * half / below
    if quarter * 8 % 2 >= 1:
        cos, sin = sin, cos
    return [(cos, sin), (-sin, cos), (-cos, -sin), (sin, -cos)][int(quarter * 4)]


class _Paint(NamedTuple):
    """The two colours of an object (RGB, 0 … 255) and the stripes across it; 0 is a slope."""

    first: Floats
    second: Floats
    stripes: float


def _paint(label: int, ground: list[float], values: list[float]) -> _Paint:
    """Colours that hint at the class, but not those of the ground: what nobody can see is no task.

    Args:
        label: of the object.
        ground: the background's colour on average, 0 … 255.
        values: 9 numbers in [0, 1).
    """
    first = [255 * value for value in values[:3]]
    # A cross has few pixels to be known by, so its colour is as good as its shape.
    spread = 60 if label == _CROSS else 130
    if values[8] < 0.8 or label == _CROSS:
        first = [a + spread * (b - 0.5) for a, b in zip(_TYPICAL[label], values[:3], strict=True)]
    if sum(abs(a - b) for a, b in zip(first, ground, strict=True)) < 90:
        first = [(value + 128) % 256 for value in first]
    second = [a + 80 * (value - 0.5) for a, value in zip(first, values[3:6], strict=True)]
    stripes = 2 + 4 * values[7] if values[6] < 0.3 else 0.0
    return _Paint(np.array(first), np.array(second), stripes)


def _draw(
    image: Floats, owner: NDArray[np.int64], thing: _Thing, number: int, paint: _Paint
) -> None:
    """Put a thing on top of what is there; only the box around it is looked at."""
    reach = 1.3 * thing.radius
    top, left = max(0, int(thing.y - reach)), max(0, int(thing.x - reach))
    box = (slice(top, int(thing.y + reach) + 2), slice(left, int(thing.x + reach) + 2))
    rows, columns = owner[box].shape
    y = ((np.arange(top, top + rows) + 0.5 - thing.y) / thing.radius)[:, None]
    x = ((np.arange(left, left + columns) + 0.5 - thing.x) / thing.radius)[None, :]
    across = thing.cos * x + thing.sin * y
    along = (thing.cos * y - thing.sin * x) / thing.squeeze
    inside = _is_inside(thing.label, across, along)
    across = across[inside]
    share = (across * paint.stripes) % 1.0 >= 0.5 if paint.stripes else (across + 1) / 2
    image[box][inside] = paint.first + share[:, None] * (paint.second - paint.first)
    owner[box][inside] = number


def _is_inside(label: int, across: Floats, along: Floats) -> NDArray[np.bool_]:
    """Which points belong to the outline; in units of its radius."""
    a, b = np.abs(across), np.abs(along)
    if label == _SQUARE:
        return np.maximum(a, b) <= 0.85
    if label == _TRIANGLE:
        return (along >= -0.6) & (1.7320508 * a + along <= 1.2)
    if label == _CROSS:
        return (np.minimum(a, b) <= 0.3) & (np.maximum(a, b) <= 1)
    distance = across * across + along * along
    return (distance <= 1) & (distance >= (0.3 if label == _RING else 0))


def _meetings(owner: NDArray[np.int64]) -> NDArray[np.bool_]:
    """One pixel's width wherever two things touch (not a thing and the ground)."""
    meets = np.zeros(owner.shape, dtype=np.bool_)
    for here, there in (
        (np.s_[:-1, :], np.s_[1:, :]),
        (np.s_[:, :-1], np.s_[:, 1:]),
    ):
        a, b = owner[here], owner[there]
        meets[here] |= (a != b) & (a > 0) & (b > 0)
    return meets


def _photograph(image: Floats, camera: list[float], index: int) -> NDArray[np.uint8]:
    """Blur every other picture, add grain, and bring it to bytes."""
    blur, grain = camera
    pixels = np.rint(image).astype(np.int32)
    if blur >= 0.5:
        padded = np.pad(pixels, ((1, 1), (0, 0), (0, 0)), mode="edge")
        pixels = (padded[:-2] + 2 * pixels + padded[2:] + 2) >> 2
        padded = np.pad(pixels, ((0, 0), (1, 1), (0, 0)), mode="edge")
        pixels = (padded[:, :-2] + 2 * pixels + padded[:, 2:] + 2) >> 2
    places = torch.arange(pixels.shape[0] * pixels.shape[1])
    words = bits(_SEED, "grain", index, places).numpy().reshape(pixels.shape[:2])
    level = 3 + int(11 * grain)
    for channel in range(3):
        # Three times seven bits add up to nearly a bell: mean 190.5, deviation 64.
        sevens = [(words >> 7 * (3 * channel + turn)) & 127 for turn in range(3)]
        pixels[..., channel] += ((sevens[0] + sevens[1] + sevens[2] - 190) * level) >> 6
    return np.clip(pixels, 0, 255).astype(np.uint8)
