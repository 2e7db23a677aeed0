"""Views of scenes: image and planes stay on each other, every placement is possible, colours."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from dmt.data.scene_views import (
    PADDING,
    Placement,
    SceneAugmentation,
    cut_image,
    cut_plane,
    photometric,
    place,
)
from dmt.errors import SettingError

VOID = 255


def blobs(height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An image whose three channels are its own mask times 60, and that mask, of classes 0…4."""
    coarse = np.random.default_rng(height * 1000 + width).integers(0, 5, (6, 7), dtype=np.uint8)
    rows, columns = np.arange(height) * 6 // height, np.arange(width) * 7 // width
    mask = coarse[rows][:, columns]
    return np.repeat((mask * 60)[:, :, None], 3, axis=2), mask


def whole_zoomed(image: NDArray[np.uint8], scaled: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image).resize(scaled[::-1], Image.Resampling.BILINEAR))


def reference(
    zoomed: NDArray[np.generic], placement: Placement, crop: tuple[int, int], fill: object
) -> NDArray[np.generic]:
    """The view of a plane that is zoomed already, one pixel after the other."""
    view = np.full(crop, fill, dtype=zoomed.dtype)
    for row, column in product(range(crop[0]), range(crop[1])):
        y, x = placement.top + row, placement.left + column
        if 0 <= y < zoomed.shape[0] and 0 <= x < zoomed.shape[1]:
            view[row, column] = zoomed[y, x]
    return view[:, ::-1] if placement.is_flipped else view


PLACEMENTS = [
    (size, crop, slot)
    for size, crop in [((60, 80), (33, 41)), ((61, 37), (48, 48)), ((20, 90), (64, 32))]
    for slot in range(12)
]


@pytest.mark.parametrize(("size", "crop", "slot"), PLACEMENTS)
def test_pixels_and_classes_lie_on_each_other(size, crop, slot) -> None:
    image, mask = blobs(*size)
    placement = place(size, SceneAugmentation(crop=crop), 1, "a", slot=slot)
    view, label = cut_image(image, placement, crop), cut_plane(mask, placement, crop, VOID)
    assert (view.shape, view.dtype) == ((3, *crop), np.uint8)
    assert (label.shape, label.dtype) == (crop, np.uint8)
    is_padding = label == VOID
    assert (view[:, is_padding] == np.array(PADDING)[:, None]).all()
    # Away from edges between classes both say the same; an edge is 2 pixels wide at zoom 1.5, and
    # may lie just outside the view.
    around = placement._replace(top=placement.top - 2, left=placement.left - 2)
    wide = cut_plane(mask, around, (crop[0] + 4, crop[1] + 4), VOID)
    near = np.stack([wide[y : y + crop[0], x : x + crop[1]] for y in range(5) for x in range(5)])
    is_inner = ((near == label) | (near == VOID)).all(axis=0) & ~is_padding
    assert is_inner.sum() > 20
    assert (view[:, is_inner] == label[is_inner] * 60).all()


@pytest.mark.parametrize(("size", "crop", "slot"), PLACEMENTS[::2])
def test_a_view_is_the_whole_image_zoomed_and_cut(size, crop, slot) -> None:
    rng = np.random.default_rng(slot)
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    plane = rng.normal(size=size).astype(np.float32)
    placement = place(size, SceneAugmentation(crop=crop), 2, "a", slot=slot)
    height, width = placement.scaled
    zoomed = whole_zoomed(image, placement.scaled)
    view = cut_image(image, placement, crop)
    # Pillow rounds after each of its two passes, whose order it chooses by the box: two levels of
    # 255 may lie between, while a twentieth of a pixel beside the place is more in noise.
    for channel, fill in enumerate(PADDING):
        expected = reference(zoomed[:, :, channel], placement, crop, fill).astype(int)
        assert np.abs(view[channel] - expected).max() <= 2
    rows = np.floor((np.arange(height) + 0.5) * size[0] / height).astype(int)
    columns = np.floor((np.arange(width) + 0.5) * size[1] / width).astype(int)
    expected = reference(plane[rows][:, columns], placement, crop, -1)
    assert (cut_plane(plane, placement, crop, -1) == expected).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, np.float32, bool])
def test_planes_keep_their_type_and_are_contiguous(dtype) -> None:
    plane = np.arange(12).reshape(3, 4).astype(dtype)
    view = cut_plane(plane, Placement((3, 4), 0, 0, True), (3, 4), 0)
    assert view.dtype == dtype
    assert view.flags.c_contiguous
    assert (view == plane[:, ::-1]).all()


def test_without_zoom_no_pixel_changes() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    image.flags.writeable = False
    for is_flipped in (False, True):
        view = cut_image(image, Placement((9, 11), 2, 3, is_flipped), (5, 6))
        expected = image[2:7, 3:9].transpose(2, 0, 1)
        assert (view == (expected[:, :, ::-1] if is_flipped else expected)).all()
        assert view.flags.c_contiguous


def test_one_pixel_zoomed_fills_its_place() -> None:
    image = np.full((1, 1, 3), 9, dtype=np.uint8)
    view = cut_image(image, Placement((2, 2), -1, 0, False), (3, 3))
    assert (view[:, 1:, :2] == 9).all()
    assert (view[:, 0] == np.array(PADDING)[:, None]).all()
    label = cut_plane(image[:, :, 0], Placement((2, 2), -1, 0, False), (3, 3), VOID)
    assert (label == VOID).sum() == 5


def test_padding_counts() -> None:
    image, mask = blobs(10, 20)
    placement = Placement((10, 20), -3, 4, False)
    label = cut_plane(mask, placement, (16, 12), VOID)
    assert (label == VOID).sum() == 6 * 12
    view = cut_image(image, placement, (16, 12))
    assert (view == np.array(PADDING, dtype=np.uint8)[:, None, None]).all(axis=0).sum() == 6 * 12


@pytest.mark.parametrize(("size", "lowest", "num"), [((13, 20), 0, 6), ((5, 20), -3, 4)])
def test_every_offset_is_equally_likely(size, lowest: int, num: int) -> None:
    augmentation = SceneAugmentation(crop=(8, 16), scale=(1.0, 1.0))
    placements = [place(size, augmentation, 0, "a", 7, slot=slot) for slot in range(6000)]
    for counts, low, possible in (
        (Counter(p.top for p in placements), lowest, num),
        (Counter(p.left for p in placements), 0, 5),
    ):
        assert set(counts) == set(range(low, low + possible))
        expected = 6000 / possible
        chi2 = sum((count - expected) ** 2 / expected for count in counts.values())
        assert chi2 < 25
    assert {p.scaled for p in placements} == {size}
    assert 0.46 < sum(p.is_flipped for p in placements) / 6000 < 0.54
    together = Counter((p.top, p.left, p.is_flipped) for p in placements)
    assert len(together) == num * 5 * 2


def test_both_ends_of_the_zoom_are_reached_evenly() -> None:
    augmentation = SceneAugmentation(crop=(32, 32))
    scaled = [place((100, 200), augmentation, 0, "a", slot=slot).scaled for slot in range(4000)]
    heights, widths = zip(*scaled, strict=True)
    assert (min(heights), max(heights)) == (50, 150)
    assert (min(widths), max(widths)) == (100, 300)
    assert max(abs(2 * height - width) for height, width in scaled) <= 1
    quarters = Counter(min(3, (height - 50) // 25) for height in heights)
    assert all(900 < quarters[quarter] < 1100 for quarter in range(4))


def test_a_placement_is_a_function_of_its_place() -> None:
    augmentation = SceneAugmentation(crop=(32, 32))
    here = [place((90, 70), augmentation, 1, "a", 5, slot=slot) for slot in range(50)]
    again = [place((90, 70), augmentation, 1, "a", 5, slot=slot) for slot in reversed(range(50))]
    assert here == again[::-1]
    for other in ((2, "a", 5), (1, "b", 5), (1, "a", 6)):
        there = [place((90, 70), augmentation, *other, slot=slot) for slot in range(50)]
        assert sum(a == b for a, b in zip(here, there, strict=True)) < 3
    still = SceneAugmentation(crop=(32, 32), flip=False)
    assert not any(place((90, 70), still, 1, "a", 5, slot=slot).is_flipped for slot in range(50))
    assert place((90, 70), still, 1, "a", 5, slot=3)[:3] == here[3][:3]


def noise(num: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (num, 3, 20, 24), dtype=torch.uint8, generator=generator)


def test_colours_change_by_slot_and_not_by_neighbours() -> None:
    images, slots = noise(9), torch.arange(9) + 4
    augmentation = SceneAugmentation(crop=(20, 24), photometric=0.5)
    before = images.clone()
    together = photometric(images, slots, augmentation, 1, "a", 3)
    assert torch.equal(images, before)
    assert (together.shape, together.dtype) == (images.shape, torch.uint8)
    assert (together != images).flatten(1).any(1).all()
    for rows in (slice(0, 1), slice(3, 8)):
        part = photometric(images[rows], slots[rows], augmentation, 1, "a", 3)
        assert torch.equal(part, together[rows])
    for other in ((2, "a", 3), (1, "b", 3), (1, "a", 4)):
        assert not torch.equal(photometric(images, slots, augmentation, *other), together)


def test_brightness_stays_within_its_strength() -> None:
    grey = torch.full((500, 3, 4, 4), 100, dtype=torch.uint8)
    augmentation = SceneAugmentation(crop=(4, 4), photometric=0.2)
    values = photometric(grey, torch.arange(500), augmentation, 0, "a", 0)[:, 0, 0, 0]
    assert 79 <= values.min() <= 82  # one level is cut off by the blend
    assert 118 <= values.max() <= 120


def test_colours_stay_where_nothing_is_asked() -> None:
    images = noise(3)
    view = photometric(images, torch.arange(3), SceneAugmentation(crop=(20, 24)), 0, "a", 0)
    assert torch.equal(view, images)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("crop", (0, 5)),
        ("crop", (5,)),
        ("crop", (5.5, 4)),
        ("scale", (0.0, 1.0)),
        ("scale", (1.5, 0.5)),
        ("scale", (1.0, float("inf"))),
        ("scale", (float("nan"), 1.0)),
        ("photometric", -0.1),
        ("photometric", 1.5),
    ],
)
def test_settings_out_of_range_are_refused_by_name(name: str, value: object) -> None:
    settings = {"crop": (8, 8), name: value}
    with pytest.raises(SettingError, match=f"^{name} is "):
        SceneAugmentation(**settings)
