"""The scores and orders of a review, against hand-computed values."""

from __future__ import annotations

import numpy as np
import pytest

from dmt.metrics.review_scores import (
    balanced_order,
    candidates,
    contradicted,
    disagreement,
    diverse_order,
    improbability,
)


def test_disagreement_is_the_chance_of_different_answers() -> None:
    sure = np.array([[1.0, 0.0], [1.0, 0.0], [0.5, 0.5], [0.8, 0.2]])
    other = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.4, 0.6]])
    assert disagreement(sure, other).tolist() == pytest.approx([0, 1, 0.5, 1 - 0.32 - 0.12])


def test_disagreement_of_pixels_has_the_classes_first() -> None:
    first = np.zeros((2, 1, 2))
    second = np.zeros((2, 1, 2))
    first[0] = 1
    second[0, 0, 0] = second[1, 0, 1] = 1
    assert disagreement(first, second).tolist() == [[0.0, 1.0]]


def test_a_label_is_as_improbable_as_both_models_find_it_on_average() -> None:
    given = np.array([0, 1])
    first, second = np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([[0.7, 0.3], [1.0, 0.0]])
    assert improbability(given, first, second).tolist() == pytest.approx([0.2, 0.95])


def test_a_pixel_is_contradicted_where_every_model_gives_its_class_less_than_a_tenth() -> None:
    given = np.array([[0, 0, 0, 255]], dtype=np.uint8)
    first = np.array([[[0.05, 0.05, 0.5, 0.0]], [[0.95, 0.95, 0.5, 1.0]]])
    second = np.array([[[0.02, 0.2, 0.01, 0.0]], [[0.98, 0.8, 0.99, 1.0]]])
    assert contradicted(given, 2, first, second).tolist() == [[True, False, False, False]]


def test_a_near_duplicate_comes_late_whatever_its_score() -> None:
    scores = np.array([0.9, 0.89, 0.5, 0.1])
    features = np.array([[1.0, 0.0], [1.0, 0.001], [0.0, 1.0], [0.0, 1.0]])
    assert diverse_order(scores, features, 2).tolist() == [0, 2, 1, 3]
    assert diverse_order(scores, features, 1).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("num", [0, 1, 3, 30, 100])
def test_every_row_comes_once(num: int) -> None:
    random = np.random.default_rng(0)
    order = diverse_order(random.random(30), random.normal(size=(30, 4)), num)
    assert sorted(order.tolist()) == list(range(30))


def test_rows_that_are_all_alike_still_come_once_each() -> None:
    assert sorted(diverse_order(np.zeros(5), np.ones((5, 3)), 5).tolist()) == list(range(5))


def test_candidates_are_the_highest_scores() -> None:
    assert candidates(np.array([0.1, 0.9, 0.5] + [0.0] * 10), 1).tolist() == [1, 2, 0, 3, 4]


def test_balanced_takes_the_classes_in_turn() -> None:
    order, classes = np.array([1, 0, 2, 3, 4]), np.array([0, 0, 1, 1, 0])
    assert balanced_order(order, classes).tolist() == [1, 2, 0, 3, 4]
