"""Splits of scenes: whole blocks, exact counts, nested sets, and nobody in two parts."""

from itertools import pairwise

import numpy as np
import pytest
from films import DRIVE, FILMS, catalog_of, parts_of, paths_of, split_of

from dmt.data.catalog import Catalog, MaskFiles, Part
from dmt.data.mask_splits import block_ids
from dmt.data.masks import Coding
from dmt.errors import DataError, SettingError


def test_parts_on_disk_are_taken_as_they_are() -> None:
    catalog = catalog_of(train={"a": 5, "u-": 4}, val={"b": 2}, test={"c": 30, "v-": 3})
    split = split_of(catalog)
    assert [len(part) for part in parts_of(split)] == [5, 4, 2, 30]
    assert split.given.ids.tolist() == split.labeled.tolist()
    assert len(split.hidden) == 0
    assert split.held_out == "the 30 images of test/"
    assert split.notes == ("3 images of the val and test parts without a mask: not used",)


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ("voc", "the 25 images of val.txt (there is no test.txt; nothing in the run was chosen"),
        ("cityscapes", "the 25 images of val/ (no mask is in test/; nothing in the run was chosen"),
        ("image-mask-folders", "the 25 images of val/ (there is no test/; nothing"),
    ],
)
def test_without_masks_in_test_the_val_part_stands_in(layout: str, words: str) -> None:
    catalog = catalog_of(layout, train={"a": 5}, val={"b": 25}, test={"v-": 2})
    split = split_of(catalog)
    assert [len(part) for part in parts_of(split)] == [5, 0, 0, 25]
    assert split.held_out.startswith(words)


def test_with_neither_a_fifth_is_held_out() -> None:
    split = split_of(catalog_of(train={"a": 150, "u-": 7}))
    assert [len(part) for part in parts_of(split)] == [120, 7, 0, 30]
    assert split.held_out == "30 of your 150 labeled images, held out"
    assert split.notes == ()


def test_nothing_is_held_out_on_request_or_where_all_is_one_block() -> None:
    catalog = catalog_of(train={"a": 9})
    asked = split_of(catalog, hold_out=0.0)
    assert [len(part) for part in parts_of(asked)] == [9, 0, 0, 0]
    assert asked.notes == ()
    forced = split_of(catalog, group=DRIVE)
    assert len(forced.test) == 0
    assert forced.held_out == "none of the 9 labeled images"
    assert "no verdict" in forced.notes[0]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "10 images held out, so the verdict will be rough: folds=5"),
        ({"labels": 0.5}, "10 images held out, so the verdict will be rough: more labeled"),
        ({"block": 5}, "10 images in 2 blocks held out, so the verdict will be rough: folds=5"),
        ({"group": DRIVE}, "25 images in 1 block held out, so the verdict will be rough: block=N"),
    ],
)
def test_a_verdict_on_few_blocks_is_called_rough(settings: dict, words: str) -> None:
    split = split_of(catalog_of(train={"a": 25, "b": 25}), **settings)
    assert len(split.notes) == 1
    assert split.notes[0].startswith(words)


@pytest.mark.parametrize(
    ("labels", "expected"), [(0.125, 10), (1.0, 80), (0.001, 1), (1, 1), (17, 17), (80, 80)]
)
@pytest.mark.parametrize("block", [None, 7])
def test_the_number_of_masks_is_exact_and_the_others_join_the_pool(
    labels: float, expected: int, block: int | None
) -> None:
    catalog = catalog_of(train={"a": 80, "u-": 6}, test={"t": 3})
    split = split_of(catalog, labels=labels, block=block)
    assert len(split.labeled) == len(split.given) == expected
    assert len(split.hidden) == 80 - expected
    assert len(split.unlabeled) == 86 - expected
    assert set(split.hidden.ids) <= set(split.unlabeled)


def test_masks_are_held_out_of_the_whole_set_before_hiding() -> None:
    split = split_of(catalog_of(train={"a": 200}), labels=0.1)
    assert [len(part) for part in parts_of(split)] == [16, 144, 0, 40]
    assert split.held_out == "40 of the 200 labeled images, held out before labels were hidden"


SETTINGS = [
    {},
    {"labels": 7},
    {"labels": 0.3, "val_images": 11},
    {"labels": 20, "val_images": 9, "block": 4, "group": DRIVE},
    {"labels": 5, "group": DRIVE},
    {"labels": 0.5, "group": DRIVE, "block": 6, "test_group": ["b"]},
    {"labeled_list": ["a_0", "c_3"], "block": 5, "val_images": 10},
]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("has_parts", [False, True])
def test_no_image_is_in_two_parts_and_none_gets_lost(settings: dict, has_parts: bool) -> None:
    catalog = catalog_of(
        train=FILMS | {"u-": 9}, **({"val": {"v": 4}, "test": {"t": 5}} if has_parts else {})
    )
    for seed in range(-3, 30):
        split = split_of(catalog, seed=seed, **settings)
        together = np.concatenate(parts_of(split))
        assert len(set(together.tolist())) == len(together)
        for part in parts_of(split):
            assert (np.diff(part) > 0).all()
        assert set(split.hidden.ids) <= set(split.unlabeled)
        assert split.given.ids.tolist() == split.labeled.tolist()
        lost = set(range(len(catalog))) - set(together.tolist())
        # Without masks, in a block held out; or of the test part that `test_group` replaces.
        for row in lost:
            assert catalog.labels[row] < 0 or "test_group" in settings
            assert catalog.parts[row] != Part.VAL


@pytest.mark.parametrize("settings", [each for each in SETTINGS if each])
def test_held_out_and_val_parts_are_whole_blocks(settings: dict) -> None:
    catalog = catalog_of(train=FILMS)
    blocks = block_ids(catalog, settings.get("group"), settings.get("block"))
    for seed in range(30):
        split = split_of(catalog, seed=seed, **settings)
        for part in (split.test.ids, split.val.ids):
            inside = np.isin(blocks, blocks[part])
            assert np.flatnonzero(inside).tolist() == sorted(part.tolist())


def test_kept_masks_are_whole_blocks_but_for_the_first_images_of_the_last() -> None:
    catalog = catalog_of(train=FILMS)
    blocks = block_ids(catalog, DRIVE, 8)
    number = [int(path.split("_")[1].split(".")[0]) for path in catalog.paths]
    for seed in range(30):
        split = split_of(catalog, seed=seed, labels=21, group=DRIVE, block=8)
        assert len(split.labeled) == 21
        num_cut = 0
        for block in np.unique(blocks[split.labeled]):
            members = np.flatnonzero(blocks == block)
            kept = sorted(number[row] for row in members if row in split.labeled)
            assert kept == sorted(number[row] for row in members)[: len(kept)]
            num_cut += len(kept) < len(members)
        assert num_cut <= 1


@pytest.mark.parametrize("block", [None, 6])
def test_sets_of_kept_masks_are_nested_and_share_their_hold_out(block: int | None) -> None:
    catalog = catalog_of(train=FILMS)
    for seed in range(10):
        splits = [
            split_of(catalog, seed=seed, labels=labels, val_images=12, block=block)
            for labels in (1, 5, 0.2, 30, 50)
        ]
        for few, many in pairwise(splits):
            assert set(few.labeled) < set(many.labeled)
            assert few.test.ids.tolist() == many.test.ids.tolist()
            assert few.val.ids.tolist() == many.val.ids.tolist()


def test_a_draw_is_the_same_again_and_another_for_another_seed() -> None:
    catalog = catalog_of(train=FILMS)
    first, again, other = (
        split_of(catalog, seed=seed, labels=0.3, val_images=9) for seed in (1, 1, 2)
    )
    for a, b, c in zip(parts_of(first), parts_of(again), parts_of(other), strict=True):
        assert a.tolist() == b.tolist() != c.tolist()


def test_the_draw_of_one_machine_is_the_draw_of_all() -> None:
    catalog = catalog_of(train={"a": 30}, test={"t": 1})
    split = split_of(catalog, seed=7, labels=3)
    assert [catalog.paths[row] for row in split.labeled] == [
        "train/images/a_22.png",
        "train/images/a_24.png",
        "train/images/a_29.png",
    ]


def test_a_draw_depends_on_no_other_part_and_few_other_images() -> None:
    small = catalog_of(train={"a": 30}, test={"t": 1})
    large = catalog_of(train={"a": 30, "u-": 50}, val={"v": 3}, test={"s": 9})
    chosen = [paths_of(c, split_of(c, labels=4).labeled) for c in (small, large)]
    assert chosen[0] == chosen[1]


def test_a_test_group_is_in_no_other_part() -> None:
    catalog = catalog_of(train=FILMS | {"bu-": 3, "u-": 2}, val={"b": 2}, test={"t": 5})
    split = split_of(catalog, group=r"images/([abctu])", test_group=["b"], labels=0.5)
    assert {path.split("/")[2][0] for path in paths_of(catalog, split.test.ids)} == {"b"}
    others = np.concatenate([split.labeled, split.unlabeled, split.val.ids])
    assert not any("/b" in path for path in paths_of(catalog, others))
    assert len(split.test) == 32
    assert len(split.labeled) == 33  # half of a and c, rounded up
    assert split.held_out == "the 32 images of group b"
    assert any("3 images of test_group without a mask" in note for note in split.notes)
    assert any("5 images of the test part that are not of test_group" in n for n in split.notes)


def test_each_of_three_films_can_be_left_out_in_turn() -> None:
    catalog = catalog_of(train=FILMS)
    for film, count in FILMS.items():
        split = split_of(catalog, labels=0.125, group=DRIVE, block=5, test_group=[film])
        assert len(split.test) == count
        assert len(split.labeled) == int((95 - count) / 8 + 0.5)
        assert split.held_out == f"the {count} images of group {film}"


def test_listed_images_keep_their_masks() -> None:
    catalog = catalog_of(train={"a": 20, "u-": 2}, test={"t": 1})
    names = ["train/images/a_3.png", "train/images/a_4", "a_5", "a_3"]
    split = split_of(catalog, labeled_list=names)
    assert paths_of(catalog, split.labeled) == {f"train/images/a_{n}.png" for n in (3, 4, 5)}
    assert len(split.hidden) == 17
    assert len(split.unlabeled) == 19


def test_listed_images_are_never_held_out_nor_set_aside() -> None:
    catalog = catalog_of(train={"a": 20})
    blocks = block_ids(catalog, None, 4)
    for seed in range(20):
        split = split_of(catalog, seed=seed, labeled_list=["a_0", "a_9"], block=4, val_images=4)
        assert paths_of(catalog, split.labeled) == {"train/images/a_0.png", "train/images/a_9.png"}
        assert (len(split.test), len(split.val)) == (4, 4)
        assert not set(blocks[split.labeled]) & set(blocks[[*split.test.ids, *split.val.ids]])


def test_a_listed_image_that_cannot_be_read_is_passed_over() -> None:
    catalog = catalog_of(train={"a": 9}, test={"t": 1})
    skip = ["train/images/a_1.png"]
    split = split_of(catalog, labeled_list=["a_1", "a_2"], skip=skip)
    assert paths_of(catalog, split.labeled) == {"train/images/a_2.png"}
    with pytest.raises(SettingError, match="no image that can be read"):
        split_of(catalog, labeled_list=["a_1"], skip=skip)


def test_skipped_images_are_in_no_part_and_in_no_count() -> None:
    catalog = catalog_of(train={"a": 6, "u-": 3}, test={"t": 3})
    skip = ["train/images/a_1.png", "train/images/u_2x.png", "test/images/t_0.png"]
    split = split_of(catalog, skip=skip)
    assert not paths_of(catalog, np.concatenate(parts_of(split))) & set(skip)
    assert split.held_out == "the 2 images of test/"


def test_images_without_a_mask_in_a_held_out_film_are_left_out() -> None:
    catalog = catalog_of(train={"a": 9, "a-": 5, "b": 9, "b-": 5})
    split = split_of(catalog, group=DRIVE)
    assert len(split.unlabeled) == 5
    films = [
        {path.split("/")[2][0] for path in paths_of(catalog, part)} for part in parts_of(split)
    ]
    assert films[0] == films[1] != films[3]
    assert "5 images without a mask, in blocks that are held out" in split.notes[0]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"labels": 0.5, "labeled_list": ["a_1"]}, ["labels=0.5", "labeled_list", "exclude"]),
        ({"labels": 0.0}, ["labels=0.0", "share"]),
        ({"labels": 1.5}, ["labels=1.5", "share"]),
        ({"labels": 0}, ["labels=0", "1 to 76"]),
        ({"labels": 77}, ["labels=77", "1 to 76"]),
        ({"labels": 70, "val_images": 10}, ["labels=70", "1 to 66", "10 of them", "val_images"]),
        ({"labels": 1.0, "val_images": 1}, ["labels=1.0", "76 masks", "1 to 75"]),
        ({"labels": 5, "val_images": 77}, ["val_images=77", "76"]),
        ({"val_images": 2}, ["val_images=2", "labels or labeled_list"]),
        ({"labels": 2, "val_images": -1}, ["val_images=-1"]),
        ({"hold_out": 1.0}, ["hold_out=1.0"]),
        ({"test_group": ["a"]}, ["test_group", "group="]),
        ({"test_group": ["q"], "group": DRIVE}, ["'q'", "a, b, c, u"]),
        ({"test_group": ["u"], "group": DRIVE}, ["test_group=u", "has a mask"]),
        ({"labeled_list": ["a_77"]}, ["labeled_list", "a_77"]),
        ({"labeled_list": ["u_0x"]}, ["labeled_list", "u_0x", "mask"]),
        ({"labeled_list": []}, ["labeled_list", "no image"]),
    ],
)
def test_impossible_settings_are_one_sentence_with_the_numbers(
    settings: dict, words: list[str]
) -> None:
    with pytest.raises(SettingError) as caught:
        split_of(catalog_of(train=FILMS | {"u-": 3}), **settings)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_a_stem_that_fits_two_images_is_refused_and_a_path_is_not() -> None:
    catalog = catalog_of(train={"a": 3}, test={"t": 1})
    double = Catalog(
        name="two",
        layout="split-lists",
        root=None,
        classes=("road", "sky"),
        paths=("one/x.png", "two/x.png"),
        labels=np.zeros(2, dtype=np.int64),
        parts=np.zeros(2, dtype=np.uint8),
        images=catalog.images,
        problems=(),
        masks=MaskFiles(("one/x.png", "two/x.png"), Coding(2)),
    )
    with pytest.raises(SettingError, match=r"fits 2 images, such as one/x.png and two/x.png"):
        split_of(double, labeled_list=["x"])
    assert split_of(double, labeled_list=["two/x"], hold_out=0.0).labeled.tolist() == [1]


def test_many_groups_are_named_up_to_ten() -> None:
    catalog = catalog_of(train=dict.fromkeys("abcdefghijkl", 1))
    with pytest.raises(SettingError, match=r"a, b, c, d, e, f, g, h, i, j, …$"):
        split_of(catalog, group=DRIVE, test_group=["z"])


def test_no_mask_to_train_on_is_an_error() -> None:
    with pytest.raises(DataError, match="no image with a mask to train on"):
        split_of(catalog_of(train={"u-": 3}, test={"t": 3}))
    with pytest.raises(DataError, match="but for test_group"):
        split_of(catalog_of(train={"a": 3}), group=DRIVE, test_group=["a"])
