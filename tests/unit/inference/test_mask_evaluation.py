"""A segmenter measured on trees with masks whose figures are known by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dmt.data.catalog import Catalog, MaskFiles
from dmt.data.masks import Coding
from dmt.errors import DataError
from dmt.inference.mask_evaluation import evaluate_masks
from scene_toys import Bytes, catalog, noise, segmenter

EVERY = np.arange(2)


def painted(label: Bytes) -> Bytes:
    """An image that `Channels` calls by this label."""
    return np.eye(3, dtype=np.uint8)[label] * np.uint8(255)


def scenes() -> dict[str, tuple[Bytes, Bytes | None]]:
    """Two scenes of different size: one called right, one with a wrong pixel and one left out."""
    right = np.array([[0, 0, 1], [0, 1, 1]], dtype=np.uint8)
    called = np.array([[0], [0], [1], [1]], dtype=np.uint8)
    truth = np.array([[0], [1], [1], [255]], dtype=np.uint8)
    return {"a": (painted(right), right), "b": (painted(called), truth)}


def test_figures_by_hand(tmp_path: Path) -> None:
    found = evaluate_masks(segmenter(), catalog(tmp_path, scenes()), EVERY)
    assert found["confusion"] == [[4, 0, 0], [1, 4, 0], [0, 0, 0]]
    assert found["metric"] == "miou"
    assert found["value"] == pytest.approx(80)
    assert found["pixel_accuracy"] == pytest.approx(100 * 8 / 9)
    assert found["classes"] == [
        {"name": "red", "iou": pytest.approx(80), "pixels": 4},
        {"name": "green", "iou": pytest.approx(80), "pixels": 5},
        {"name": "blue", "iou": None, "pixels": 0},
    ]
    assert found["absent"] == ["blue"]


def test_only_the_rows_asked_for(tmp_path: Path) -> None:
    found = evaluate_masks(segmenter(), catalog(tmp_path, scenes()), np.array([1]))
    assert np.sum(found["confusion"]) == 3


def test_classes_are_matched_by_name(tmp_path: Path) -> None:
    """The data count green, red; the run red, green, blue."""
    swapped = np.array([1, 0, *range(2, 256)], dtype=np.uint8)
    other = {name: (image, swapped[mask]) for name, (image, mask) in scenes().items()}  # type: ignore[index]
    data = catalog(tmp_path / "other", other, classes=("green", "red"))
    usual = catalog(tmp_path / "usual", scenes())
    assert evaluate_masks(segmenter(), data, EVERY) == evaluate_masks(segmenter(), usual, EVERY)


def test_full_size_counts_whatever_the_network_sees(tmp_path: Path) -> None:
    label = np.zeros((40, 90), dtype=np.uint8)
    label[:, 45:] = 2
    data = catalog(tmp_path, {"x": (painted(label), label)})
    found = evaluate_masks(segmenter(max_side=30), data, np.array([0]))
    assert np.sum(found["confusion"]) == label.size
    assert found["value"] > 95


def test_images_in_memory() -> None:
    masks = np.stack([np.full((5, 4), k, dtype=np.uint8) for k in (0, 2)])
    data = Catalog(
        name="drawn",
        layout="shapes",
        root=None,
        classes=("red", "green", "blue"),
        paths=("0", "1"),
        labels=np.zeros(2, dtype=np.int64),
        parts=np.zeros(2, dtype=np.uint8),
        images=painted(masks),
        problems=(),
        masks=MaskFiles(("", ""), Coding(3), masks),
    )
    found = evaluate_masks(segmenter(), data, EVERY)
    assert found["confusion"] == [[20, 0, 0], [0, 0, 0], [0, 0, 20]]


def test_nothing_to_count_is_refused(tmp_path: Path) -> None:
    void = np.full((3, 3), 255, dtype=np.uint8)
    data = catalog(tmp_path, {"a": (noise(3, 3), void)})
    with pytest.raises(DataError, match="no labeled pixel to evaluate on"):
        evaluate_masks(segmenter(), data, np.array([0]))


def test_wrong_masks_are_found_before_anything_is_predicted(tmp_path: Path) -> None:
    wrong = np.full((3, 3), 7, dtype=np.uint8)
    data = catalog(tmp_path, {"a": scenes()["a"], "b": (noise(3, 3), wrong)})
    model = segmenter()
    model.predict_pixels = lambda *_, **__: pytest.fail("predicted")  # type: ignore[method-assign]
    with pytest.raises(DataError, match="7"):
        evaluate_masks(model, data, EVERY)
