"""The built-in `shapes`: drawn, the same everywhere, with a rare class, void and a test part."""

import hashlib

import numpy as np
import pytest

from dmt.data.catalog import Catalog, Part
from dmt.data.layouts.shapes import read_shapes
from dmt.errors import DataError

IMAGES_SHA256 = "cb2a9dc0e6d21212ab964268fbaddf5cf44716670d267de648d08f9fb7a1b055"
MASKS_SHA256 = "ace1170c288740460b7ad3921450217053ed8c010a53bb7bd29b00f02a75da95"


def drawn(name: str) -> Catalog:
    catalog = read_shapes(name)
    assert catalog is not None
    return catalog


def arrays_of(catalog: Catalog) -> tuple[np.ndarray, np.ndarray]:
    assert catalog.images is not None
    assert catalog.masks is not None
    assert catalog.masks.arrays is not None
    return catalog.images, catalog.masks.arrays


@pytest.fixture(scope="module")
def shapes() -> Catalog:
    return drawn("shapes")


def test_the_catalog_is_that_of_a_segmentation_with_a_test_part(shapes: Catalog) -> None:
    images, masks = arrays_of(shapes)
    assert (shapes.task, shapes.layout, shapes.name) == ("segmentation", "shapes", "shapes")
    assert shapes.classes == ("background", "disc", "square", "triangle", "ring", "cross")
    assert (images.shape, images.dtype) == ((750, 64, 64, 3), np.uint8)
    assert (masks.shape, masks.dtype) == ((750, 64, 64), np.uint8)
    assert sorted(set(shapes.paths)) == list(shapes.paths)
    assert (shapes.parts == Part.TRAIN).sum() == 600
    assert (shapes.parts == Part.TEST).sum() == 150
    assert (shapes.labels == 0).all()
    assert shapes.masks is not None
    assert shapes.masks.coding.num_classes == 6
    assert len(set(shapes.masks.paths)) == 750


@pytest.fixture(scope="module")
def wide() -> Catalog:
    return drawn("shapes:32x48")


def test_every_machine_draws_the_same_bits(wide: Catalog) -> None:
    images, masks = arrays_of(wide)
    assert hashlib.sha256(images.tobytes()).hexdigest() == IMAGES_SHA256
    assert hashlib.sha256(masks.tobytes()).hexdigest() == MASKS_SHA256


def test_the_classes_have_their_shares_and_crosses_are_rare(shapes: Catalog) -> None:
    _, masks = arrays_of(shapes)
    shares = np.bincount(masks.ravel(), minlength=256) / masks.size
    assert set(np.flatnonzero(shares)) == {0, 1, 2, 3, 4, 5, 255}
    assert 0.6 < shares[0] < 0.8
    assert (shares[1:5] > 0.03).all()
    assert 0.003 < shares[5] < 0.007
    assert 0.003 < shares[255] < 0.02
    shows_cross = (masks == 5).any(axis=(1, 2))
    for part in (Part.TRAIN, Part.TEST):
        assert 0.25 < shows_cross[shapes.parts == part].mean() < 0.55


def test_colour_hints_at_the_class_but_does_not_tell_it(shapes: Catalog) -> None:
    images, masks = arrays_of(shapes)
    is_thing = (masks >= 1) & (masks <= 5)
    colours, labels = images[is_thing].astype(np.float32), masks[is_thing]
    means = np.array([colours[labels == label].mean(axis=0) for label in range(1, 6)])
    far = ((colours[:, None] - means) ** 2).sum(axis=-1)
    guessed_right = far.argmin(axis=1) + 1 == labels
    assert 0.5 < guessed_right.mean() < 0.8


def test_no_scene_is_drawn_twice(shapes: Catalog) -> None:
    images, masks = arrays_of(shapes)
    assert len({image.tobytes() for image in images}) == 750
    assert len({mask.tobytes() for mask in masks}) == 750


def test_void_lies_only_between_things(shapes: Catalog) -> None:
    _, masks = arrays_of(shapes)
    is_void = masks == 255
    blocks = is_void[:, :-2, :-2].copy()
    for down in range(3):
        for right in range(3):
            blocks &= is_void[:, down : 62 + down, right : 62 + right]
    assert not blocks.any()  # one pixel wide, so nowhere three by three
    assert 0.5 < is_void.any(axis=(1, 2)).mean() <= 1


def test_another_size_is_as_crowded(wide: Catalog) -> None:
    images, masks = arrays_of(wide)
    assert wide.name == "shapes:32x48"
    assert images.shape == (750, 32, 48, 3)
    assert masks.shape == (750, 32, 48)
    assert 0.6 < (masks == 0).mean() < 0.8
    assert 0.003 < (masks == 5).mean() < 0.007


@pytest.mark.parametrize("name", ["digits", "shape", "shapes2", "./shapes", ""])
def test_other_names_are_left_to_others(name: str) -> None:
    assert read_shapes(name) is None


@pytest.mark.parametrize(
    "name",
    ["shapes:", "shapes:big", "shapes:31", "shapes:1025", "shapes:64x", "shapes:64x31", "shapes:٦٤",
     "shapes:64x64x3", "shapes:-64", "shapes:99999"],
)  # fmt: skip
def test_a_size_that_is_none_is_one_sentence(name: str) -> None:
    with pytest.raises(DataError, match="shapes:96x128") as caught:
        read_shapes(name)
    assert "\n" not in str(caught.value)
    assert "32 to 1024" in str(caught.value)
