"""Blocks of scenes, by the names of their files."""

import numpy as np
import pytest
from films import DRIVE, catalog_of, paths_of

from dmt.data.mask_splits import block_ids
from dmt.errors import DataError, SettingError


def test_blocks_are_images_groups_or_consecutive_images() -> None:
    catalog = catalog_of(train={"a": 12, "b": 3})
    single = block_ids(catalog, None, None)
    assert sorted(single.tolist()) == list(range(15))
    by_film = block_ids(catalog, DRIVE, None)
    assert by_film.tolist() == [0] * 12 + [1] * 3
    fives = block_ids(catalog, DRIVE, 5)
    blocks = [paths_of(catalog, np.flatnonzero(fives == each)) for each in range(4)]
    assert blocks == [
        {f"train/images/a_{n}.png" for n in range(5)},
        {f"train/images/a_{n}.png" for n in range(5, 10)},  # a_10 comes after a_9, not after a_1
        {"train/images/a_10.png", "train/images/a_11.png"},
        {f"train/images/b_{n}.png" for n in range(3)},
    ]
    ungrouped = block_ids(catalog, None, 14)
    assert np.bincount(ungrouped).tolist() == [14, 1]


def test_a_pattern_without_brackets_names_a_group_by_all_it_matches() -> None:
    catalog = catalog_of(train={"a": 2, "b": 3})
    assert block_ids(catalog, "[ab]_", None).tolist() == [0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("group", "block", "error", "words"),
    [
        ("(a", None, SettingError, ["group=(a", "no regular expression"]),
        ("(q)", None, DataError, ["group=(q)", "train/images/a_0.png"]),
        ("a(q)?", None, DataError, ["train/images/a_0.png"]),
        ("png", None, DataError, ["without its suffix"]),
        (None, 0, SettingError, ["block=0"]),
    ],
)
def test_what_makes_no_blocks_is_one_sentence(
    group: str | None, block: int | None, error: type[Exception], words: list[str]
) -> None:
    with pytest.raises(error) as caught:
        block_ids(catalog_of(train={"a": 2}), group, block)
    for word in words:
        assert word in str(caught.value)
