"""Splits: what is learned from, looked at and judged by; and the draws' independence."""

import numpy as np
import pytest

from dmt.data.catalog import Catalog, Part
from dmt.data.hidden import reveal
from dmt.data.splits import Split, dms_subsets, fold_splits, make_split
from dmt.errors import SettingError

PARTS = {"train": Part.TRAIN, "val": Part.VAL, "test": Part.TEST}


def catalog_of(layout: str = "class-folders", **counts: dict[str, int]) -> Catalog:
    """Counts by part and class, `unlabeled` for none: catalog_of(train={"cat": 3, "dog": 2})."""
    classes = tuple(sorted({name for part in counts.values() for name in part} - {"unlabeled"}))
    rows = sorted(
        (f"{part}/{name}/{number:04}.png", name, PARTS[part])
        for part, of_part in counts.items()
        for name, count in of_part.items()
        for number in range(count)
    )
    labels = [classes.index(name) if name in classes else -1 for _, name, _ in rows]
    return Catalog(
        name="photos",
        layout=layout,
        root=None,
        classes=classes,
        paths=tuple(path for path, _, _ in rows),
        labels=np.array(labels, dtype=np.int64),
        parts=np.array([part for _, _, part in rows], dtype=np.uint8),
        images=np.zeros((len(rows), 1, 1, 3), dtype=np.uint8),
        problems=(),
    )


def split_of(catalog: Catalog, **settings) -> Split:
    return make_split(catalog, **({"seed": 1, "labels_per_class": None, "labels": None} | settings))


def paths_of(catalog: Catalog, ids) -> set[str]:
    return {catalog.paths[row] for row in ids}


def counts_of(labels, num_classes: int) -> list[int]:
    return np.bincount(labels, minlength=num_classes).tolist()


def parts_of(split: Split) -> list[np.ndarray]:
    return [split.labeled, split.unlabeled, split.val.ids, split.test.ids]


TEN = {f"c{index}": 50 for index in range(10)}


def test_folders_with_test_and_val_are_taken_as_they_are() -> None:
    catalog = catalog_of(
        train={"cat": 5, "dog": 4, "unlabeled": 7}, val={"cat": 2}, test={"cat": 3, "dog": 1}
    )
    split = split_of(catalog)
    assert counts_of(split.labels, 2) == [5, 4]
    assert catalog.labels[split.labeled].tolist() == split.labels.tolist()
    assert paths_of(catalog, split.unlabeled) == {f"train/unlabeled/{n:04}.png" for n in range(7)}
    assert paths_of(catalog, split.val.ids) == {"val/cat/0000.png", "val/cat/0001.png"}
    assert counts_of(reveal(split.test)[1], 2) == [3, 1]
    assert len(split.hidden) == 0
    assert split.held_out == "the 4 images of test/"
    assert split.notes == ()


def test_without_test_the_val_part_stands_in_and_nothing_is_chosen_by_it() -> None:
    split = split_of(catalog_of(train={"cat": 5, "dog": 4}, val={"cat": 2, "dog": 1}))
    assert counts_of(reveal(split.test)[1], 2) == [2, 1]
    assert len(split.val) == 0
    assert len(split.labeled) == 9
    assert split.held_out == (
        "the 3 images of val/ (there is no test/; nothing in the run was chosen by them)"
    )


@pytest.mark.parametrize(
    ("layout", "phrase"),
    [
        ("csv", "the 2 images that the CSV puts in test"),
        ("digits", "the 2 images that the built-in set holds out"),
        ("cifar10-batches", "the 2 images of test_batch"),
        ("train-test-folders", "the 2 images of test/"),
    ],
)
def test_the_phrase_names_where_a_layout_keeps_its_test_part(layout: str, phrase: str) -> None:
    catalog = catalog_of(layout, train={"cat": 2, "dog": 2}, test={"cat": 1, "dog": 1})
    assert split_of(catalog).held_out == phrase


def test_with_neither_a_fifth_of_each_class_is_held_out() -> None:
    catalog = catalog_of(train={"cat": 100, "dog": 400, "eel": 3})
    split = split_of(catalog)
    assert counts_of(reveal(split.test)[1], 3) == [20, 80, 1]
    assert counts_of(split.labels, 3) == [80, 320, 2]
    assert split.held_out == "101 of your 503 labeled images, held out"
    assert split.notes == ()


def test_a_small_hold_out_is_called_rough_with_the_cure() -> None:
    split = split_of(catalog_of(train={"cat": 20, "dog": 20}))
    assert split.held_out == "8 of your 40 labeled images, held out"
    assert len(split.notes) == 1
    assert "rough" in split.notes[0]
    assert "folds=5 judges on all 40 labels, at the cost of five more runs" in split.notes[0]


def test_a_class_with_one_labeled_image_stays_in_training_and_is_told() -> None:
    catalog = catalog_of(train={"cat": 500, "dog": 1, "eel": 2})
    split = split_of(catalog)
    assert counts_of(split.labels, 3) == [400, 1, 1]
    assert counts_of(reveal(split.test)[1], 3) == [100, 0, 1]
    assert len(split.notes) == 1
    assert "'dog'" in split.notes[0]


def test_nothing_is_held_out_on_request_or_where_nothing_can_be() -> None:
    asked = split_of(catalog_of(train={"cat": 5, "dog": 5}), hold_out=0.0)
    assert len(asked.test) == 0
    assert asked.held_out == "none of the 10 labeled images"
    assert asked.notes == ()
    forced = split_of(catalog_of(train={"cat": 1, "dog": 1}))
    assert len(forced.labeled) == 2
    assert len(forced.notes) == 2


def test_hidden_labels_join_the_pool() -> None:
    catalog = catalog_of(train=TEN | {"unlabeled": 6}, test={"c0": 5})
    split = split_of(catalog, labels_per_class=4)
    assert counts_of(split.labels, 10) == [4] * 10
    assert len(split.unlabeled) == 460 + 6
    assert len(split.hidden) == 460
    assert set(split.hidden.ids) < set(split.unlabeled)
    ids, labels = reveal(split.hidden)
    assert (catalog.labels[ids] == labels).all()


def test_labels_are_held_out_of_the_whole_set_before_hiding() -> None:
    split = split_of(catalog_of(train=TEN), labels_per_class=4)
    assert counts_of(reveal(split.test)[1], 10) == [10] * 10
    assert counts_of(split.labels, 10) == [4] * 10
    assert len(split.unlabeled) == 360
    assert split.held_out == "100 of the 500 labeled images, held out before labels were hidden"


def test_val_per_class_is_taken_from_the_hidden_ones() -> None:
    catalog = catalog_of(train=TEN, test={"c0": 5})
    split = split_of(catalog, labels_per_class=4, val_per_class=3)
    assert counts_of(reveal(split.val)[1], 10) == [3] * 10
    assert counts_of(split.labels, 10) == [4] * 10
    assert len(split.unlabeled) == 430


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (0.5, [50, 5, 1]),
        (1.0, [100, 10, 2]),
        (0.001, [1, 1, 1]),
        (3, [1, 1, 1]),
        (30, [18, 10, 2]),  # `a` takes over what the others do not have
        (112, [100, 10, 2]),
    ],
)
def test_labels_is_a_share_by_class_or_a_number_in_all(labels: float, expected: list[int]) -> None:
    catalog = catalog_of(train={"a": 100, "b": 10, "c": 2}, test={"a": 1})
    split = split_of(catalog, labels=labels)
    assert counts_of(split.labels, 3) == expected
    assert len(split.labeled) + len(split.hidden) == 112


def test_a_number_of_labels_that_no_class_count_divides_is_even_within_one() -> None:
    catalog = catalog_of(train=TEN, test={"c0": 1})
    counts = counts_of(split_of(catalog, labels=47).labels, 10)
    assert sorted(counts) == [4] * 3 + [5] * 7
    assert counts != counts_of(split_of(catalog, labels=47, seed=2).labels, 10)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"labels_per_class": 7},
        {"labels": 0.3, "val_per_class": 5},
        {"labels": 33, "val_per_class": 1, "hold_out": 0.0},
    ],
)
@pytest.mark.parametrize("seed", [0, 5, -3])
def test_parts_do_not_overlap_and_nothing_gets_lost(settings: dict, seed: int) -> None:
    catalog = catalog_of(train=TEN | {"unlabeled": 30})
    split = split_of(catalog, seed=seed, **settings)
    together = np.concatenate(parts_of(split))
    assert sorted(together.tolist()) == list(range(len(catalog)))
    assert set(split.hidden.ids) <= set(split.unlabeled)
    for part in parts_of(split):
        assert (np.diff(part) > 0).all()


def test_a_draw_is_the_same_again_and_another_for_another_seed() -> None:
    catalog = catalog_of(train=TEN)
    first, again, other = (split_of(catalog, seed=seed, labels=0.3) for seed in (1, 1, 2))
    for a, b, c in zip(parts_of(first), parts_of(again), parts_of(other), strict=True):
        assert a.tolist() == b.tolist()
        if len(a):
            assert a.tolist() != c.tolist()


def test_the_draw_of_one_machine_is_the_draw_of_all() -> None:
    catalog = catalog_of(train={"cat": 9, "dog": 9}, test={"cat": 1})
    split = split_of(catalog, seed=7, labels_per_class=2)
    assert [catalog.paths[row] for row in split.labeled] == [
        "train/cat/0000.png",
        "train/cat/0003.png",
        "train/dog/0006.png",
        "train/dog/0008.png",
    ]


def test_a_draw_depends_on_no_other_class_and_no_other_part() -> None:
    small = catalog_of(train={"cat": 30, "dog": 30}, test={"cat": 1})
    large = catalog_of(train={"ant": 99, "cat": 30, "dog": 7, "unlabeled": 50}, test={"dog": 9})
    chosen = [
        {path for path in paths_of(c, split_of(c, labels_per_class=3).labeled) if "cat" in path}
        for c in (small, large)
    ]
    assert len(chosen[0]) == 3
    assert chosen[0] == chosen[1]


def test_label_sets_are_nested_and_share_their_hold_out() -> None:
    catalog = catalog_of(train=TEN)
    few, many = (split_of(catalog, labels_per_class=n, val_per_class=2) for n in (3, 20))
    assert set(few.labeled) < set(many.labeled)
    assert few.test.ids.tolist() == many.test.ids.tolist()
    assert few.val.ids.tolist() == many.val.ids.tolist()


def test_skipped_images_are_in_no_part_and_in_no_count() -> None:
    catalog = catalog_of(train={"cat": 6, "dog": 6, "unlabeled": 3}, test={"cat": 3})
    skip = ["train/cat/0001.png", "train/unlabeled/0002.png", "test/cat/0000.png"]
    split = split_of(catalog, skip=skip)
    assert not paths_of(catalog, np.concatenate(parts_of(split))) & set(skip)
    assert split.held_out == "the 2 images of test/"


def test_unlabeled_images_of_test_are_left_out_and_told() -> None:
    catalog = catalog_of(train={"cat": 2, "dog": 2}, test={"cat": 1, "unlabeled": 4})
    split = split_of(catalog)
    assert len(split.unlabeled) == 0
    assert split.notes == ("4 images of the val and test parts without a label: not used",)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"labels_per_class": 4, "labels": 0.5}, ["labels_per_class=4", "labels=0.5", "exclude"]),
        ({"labels_per_class": 0}, ["labels_per_class=0", "at least 1"]),
        ({"labels_per_class": 41}, ["labels_per_class=41", "'c0'", "50", "10 of them held out"]),
        ({"labels_per_class": 39, "val_per_class": 2}, ["39", "2 more", "val_per_class"]),
        ({"labels": 1.0, "val_per_class": 2}, ["labels=1.0", "40", "val_per_class"]),
        ({"labels": 0.0}, ["labels=0.0", "share"]),
        ({"labels": 1.5}, ["labels=1.5", "share"]),
        ({"labels": 9}, ["labels=9", "10, one a class"]),
        ({"labels": 401}, ["labels=401", "400"]),
        ({"val_per_class": 2}, ["val_per_class=2", "labels_per_class"]),
        ({"labels": 0.5, "val_per_class": -1}, ["val_per_class=-1"]),
        ({"hold_out": 1.0}, ["hold_out=1.0"]),
    ],
)
def test_impossible_settings_are_one_sentence_with_the_numbers(
    settings: dict, words: list[str]
) -> None:
    with pytest.raises(SettingError) as caught:
        split_of(catalog_of(train=TEN), **settings)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_folds_cover_the_labeled_images_exactly_once() -> None:
    catalog = catalog_of(train={"cat": 23, "dog": 9, "eel": 2, "unlabeled": 5})
    split = split_of(catalog, hold_out=0.0)
    folds = fold_splits(split, folds=5, seed=3)
    covered = np.concatenate([fold.test.ids for fold in folds])
    assert sorted(covered.tolist()) == split.labeled.tolist()
    assert sorted(len(fold.test) for fold in folds) == [6, 7, 7, 7, 7]
    for number, fold in enumerate(folds):
        assert sorted([*fold.labeled, *fold.test.ids]) == split.labeled.tolist()
        assert set(fold.labels) == {0, 1, 2}
        ids, labels = reveal(fold.test)
        assert (catalog.labels[ids] == labels).all()
        assert (catalog.labels[fold.labeled] == fold.labels).all()
        cats, dogs, _ = counts_of(labels, 3)
        assert cats in (4, 5)
        assert dogs in (1, 2)
        assert fold.unlabeled is split.unlabeled
        assert fold.hidden is split.hidden
        assert fold.val is split.val
        assert fold.held_out == (f"{len(ids)} of your 34 labeled images, fold {number + 1} of 5")


def test_folds_are_drawn_by_seed() -> None:
    split = split_of(catalog_of(train={"cat": 20, "dog": 20}), hold_out=0.0)
    first, again, other = (
        [fold.test.ids.tolist() for fold in fold_splits(split, folds=4, seed=seed)]
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("folds", "counts", "words"),
    [
        (1, {"cat": 5, "dog": 5}, "between 2 and the 10 labeled images"),
        (11, {"cat": 5, "dog": 5}, "folds=11"),
        (2, {"cat": 5, "dog": 1}, "class number 2 has a single one"),
    ],
)
def test_impossible_folds_are_one_sentence(folds: int, counts: dict, words: str) -> None:
    split = split_of(catalog_of(train=counts), hold_out=0.0)
    with pytest.raises(SettingError, match=words):
        fold_splits(split, folds=folds, seed=1)


def test_dms_shares_three_fifths_and_gives_each_peer_a_fifth_of_its_own() -> None:
    labels = np.repeat(np.arange(4), 25)
    a, b = dms_subsets(labels, seed=5)
    for label in range(4):
        of_class = labels == label
        assert (a & b & of_class).sum() == 15
        assert (a & ~b & of_class).sum() == 5
        assert (b & ~a & of_class).sum() == 5
    assert (a | b).all()


@pytest.mark.parametrize("per_class", [1, 2, 3, 4, 7])
def test_dms_keeps_every_class_for_both_and_the_peers_even(per_class: int) -> None:
    labels = np.tile(np.arange(10), per_class)
    a, b = dms_subsets(labels, seed=0)
    assert set(labels[a]) == set(labels[b]) == set(range(10))
    assert (a | b).all()
    assert a.sum() == b.sum()
    assert (per_class == 1) == (a.tolist() == b.tolist())


def test_dms_is_drawn_by_seed() -> None:
    labels = np.repeat(np.arange(3), 10)
    masks = [dms_subsets(labels, seed=seed)[0].tolist() for seed in (1, 1, 2)]
    assert masks[0] == masks[1] != masks[2]
