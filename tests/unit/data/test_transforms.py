"""Weak and strong views: placement, independence, ranges; RandAugment's own tests are elsewhere."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dmt.data.transforms import Augmentation, _bilinear, strong, weak
from dmt.errors import SettingError

STILL = Augmentation(flip=False, shift=0.0, randaugment=0)
EVERYTHING = Augmentation(scale=(0.8, 1.3), rotate=20.0, randaugment=2, cutout=0.3)
SIZES = [(32, 32), (24, 40), (8, 8), (7, 3)]


def noise(num: int, height: int = 32, width: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(num)
    return torch.randint(0, 256, (num, 3, height, width), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("view", [weak, strong])
@pytest.mark.parametrize("augmentation", [Augmentation(), EVERYTHING, Augmentation(fill="edge")])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_an_image_does_not_depend_on_its_batch(view, augmentation, height, width) -> None:
    images, ids = noise(67, height, width), torch.arange(67) * 1009 + 3
    together = view(images, ids, augmentation, 5, "student", 2, 17)
    assert (together.shape, together.dtype) == (images.shape, torch.uint8)
    order = torch.randperm(67, generator=torch.Generator().manual_seed(0))
    assert torch.equal(
        view(images[order], ids[order], augmentation, 5, "student", 2, 17), together[order]
    )
    for rows in (slice(0, 1), slice(5, 18), slice(66, 67)):
        part = view(images[rows], ids[rows], augmentation, 5, "student", 2, 17)
        assert torch.equal(part, together[rows])


@pytest.mark.parametrize("view", [weak, strong])
def test_torchs_generator_and_the_input_are_left_alone(view) -> None:
    images, ids = noise(32), torch.arange(32)
    before, state = images.clone(), torch.get_rng_state()
    first = view(images, ids, EVERYTHING, 1, "a", 0)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(images, before)
    torch.rand(3)
    assert torch.equal(view(images, ids, EVERYTHING, 1, "a", 0), first)


@pytest.mark.parametrize("place", [(2, "a", 0), (1, "b", 0), (1, "a", 1)])
def test_another_place_draws_another_view(place) -> None:
    images, ids = noise(32), torch.arange(32)
    for view in (weak, strong):
        here = view(images, ids, Augmentation(), 1, "a", 0)
        there = view(images, ids, Augmentation(), *place)
        same = (here == there).flatten(1).all(1)
        assert same.float().mean() < 0.25


@pytest.mark.parametrize("view", [weak, strong])
def test_nothing_allowed_changes_nothing(view) -> None:
    images = noise(16, 9, 13)
    assert torch.equal(view(images, torch.arange(16), STILL, 1, 2), images)


@pytest.mark.parametrize("view", [weak, strong])
def test_an_empty_batch_stays_empty(view) -> None:
    images = noise(1)[:0]
    for augmentation in (Augmentation(), EVERYTHING):
        assert view(images, torch.arange(0), augmentation, 1).shape == (0, 3, 32, 32)


def test_flip_mirrors_half_of_the_images() -> None:
    images = noise(1, 4, 6).expand(4000, -1, -1, -1)
    views = weak(images, torch.arange(4000), Augmentation(shift=0.0), 3, "x")
    mirrored = (views == images.flip(3)).flatten(1).all(1)
    untouched = (views == images).flatten(1).all(1)
    assert (mirrored ^ untouched).all()
    assert 0.45 < float(mirrored.float().mean()) < 0.55


@pytest.mark.parametrize("fill", [128, 0, "edge"])
def test_shift_moves_by_every_offset_equally_often(fill) -> None:
    num, height, width = 3500, 16, 24
    image = noise(1, height, width)
    augmentation = Augmentation(flip=False, shift=0.125, fill=fill)
    views = weak(image.expand(num, -1, -1, -1), torch.arange(num), augmentation, 3, "x")
    border = (3, 3, 2, 2)  # 0.125 of 24 and of 16
    if fill == "edge":
        padded = torch.nn.functional.pad(image.float(), border, mode="replicate").to(torch.uint8)
    else:
        padded = torch.nn.functional.pad(image, border, value=fill)
    counts = []
    for top in range(5):
        for left in range(7):
            crop = padded[..., top : top + height, left : left + width]
            counts.append(int((views == crop).flatten(1).all(1).sum()))
    assert sum(counts) == num
    expected = num / 35
    chi_square = sum((count - expected) ** 2 / expected for count in counts)
    assert chi_square < 66  # the 0.999 quantile at 34 degrees of freedom is 65.2


def test_strong_has_the_geometry_of_weak() -> None:
    images, ids = noise(32), torch.arange(32)
    for augmentation in (
        Augmentation(randaugment=0),
        Augmentation(randaugment=0, scale=(0.9, 1.1), rotate=10.0),
    ):
        view = strong(images, ids, augmentation, 1, "s", 9)
        assert torch.equal(view, weak(images, ids, augmentation, 1, "s", 9))
    holed = strong(images, ids, Augmentation(randaugment=0, cutout=0.5, fill=0), 1, "s", 9)
    shifted = weak(images, ids, Augmentation(fill=0), 1, "s", 9)
    changed = (holed != shifted).any(1).flatten(1).sum(1)
    assert changed.max() <= 256
    assert changed.min() > 0
    assert torch.equal(torch.where(holed == 0, holed, shifted), holed)


def test_strong_changes_most_images_more_than_weak() -> None:
    images, ids = noise(400), torch.arange(400)
    shifted = weak(images, ids, Augmentation(), 1, "s", 9)
    changed = strong(images, ids, Augmentation(), 1, "s", 9) != shifted
    # Some operations change nothing in noise: AutoContrast, Solarize at 10, a blend at 5.
    assert changed.flatten(1).any(1).float().mean() > 0.85


def test_zoom_magnifies_about_the_centre() -> None:
    bar = torch.zeros(3, 3, 32, 32, dtype=torch.uint8)
    bar[..., 12:20] = 200
    twice = Augmentation(shift=0.0, scale=(2.0, 2.0), fill=0)
    is_bright = weak(bar, torch.arange(3), twice, 1, "z") > 100
    assert is_bright[..., 8:24].all()
    assert not is_bright[..., :8].any()
    assert not is_bright[..., 24:].any()
    half = Augmentation(shift=0.0, scale=(0.5, 0.5), fill=0)
    is_bright = weak(torch.full_like(bar, 200), torch.arange(3), half, 1, "z") > 100
    assert is_bright[..., 8:24, 8:24].all()
    assert int(is_bright.sum()) == 9 * 16 * 16


def test_turn_and_shift_are_exact_for_a_quarter_turn() -> None:
    images = noise(2, 6, 6)
    both = torch.tensor([2, 2])
    flipped = torch.tensor([False, True])
    view = _bilinear(images, flipped, both, -both, torch.ones(2), torch.full((2,), 90.0), 7)
    mirrored = torch.stack((images[0], images[1].flip(2)))
    expected = torch.full_like(images, 7)
    expected[..., 2:, :4] = torch.rot90(mirrored, 1, (2, 3))[..., :4, 2:]
    assert torch.equal(view, expected)


def test_edge_fill_keeps_a_flat_picture_flat() -> None:
    flat = torch.full((50, 3, 12, 20), 60, dtype=torch.uint8)
    turned = Augmentation(scale=(0.7, 1.4), rotate=45.0, fill="edge")
    assert torch.equal(weak(flat, torch.arange(50), turned, 1, "z"), flat)
    black = Augmentation(scale=(0.7, 1.4), rotate=45.0, fill=0)
    assert not torch.equal(weak(flat, torch.arange(50), black, 1, "z"), flat)


def test_resampling_by_nothing_is_the_shift() -> None:
    # 1 + 2⁻²³ is not 1, so this takes the bilinear path with nothing to do but flip and shift.
    images, ids = noise(64, 24, 40), torch.arange(64)
    for fill in (128, "edge"):
        almost = Augmentation(scale=(1.0, 1 + 2.0**-23), fill=fill)
        exact = Augmentation(fill=fill)
        assert torch.equal(weak(images, ids, almost, 4, "p"), weak(images, ids, exact, 4, "p"))


def test_shift_of_a_share_that_floats_badly() -> None:
    images = noise(1, 1, 100).expand(3000, -1, -1, -1)
    augmentation = Augmentation(flip=False, shift=0.29, fill=0)
    views = weak(images, torch.arange(3000), augmentation, 1)
    furthest = noise(1, 1, 100)[..., 29:]
    assert (views[..., :71] == furthest).flatten(1).all(1).any()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("shift", -0.1),
        ("shift", 4),
        ("cutout", 1.5),
        ("scale", (0.0, 1.0)),
        ("scale", (1.2, 0.8)),
        ("rotate", 181.0),
        ("fill", 256),
        ("fill", "mirror"),
        ("randaugment", -1),
        ("magnitude", (0, 11)),
        ("magnitude", (5, 2)),
    ],
)
def test_a_value_out_of_range_is_named(name: str, value: object) -> None:
    with pytest.raises(SettingError, match=rf"^{name} is .*; give "):
        Augmentation(**{name: value})
