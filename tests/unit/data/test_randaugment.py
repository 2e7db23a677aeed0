"""RandAugment's operations against PIL and how they are drawn; views are in test_transforms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from dmt.data import randaugment as ra

SIZES = [(32, 32), (24, 40), (8, 8), (2, 5), (1, 1)]


def pictures(height: int, width: int, num: int = 12) -> Tensor:
    """Noise, narrow histograms, gradients and flat images: the shapes that tables stumble over."""
    generator = torch.Generator().manual_seed(height * 100 + width)
    noise = torch.randint(0, 256, (num, 3, height, width), generator=generator)
    noise[1] = noise[1] // 8 + 90
    noise[2] = 77
    noise[3] = torch.arange(height * width).view(height, width) % 256
    noise[4, 0] = 0
    noise[5] = (noise[5] > 200) * 255
    noise[6] = noise[6] // 64 * 64
    return noise.to(torch.uint8)


def with_pil(images: Tensor, function) -> Tensor:
    done = []
    for image in images:
        picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
        done.append(torch.from_numpy(np.array(function(picture))).permute(2, 0, 1))
    return torch.stack(done)


def furthest(first: Tensor, second: Tensor) -> int:
    return int((first.int() - second.int()).abs().max())


def levels(images: Tensor, value: float) -> Tensor:
    return torch.full((len(images),), value)


def pil_solarize_add(amount: int):
    def function(picture: Image.Image) -> Image.Image:
        brighter = np.clip(np.array(picture).astype(int) + amount, 0, 255).astype(np.uint8)
        return ImageOps.solarize(Image.fromarray(brighter), 128)

    return function


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_tables_equal_pil(height: int, width: int) -> None:
    images = pictures(height, width)
    assert torch.equal(ra.equalize(images), with_pil(images, ImageOps.equalize))
    assert torch.equal(ra.invert(images), with_pil(images, ImageOps.invert))
    assert furthest(ra.auto_contrast(images), with_pil(images, ImageOps.autocontrast)) <= 1
    for bits in range(1, 9):
        theirs = with_pil(images, lambda picture, bits=bits: ImageOps.posterize(picture, bits))
        assert torch.equal(ra.posterize(images, levels(images, bits + 0.3)), theirs)
    for threshold in (0, 25.6, 128, 256):
        theirs = with_pil(images, lambda picture, t=threshold: ImageOps.solarize(picture, t))
        assert torch.equal(ra.solarize(images, levels(images, threshold)), theirs)
    for amount in (0, 11, 110):
        theirs = with_pil(images, pil_solarize_add(amount))
        assert torch.equal(ra.solarize_add(images, levels(images, amount)), theirs)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (ra.color, ImageEnhance.Color),
        (ra.contrast, ImageEnhance.Contrast),
        (ra.brightness, ImageEnhance.Brightness),
        (ra.sharpness, ImageEnhance.Sharpness),
    ],
)
@pytest.mark.parametrize("factor", [0.0, 0.1, 0.46, 1.0, 1.54, 1.9])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_blends_are_within_one_level_of_pil(ours, theirs, factor, height, width) -> None:
    images = pictures(height, width)
    expected = with_pil(images, lambda picture: theirs(picture).enhance(factor))
    assert furthest(ours(images, levels(images, factor)), expected) <= 1


def pil_affine(*matrix: float):
    return lambda picture: picture.transform(
        picture.size, Image.Transform.AFFINE, matrix, fillcolor=(9, 9, 9)
    )


@pytest.mark.parametrize(("height", "width"), [(32, 32), (24, 40), (8, 8)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_moves_agree_with_pil(height: int, width: int, sign: int) -> None:
    images = pictures(height, width)
    share, slope = sign * 0.271, sign * 0.23
    moved = levels(images, share)
    pairs = [
        (ra.translate(images, moved, 1, 9), pil_affine(1, 0, share * width, 0, 1, 0)),
        (ra.translate(images, moved, 0, 9), pil_affine(1, 0, 0, 0, 1, share * height)),
        (ra.shear(images, levels(images, slope), 1, 9), pil_affine(1, slope, 0, 0, 1, 0)),
        (ra.shear(images, levels(images, slope), 0, 9), pil_affine(1, 0, 0, slope, 1, 0)),
        (
            ra.rotate(images, levels(images, sign * 17.25), 9),
            lambda picture: picture.rotate(sign * 17.25, fillcolor=(9, 9, 9)),
        ),
    ]
    for ours, function in pairs:
        # PIL walks in 16-bit fractions of a pixel: a source on a pixel's edge may fall either way.
        assert (ours == with_pil(images, function)).float().mean() > 0.99


def test_edge_fill_repeats_the_border() -> None:
    images = pictures(4, 6)
    moved = ra.translate(images, levels(images, 0.5), 1, "edge")
    assert torch.equal(moved[..., :3], images[..., 3:])
    assert torch.equal(moved[..., 3:], images[..., 5:].expand(-1, -1, -1, 3))


@pytest.mark.parametrize("fill", [0, 200])
def test_cutout_paints_one_rectangle(fill: int) -> None:
    images = torch.full((3, 3, 20, 10), 77, dtype=torch.uint8)
    centre = torch.tensor([[0.5, 0.5], [0.0, 0.99], [0.99, 0.0]])
    share = torch.tensor([0.5, 0.2, 0.001])
    hole = ra.cutout(images, share, centre, fill) == fill
    assert torch.equal(hole[:, 0], hole[:, 2])
    assert [int(h) for h in hole[:, 0].sum((1, 2))] == [10 * 5, 2 * 2, 1]
    assert hole[0, 0, 5:15, 3:8].all()
    assert hole[2, 0, 19, 0]
    assert (ra.cutout(images, share, centre, "edge")[0] == 128).sum() == 150


def test_angles_are_exact_where_it_shows() -> None:
    cosine, sine = ra.cosine_sine(torch.tensor([0.0, 90.0, -90.0, 30.0, 180.0]))
    torch.testing.assert_close(cosine, torch.tensor([1.0, 0.0, 0.0, 0.75**0.5, -1.0]))
    torch.testing.assert_close(sine, torch.tensor([0.0, 1.0, -1.0, 0.5, 0.0]))


def test_quarter_turn_is_exact() -> None:
    images = pictures(6, 6)
    assert torch.equal(ra.rotate(images, levels(images, 90.0), 0), torch.rot90(images, 1, (2, 3)))


def test_whole_never_reaches_its_count() -> None:
    largest = torch.tensor([0.0, 1 - 2.0**-24])
    for count in (1, 9, 16, 101):
        assert ra.whole(largest, count).tolist() == [0, count - 1]


def test_every_operation_and_magnitude_is_drawn_equally_often(monkeypatch) -> None:
    seen: dict[str, list[float]] = {}

    def record(name: str):
        def apply(images: Tensor, draw: ra.Draw) -> Tensor:
            seen.setdefault(name, []).extend(draw.level.tolist())
            return images

        return apply

    spies = tuple(ra.Operation(o.name, 0, 10, o.is_signed, record(o.name)) for o in ra.OPERATIONS)
    monkeypatch.setattr(ra, "OPERATIONS", spies)
    num_images = 32_000
    images = torch.zeros(num_images, 3, 1, 1, dtype=torch.uint8)
    ra.randaugment(images, torch.arange(num_images), 1, (3, 6), 0, 7, "round", 1)
    assert len(seen) == 16
    for operation in spies:
        drawn = torch.tensor(seen[operation.name])
        assert abs(len(drawn) - 2000) < 5 * (2000 * 15 / 16) ** 0.5
        assert drawn.abs().unique().tolist() == [3, 4, 5, 6]
        counts = torch.bincount(drawn.abs().long())[3:]
        assert (counts / len(drawn) - 0.25).abs().max() < 0.05
        negative = float((drawn < 0).float().mean())
        assert (0.44 < negative < 0.56) if operation.is_signed else negative == 0


def test_levels_span_the_documented_ranges() -> None:
    ends = [(o.name, o.low, o.high, o.is_signed) for o in ra.OPERATIONS]
    assert ends == [
        ("AutoContrast", 0, 1, False),
        ("Equalize", 0, 1, False),
        ("Invert", 0, 1, False),
        ("Rotate", 0, 30, True),
        ("Posterize", 0, 4, False),
        ("Solarize", 0, 256, False),
        ("SolarizeAdd", 0, 110, False),
        ("Color", 0.1, 1.9, False),
        ("Contrast", 0.1, 1.9, False),
        ("Brightness", 0.1, 1.9, False),
        ("Sharpness", 0.1, 1.9, False),
        ("ShearX", 0, 0.3, True),
        ("ShearY", 0, 0.3, True),
        ("Cutout", 0, 0.5, False),
        ("TranslateX", 0, 0.45, True),
        ("TranslateY", 0, 0.45, True),
    ]


@pytest.mark.parametrize("number", range(16), ids=[o.name for o in ra.OPERATIONS])
def test_an_operation_treats_each_image_alone(number: int) -> None:
    operation = ra.OPERATIONS[number]
    images = pictures(32, 20, 37)
    level = torch.linspace(operation.low, operation.high, 37)
    centre = torch.rand(37, 2, generator=torch.Generator().manual_seed(1))
    before = images.clone()
    together = operation.apply(images, ra.Draw(level, centre, 128))
    assert torch.equal(images, before)
    assert (together.shape, together.dtype) == (images.shape, torch.uint8)
    assert not torch.equal(together, images)
    for row in range(37):
        one = slice(row, row + 1)
        alone = operation.apply(images[one], ra.Draw(level[one], centre[one], 128))
        assert torch.equal(alone, together[one])


def test_blends_at_magnitude_five_change_nothing() -> None:
    images = pictures(16, 16)
    strength, draw = levels(images, 5.0), levels(images, 0.0)
    for number, operation in enumerate(ra.OPERATIONS):
        if operation.name in ("Color", "Contrast", "Brightness", "Sharpness"):
            chosen = torch.full((len(images),), number)
            level = ra._levels(chosen, strength, draw)
            centre = torch.zeros(len(images), 2)
            assert torch.equal(operation.apply(images, ra.Draw(level, centre, 0)), images)


def test_two_operations_follow_one_another() -> None:
    images = pictures(16, 16)
    ids = torch.arange(len(images)) * 11
    once = ra.randaugment(images, ids, 1, (1, 10), 0, 3, "step", 4)
    twice = ra.randaugment(images, ids, 2, (1, 10), 0, 3, "step", 4)
    assert not torch.equal(once, twice)
    assert torch.equal(ra.randaugment(images, ids, 2, (1, 10), 0, 3, "step", 4), twice)
