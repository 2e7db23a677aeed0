"""Hidden labels: what can be seen of them, and that only `reveal` gives them away."""

import copy
import json
import pickle

import numpy as np
import pytest

from dmt.data.hidden import HiddenLabels, reveal


@pytest.fixture
def hidden() -> HiddenLabels:
    return HiddenLabels(np.array([7, 2, 9]), np.array([71, 72, 73]))


def test_reveal_gives_ids_and_labels_in_the_order_given(hidden: HiddenLabels) -> None:
    ids, labels = reveal(hidden)
    assert ids.tolist() == [7, 2, 9]
    assert labels.tolist() == [71, 72, 73]


def test_ids_are_public_and_read_only(hidden: HiddenLabels) -> None:
    assert hidden.ids.tolist() == [7, 2, 9]
    with pytest.raises(ValueError, match="read-only"):
        hidden.ids[0] = 1


def test_it_keeps_a_copy() -> None:
    labels = np.array([0, 1])
    hidden = HiddenLabels(np.array([3, 4]), labels)
    labels[:] = 9
    assert reveal(hidden)[1].tolist() == [0, 1]


def test_restrict_keeps_the_intersection_in_its_own_order(hidden: HiddenLabels) -> None:
    ids, labels = reveal(hidden.restrict(np.array([9, 100, 7])))
    assert ids.tolist() == [7, 9]
    assert labels.tolist() == [71, 73]


def test_an_empty_one_has_length_0() -> None:
    empty = HiddenLabels(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    assert len(empty) == 0
    assert len(empty.restrict(np.array([1]))) == 0


@pytest.mark.parametrize(
    "leak",
    [
        lambda hidden: hidden[0],
        lambda hidden: list(hidden),
        lambda hidden: 71 in hidden,
        lambda hidden: hidden.labels,
        lambda hidden: vars(hidden),
        lambda hidden: np.asarray(hidden, dtype=np.int64),
        lambda hidden: hidden + 0,
        lambda hidden: pickle.dumps(hidden),
        lambda hidden: copy.deepcopy(hidden),
        lambda hidden: json.dumps(hidden),
    ],
)
def test_no_ordinary_way_leads_to_the_labels(hidden: HiddenLabels, leak) -> None:
    with pytest.raises((TypeError, AttributeError)):
        leak(hidden)


def test_printing_it_shows_the_count_alone(hidden: HiddenLabels) -> None:
    assert repr(hidden) == str(hidden) == "HiddenLabels(3 ids)"


def test_equality_is_identity(hidden: HiddenLabels) -> None:
    twin = HiddenLabels(*reveal(hidden))
    assert hidden == hidden
    assert hidden != twin


@pytest.mark.parametrize(("ids", "labels"), [([1, 1], [0, 0]), ([1, 2], [0]), ([[1, 2]], [[0, 0]])])
def test_ids_must_be_a_list_of_different_ones(ids: list[int], labels: list[int]) -> None:
    with pytest.raises(AssertionError):
        HiddenLabels(np.array(ids), np.array(labels))
