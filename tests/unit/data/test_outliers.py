"""What `dmt check` sees in pixels: quiet on a clean set, loud about noise, blanks and photos."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits

from dmt.data.catalog import Catalog
from dmt.data.outliers import unlike_any_class, unreadable


def catalog_of(
    images: np.ndarray | None, labels: np.ndarray, names: list[str], root: Path | None = None
) -> Catalog:
    return Catalog(
        name="photos",
        layout="class-folders",
        root=root,
        classes=tuple("0123456789"),
        paths=tuple(names),
        labels=labels.astype(np.int64),
        parts=np.zeros(len(names), dtype=np.uint8),
        images=images,
        problems=(),
    )


def digits(num: int, strangers: list[np.ndarray], per_class: int = 10) -> Catalog:
    """`num` real digits, `per_class` of each class labeled, and 8×8 strangers after them."""
    data = load_digits()
    pixels = (data.images[:num] * 15.9375).round().astype(np.uint8)
    images = np.stack([*np.repeat(pixels[..., None], 3, axis=-1), *strangers])
    labels = np.full(len(images), -1)
    for digit in range(10):
        rows = np.flatnonzero(data.target[:num] == digit)[:per_class]
        labels[rows] = digit
    names = [f"digit{row:04}" for row in range(num)]
    return catalog_of(images, labels, names + [f"stranger{row}" for row in range(len(strangers))])


def eights(function) -> np.ndarray:
    grid = np.mgrid[0:8, 0:8]
    return np.clip(np.stack(function(*grid), axis=-1), 0, 255).astype(np.uint8)


RNG = np.random.default_rng(0)
STRANGERS = {
    "noise": RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8),
    "grey noise": RNG.integers(0, 256, (8, 8, 1), dtype=np.uint8).repeat(3, axis=-1),
    "black": np.zeros((8, 8, 3), dtype=np.uint8),
    "white": np.full((8, 8, 3), 255, dtype=np.uint8),
    "blue": np.broadcast_to(np.array([0, 60, 200], dtype=np.uint8), (8, 8, 3)),
    "sunset": eights(lambda y, x: (255 - 10 * y, 160 - 15 * y, 60 + 20 * y + x)),
    "meadow": eights(lambda y, x: (90 + 9 * x, 170 - 8 * y, 60 + 0 * x)),
}


def test_real_digits_raise_at_most_one_false_alarm_in_a_hundred() -> None:
    assert len(unlike_any_class(digits(900, []))) <= 8


@pytest.mark.parametrize("kind", STRANGERS)
def test_gross_strangers_among_digits_are_found(kind: str) -> None:
    assert "stranger0" in unlike_any_class(digits(500, [STRANGERS[kind]]))


def test_the_most_unlike_come_first() -> None:
    found = unlike_any_class(digits(500, list(STRANGERS.values())))
    assert {f"stranger{row}" for row in range(len(STRANGERS))} == set(found[: len(STRANGERS)])


def test_files_are_looked_at_too_and_unreadable_ones_left_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    names = [f"{row:03}.png" for row in range(60)]
    for row, name in enumerate(names[:58]):
        ramp = np.linspace(60 + rng.integers(40), 180 + rng.integers(40), 48)
        plane = np.broadcast_to(ramp if row % 2 else ramp[:, None], (48, 48))
        pixels = np.stack([plane * 0.9, plane, plane * 0.7], axis=-1) + rng.normal(
            0, 6, (48, 48, 3)
        )
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / name)
    page = Image.new("RGB", (640, 480), "white")
    for line in range(8, 470, 14):
        ImageDraw.Draw(page).text((10, line), "the quick brown fox jumps over " * 3, fill="black")
    page.save(tmp_path / names[58])
    (tmp_path / names[59]).write_bytes(b"no image")
    labels = np.where(np.arange(60) < 20, np.arange(60) % 2, -1)
    assert unlike_any_class(catalog_of(None, labels, names, tmp_path)) == [names[58]]


def test_too_few_labels_tell_nothing() -> None:
    assert unlike_any_class(digits(300, [STRANGERS["noise"]], per_class=0)) == []
    few = digits(300, [STRANGERS["noise"]], per_class=1)
    few.labels[few.labels == 3] = -1
    assert unlike_any_class(few) == []


def test_without_unlabeled_images_there_is_no_stranger() -> None:
    assert unlike_any_class(digits(100, [], per_class=100)) == []


def test_copies_of_one_image_are_no_strangers() -> None:
    images = np.zeros((40, 8, 8, 3), dtype=np.uint8)
    labels = np.where(np.arange(40) < 20, 0, -1)
    names = [f"{row:02}" for row in range(40)]
    assert unlike_any_class(catalog_of(images, labels, names)) == []


def test_the_limit_looks_at_a_fixed_sample() -> None:
    catalog = digits(400, [STRANGERS["noise"]] * 100)
    sampled = unlike_any_class(catalog, limit=150)
    assert sampled == unlike_any_class(catalog, limit=150, workers=1)
    assert 0 < len(sampled) < len(unlike_any_class(catalog))


def test_unreadable_files_are_problems_that_name_them(tmp_path: Path) -> None:
    names = [f"{row:02}.png" for row in range(20)]
    for name in names:
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    (tmp_path / names[18]).write_bytes(b"")
    (tmp_path / names[3]).write_bytes((tmp_path / names[3]).read_bytes()[:40])
    told: list[tuple[int, int]] = []
    catalog = catalog_of(None, np.zeros(20), names, tmp_path)
    problems = unreadable(catalog, progress=lambda done, num: told.append((done, num)))
    assert [(problem.kind, problem.path) for problem in problems] == [
        ("unreadable", names[3]),
        ("unreadable", names[18]),
    ]
    assert names[3] in problems[0].message
    assert told == [(16, 20), (20, 20)]


def test_images_in_memory_are_readable() -> None:
    assert unreadable(digits(20, [])) == []
