"""Folds and subsets of labeled scenes, and masks that nobody reads before their time."""

from collections.abc import Callable

import numpy as np
import pytest
from films import DRIVE, FILMS, CountingReader, catalog_of, split_of

from dmt.data.hidden import reveal_masks
from dmt.data.mask_splits import (
    GivenMasks,
    MaskSplit,
    block_ids,
    dms_mask_subsets,
    fold_mask_splits,
    make_mask_split,
)
from dmt.errors import SettingError


def test_given_masks_are_read_when_asked_for_and_no_others() -> None:
    reader = CountingReader()
    split = make_mask_split(catalog_of(train=FILMS), reader, seed=1, labels=5)
    mine, other = int(split.labeled[2]), int(split.hidden.ids[0])
    assert split.given(mine).item() == mine
    for wrong in (other, int(split.test.ids[0]), -1):
        with pytest.raises(AssertionError, match="not given"):
            split.given(wrong)
    part = split.given.restrict(split.labeled[:2])
    assert part.ids.tolist() == split.labeled[:2].tolist()
    with pytest.raises(AssertionError, match="not given"):
        part(mine)
    assert reader.read == [mine]


def test_hidden_masks_are_read_by_nobody_but_who_reveals_them() -> None:
    reader = CountingReader()
    split = make_mask_split(catalog_of(train=FILMS), reader, seed=1, labels=5, val_images=3)
    fold_mask_splits(split, folds=2, seed=1, blocks=block_ids(catalog_of(train=FILMS), None, None))
    assert reader.read == []
    ids, read = reveal_masks(split.test)
    assert read(int(ids[0])).item() == ids[0]
    assert reader.read == [ids[0]]


def check_folds(split: MaskSplit, folds: tuple[MaskSplit, ...], blocks: np.ndarray) -> None:
    covered = np.concatenate([fold.test.ids for fold in folds])
    assert sorted(covered.tolist()) == split.labeled.tolist()
    for fold in folds:
        assert sorted([*fold.labeled, *fold.test.ids]) == split.labeled.tolist()
        assert fold.given.ids.tolist() == fold.labeled.tolist()
        assert not set(blocks[fold.labeled]) & set(blocks[fold.test.ids])
        assert not set(blocks[fold.unlabeled]) & set(blocks[fold.test.ids])
        assert set(fold.unlabeled) <= set(split.unlabeled)
        assert set(fold.hidden.ids) == set(split.hidden.ids) & set(fold.unlabeled)
        assert fold.val is split.val


def test_folds_cover_the_labeled_images_exactly_once_by_whole_blocks() -> None:
    catalog = catalog_of(train=FILMS | {"u-": 4})
    split = split_of(catalog, hold_out=0.0)
    blocks = block_ids(catalog, DRIVE, 6)
    folds = fold_mask_splits(split, folds=4, seed=3, blocks=blocks)
    check_folds(split, folds, blocks)
    sizes = [len(fold.test) for fold in folds]
    assert max(sizes) - min(sizes) <= 6
    assert folds[1].held_out == f"{sizes[1]} of your 95 labeled images, fold 2 of 4"
    again = fold_mask_splits(split, folds=4, seed=3, blocks=blocks)
    other = fold_mask_splits(split, folds=4, seed=4, blocks=blocks)
    assert [f.test.ids.tolist() for f in folds] == [f.test.ids.tolist() for f in again]
    assert [f.test.ids.tolist() for f in folds] != [f.test.ids.tolist() for f in other]


def test_as_many_folds_as_films_hold_out_one_film_each() -> None:
    catalog = catalog_of(train=FILMS)
    split = split_of(catalog, hold_out=0.0, group=DRIVE)
    blocks = block_ids(catalog, DRIVE, None)
    folds = fold_mask_splits(split, folds=3, seed=1, blocks=blocks)
    check_folds(split, folds, blocks)
    assert sorted(len(fold.test) for fold in folds) == [25, 30, 40]


@pytest.mark.parametrize(
    ("folds", "group", "words"),
    [
        (1, None, "folds=1 must lie between 2 and the 95 labeled images"),
        (4, DRIVE, "folds=4 must lie between 2 and the 3 blocks of labeled images"),
    ],
)
def test_more_folds_than_blocks_is_one_sentence(folds: int, group: str | None, words: str) -> None:
    catalog = catalog_of(train=FILMS)
    split = split_of(catalog, hold_out=0.0)
    with pytest.raises(SettingError, match=words):
        fold_mask_splits(split, folds=folds, seed=1, blocks=block_ids(catalog, group, None))


@pytest.mark.parametrize("num", [1, 2, 5, 100])
def test_dms_shares_three_fifths_and_gives_each_peer_its_own(num: int) -> None:
    a, b = dms_mask_subsets(np.arange(num) * 3, seed=5)
    assert (a | b).all()
    assert (a & b).sum() == max(1, int(0.6 * num + 0.5))
    assert abs(int(a.sum()) - int(b.sum())) <= 1


def test_given_masks_hold_no_id_twice() -> None:
    reader: Callable[[int], np.ndarray] = CountingReader()
    with pytest.raises(AssertionError, match="twice"):
        GivenMasks(np.array([1, 1]), reader)
