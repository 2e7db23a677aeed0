"""Unlabeled images that look different as a group, from real digits and drawn scenes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dmt.data.appearance import appearance_alarms
from dmt.data.catalog import Catalog
from dmt.data.layouts import open_catalog

LABELED, UNLABELED = np.arange(40), np.arange(40, 240)

BLUE = np.array([0, 0, 60])

Change = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module", params=["digits", "shapes:32"])
def catalog(request: pytest.FixtureRequest) -> Catalog:
    return open_catalog(request.param)


def changed(catalog: Catalog, change: Change) -> Catalog:
    """With all images but the first 40 changed."""
    assert catalog.images is not None
    images = catalog.images.astype(np.float64)
    images[40:] = change(images[40:])
    return replace(catalog, images=images.clip(0, 255).astype(np.uint8))


def test_images_of_one_source_look_alike(catalog: Catalog) -> None:
    for start in range(0, 400, 100):
        rows = np.arange(start, start + 240)
        assert appearance_alarms(catalog, rows[:40], rows[40:]) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda x: x + BLUE, "bluer"),
        (lambda x: x * 0.3, "darker"),
        (lambda x: x + np.random.default_rng(0).normal(0, 60, x.shape), "more colourful"),
        (lambda x: (x + np.roll(x, 1, 1) + np.roll(x, 1, 2) + np.roll(x, 2, 1)) / 4, "blurred"),
    ],
    ids=["tint", "dark", "noise", "blur"],
)
def test_changed_images_look_different(catalog: Catalog, change: Change, word: str) -> None:
    (alarm,) = appearance_alarms(changed(catalog, change), LABELED, UNLABELED)
    assert alarm.kind == "unlike-unlabeled"
    assert word in alarm.message


def test_few_images_prove_nothing(catalog: Catalog) -> None:
    blue = changed(catalog, lambda x: x + BLUE)
    assert appearance_alarms(blue, LABELED[:7], UNLABELED) == []
    assert appearance_alarms(blue, LABELED, UNLABELED[:0]) == []


def test_another_size_is_told(tmp_path: Path, tmp_photos) -> None:
    photos = tmp_photos(labeled=8, unlabeled=8)
    assert _of(photos) == []
    for path in (photos / "unlabeled").iterdir():
        with Image.open(path) as image:
            image.resize((128, 128)).save(path)
    (message,) = _of(photos)
    assert "larger" in message


def _of(photos: Path) -> list[str]:
    catalog = open_catalog(photos)
    is_labeled = catalog.labels >= 0
    alarms = appearance_alarms(catalog, np.flatnonzero(is_labeled), np.flatnonzero(~is_labeled))
    return [alarm.message for alarm in alarms]
