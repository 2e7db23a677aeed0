"""Which images are worth showing: each once, the extremes of each kind."""

from __future__ import annotations

import numpy as np

from dmt.engine.examples import pick


def test_each_kind_has_its_extremes_and_no_image_is_shown_twice() -> None:
    confidence = np.array([0.9, 0.3, 0.5, 0.99, 0.8, 0.4, 0.7, 0.95, 0.6])
    apart = np.array([0.0, 0.9, 0.1, 0.0, 0.8, 0.2, 0.7, 0.0, 0.3])
    found = pick(confidence, apart, None, 2)
    assert {kind: rows.tolist() for kind, rows in found.items()} == {
        "disagreed": [1, 4],
        "least-sure": [5, 2],
        "surest": [3, 7],
    }


def test_the_surest_take_the_classes_in_turn() -> None:
    confidence = np.array([0.5, 0.51, 0.52, 0.99, 0.98, 0.97, 0.7, 0.72])
    found = pick(confidence, None, np.array([0, 0, 0, 0, 0, 0, 1, 1]), 3)
    assert found["surest"].tolist() == [3, 7, 4]
    assert "disagreed" not in found


def test_equal_answers_do_not_disagree_and_few_images_are_shared_out() -> None:
    found = pick(np.array([0.6, 0.7, 0.8]), np.array([1e-7, 0.0, 2e-5]), None, 12)
    assert found["disagreed"].tolist() == []
    assert found["least-sure"].tolist() == [0]
    assert found["surest"].tolist() == [2]
    alone = pick(np.array([0.6]), None, np.array([0]), 12)
    assert [rows.tolist() for rows in alone.values()] == [[0], []]
