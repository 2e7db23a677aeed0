"""Which scenes are learned from, looked at and judged by, in whole blocks of images.

For images with one label each this is `splits`; no mask is read here.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dmt.core.random import hashed
from dmt.data.blocks import (
    Rest,
    find_blocks,
    in_groups,
    in_hash_order,
    num_from_end,
    rows_named,
)
from dmt.data.catalog import Catalog, Part
from dmt.data.hidden import HiddenMasks, ReadMask
from dmt.data.split_words import (
    note_on_no_block,
    notes_on_few_blocks,
    notes_on_unused,
    words_for_groups,
    words_for_held_out,
    words_for_test,
    words_for_val,
)
from dmt.data.splits import Ids, dms_subsets
from dmt.errors import DataError, SettingError


class GivenMasks:
    """The masks that training may read, and no others."""

    __slots__ = ("_ids", "_known", "_read")

    def __init__(self, ids: Ids, read: ReadMask) -> None:
        """Keep `ids` (int64, (N,), no two equal) and how to read their masks."""
        self._ids = np.array(ids, dtype=np.int64)
        self._ids.flags.writeable = False
        self._known = frozenset(self._ids.tolist())
        assert len(self._known) == len(self._ids), "no id twice"
        self._read = read

    @property
    def ids(self) -> Ids:
        """Whose masks these are: int64, (N,), read-only, in the order given."""
        return self._ids

    def __call__(self, id: int) -> NDArray[np.uint8]:
        """The mask of one of `ids`: uint8 (H, W), a class or 255 for pixels left out."""
        assert int(id) in self._known, "this mask was not given to training"
        return self._read(int(id))

    def restrict(self, ids: Ids) -> GivenMasks:
        """Those of these masks whose id is among `ids` (int64, any shape), in their own order."""
        return GivenMasks(self._ids[np.isin(self._ids, ids)], self._read)

    def hide(self, ids: Ids) -> HiddenMasks:
        """Those of these masks whose id is among `ids`, kept from training from now on."""
        return HiddenMasks(self.restrict(ids).ids, self._read)

    def __len__(self) -> int:
        return len(self._ids)


@dataclass(frozen=True, eq=False)
class MaskSplit:
    """Every image's part in a run. All ids are rows of the catalog, each in one part at most."""

    labeled: Ids
    """What training may use with masks, ascending, int64."""
    given: GivenMasks
    """The masks of `labeled`, and of no other image."""
    unlabeled: Ids
    """The pool, ascending, int64; images whose masks were hidden are among it."""
    hidden: HiddenMasks
    """Known but hidden masks of pool images; may be empty."""
    val: HiddenMasks
    """May be looked at during the run, for curves and choices; may be empty."""
    test: HiddenMasks
    """Looked at once, at the end; may be empty."""
    held_out: str
    """In words, where `test` comes from."""
    notes: tuple[str, ...]
    """What the user should be told."""


def block_ids(catalog: Catalog, group: str | None, block: int | None) -> NDArray[np.int64]:
    """Which block each image belongs to; images of one block are drawn and judged together.

    Args:
        catalog: the data set.
        group: a regular expression, searched for in the relative path without its suffix; what
            its first pair of brackets holds (without brackets: all it matches) is the group.
        block: so many consecutive images of a group, in natural order, are a block. None: the
            group is the block, or every image its own where there is no `group`.

    Returns:
        int64 (N,), blocks counted from 0 in the natural order of their first images.

    Raises:
        SettingError: `group` is no regular expression, or `block` is below 1.
        DataError: `group` is not found in a path.
    """
    return find_blocks(catalog, group, block).of


def make_mask_split(
    catalog: Catalog,
    read: ReadMask,
    *,
    seed: int,
    labels: float | int | None,
    labeled_list: Collection[str] | None = None,
    val_images: int = 0,
    hold_out: float = 0.2,
    test_group: Sequence[str] = (),
    group: str | None = None,
    block: int | None = None,
    skip: Collection[str] = (),
) -> MaskSplit:
    """Decide what is learned from, what is only looked at, and what the verdict rests on.

    The blocks (see `block_ids`) of the training images with masks are put into one order, by a
    hash of (seed, name). Masks to keep are taken from its front, of the last block its first
    images; the held-out part is taken from its end and `val_images` from just before that, as
    many whole blocks as come nearest to what was asked for. So sets of kept masks of growing size
    are nested, and the held-out part is the same for all of them. Images without a mask that lie
    in a block held out or set aside are not used.

    Args:
        catalog: the data set.
        read: reads the mask of a row; called by nobody before training or judging begins.
        seed: names the draw.
        labels: keep this share (a float in (0, 1], rounded, at least one) of the masks in
            training that are not held out, or this many (an int), and hide the others.
        labeled_list: keep the masks of these images and hide the others; relative paths with or
            without suffix, or stems. No block that holds one of them is held out or set aside.
        val_images: with hidden masks, set about this many images aside to look at.
        hold_out: share of the masks in training held out where there is no `test_group`, no test
            part and no val part; at least one block, and never the last.
        test_group: groups whose images are the test part and in no other.
        group, block: as in `block_ids`.
        skip: relative paths that no part may contain (images that cannot be read).

    Raises:
        SettingError: a count, share, group or name that does not fit the data, or settings that
            exclude each other.
        DataError: `group` is not found in a path, or no image to train on has a mask.
    """
    _check_settings(labels, labeled_list, val_images, hold_out, test_group, group)
    is_hiding = labels is not None or labeled_list is not None
    blocks = find_blocks(catalog, group, block)
    skipped = frozenset(skip)
    usable = np.array([path not in skipped for path in catalog.paths], dtype=np.bool_)
    in_group = in_groups(catalog, test_group, group)
    is_train = (catalog.parts == Part.TRAIN) & ~in_group
    has_mask = catalog.labels >= 0
    candidates = np.flatnonzero(usable & is_train & has_mask)
    if not len(candidates):
        raise DataError(
            "there is no image with a mask to train on" + ", but for test_group" * bool(test_group)
        )
    listed = rows_named(catalog, np.flatnonzero(is_train & has_mask), labeled_list or ())
    listed = np.intersect1d(listed, candidates)
    if labeled_list is not None and not len(listed):
        raise SettingError("data.labeled_list names no image that can be read: name one or more")
    test_ids, val_ids, held_out = _given_parts(catalog, usable & has_mask, in_group, test_group)
    rest = in_hash_order(blocks, candidates, listed, seed)
    reserved, can_fold = _joined([]), False
    if not held_out:
        test_ids, rest = _without_end(rest, hold_out * len(candidates))
        held_out = words_for_held_out(len(test_ids), len(candidates), is_hiding)
        reserved, can_fold = test_ids, not is_hiding
    aside, rest = _set_aside(rest, val_images)
    remaining = _joined([*rest.bound, *rest.loose])
    labeled = remaining if not is_hiding else listed
    if labels is not None:
        labeled = np.sort(_from_front(rest.loose, labels, len(aside)))
    hidden_ids = np.setdiff1d(remaining, labeled)
    is_reserved = np.isin(blocks.of, blocks.of[_joined([reserved, aside])])
    is_pool = usable & is_train & ~has_mask
    unlabeled = np.flatnonzero(is_pool & ~is_reserved)
    notes = _notes_on_unused(catalog, usable, in_group, is_pool & is_reserved)
    if len(test_ids):
        is_whole = block is None and group is not None
        num_blocks = len(np.unique(blocks.of[test_ids]))
        notes += notes_on_few_blocks(num_blocks, len(test_ids), is_whole, can_fold)
    elif hold_out:
        notes.append(note_on_no_block(len(candidates)))
    return MaskSplit(
        labeled=labeled,
        given=GivenMasks(labeled, read),
        unlabeled=_joined([hidden_ids, unlabeled]),
        hidden=HiddenMasks(hidden_ids, read),
        val=HiddenMasks(_joined([val_ids, aside]), read),
        test=HiddenMasks(test_ids, read),
        held_out=held_out,
        notes=tuple(notes),
    )


def fold_mask_splits(
    split: MaskSplit, *, folds: int, seed: int, blocks: Ids
) -> tuple[MaskSplit, ...]:
    """`folds` splits whose `test` parts cover the labeled images of `split` exactly once.

    Whole blocks are dealt out in the order of a hash of (seed, block), each to the fold that has
    the fewest images so far. Pool, hidden and val stay.

    Args:
        split: of all labels.
        folds: how many.
        seed: names the draw.
        blocks: int64 (N,), as from `block_ids`, for every row of the catalog.

    Raises:
        SettingError: fewer than two folds, or more folds than blocks of labeled images.
    """
    of = blocks[split.labeled]
    present, sizes = np.unique(of, return_counts=True)
    if folds < 2 or folds > len(present):
        unit = "labeled images" if len(present) == len(of) else "blocks of labeled images"
        raise SettingError(f"folds={folds} must lie between 2 and the {len(present)} {unit}")
    keys = np.array([hashed(seed, "folds", int(each)) for each in present], dtype=np.uint64)
    fold_of = np.empty(len(present), dtype=np.int64)
    filled = np.zeros(folds, dtype=np.int64)
    for index in np.argsort(keys, kind="stable"):
        fold_of[index] = np.argmin(filled)
        filled[fold_of[index]] += sizes[index]
    fold_of = fold_of[np.searchsorted(present, of)]
    return tuple(_fold(split, fold_of == fold, fold, folds, blocks) for fold in range(folds))


def dms_mask_subsets(ids: Ids, *, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The labeled images that each of two peers sees: difference-maximised sampling.

    As `splits.dms_subsets`, over all images alike: an image shows many classes.

    Args:
        ids: int64 (N,), the labeled images.
        seed: names the draw.

    Returns:
        Two masks, bool (N,): what peer a and peer b see; 60 % is shared, 20 % is each one's own.
    """
    return dms_subsets(np.zeros(len(ids), dtype=np.int64), seed=seed)


def _check_settings(
    labels: float | int | None,
    labeled_list: Collection[str] | None,
    val_images: int,
    hold_out: float,
    test_group: Sequence[str],
    group: str | None,
) -> None:
    if labels is not None and labeled_list is not None:
        raise SettingError(f"labels={labels} and labeled_list exclude each other: give one")
    if isinstance(labels, float) and not 0 < labels <= 1:
        raise SettingError(
            f"labels={labels} must be a share above 0 and up to 1.0, or a whole number of masks"
        )
    if val_images < 0:
        raise SettingError(f"data.val_images={val_images} must not be negative")
    if val_images and labels is None and labeled_list is None:
        raise SettingError(
            f"data.val_images={val_images} are taken from those whose masks are hidden, so it "
            "needs labels or labeled_list"
        )
    if not 0 <= hold_out < 1:
        raise SettingError(
            f"data.hold_out={hold_out} must be a share from 0 up to, not including, 1"
        )
    if test_group and group is None:
        raise SettingError(
            "data.test_group names groups, so it needs data.group=, a pattern that finds them in "
            "file names"
        )


def _joined(parts: Sequence[Ids]) -> Ids:
    return np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *parts]))


def _given_parts(
    catalog: Catalog,
    has_mask: NDArray[np.bool_],
    in_group: NDArray[np.bool_],
    test_group: Sequence[str],
) -> tuple[Ids, Ids, str]:
    """Test and val ids that nobody has to draw, and in words where the test part comes from.

    The words are empty where the test part has yet to be held out.
    """
    val_ids = np.flatnonzero(has_mask & ~in_group & (catalog.parts == Part.VAL))
    if test_group:
        test_ids = np.flatnonzero(has_mask & in_group)
        if not len(test_ids):
            raise SettingError(f"no image of data.test_group={','.join(test_group)} has a mask")
        return test_ids, val_ids, words_for_groups(test_group, len(test_ids))
    test_ids = np.flatnonzero(has_mask & (catalog.parts == Part.TEST))
    if len(test_ids):
        return test_ids, val_ids, words_for_test(catalog.layout, len(test_ids))
    if len(val_ids):
        return val_ids, test_ids, words_for_val(catalog.layout, len(val_ids))
    return test_ids, val_ids, ""


def _without_end(rest: Rest, wanted: float) -> tuple[Ids, Rest]:
    """About `wanted` images in whole blocks from the end, at least one block and never the last."""
    most = len(rest.loose) - (not rest.bound)
    num = min(most, num_from_end(rest.loose, wanted))
    kept = len(rest.loose) - max(num, 0)
    return _joined(rest.loose[kept:]), rest._replace(loose=rest.loose[:kept])


def _set_aside(rest: Rest, wanted: int) -> tuple[Ids, Rest]:
    """About `wanted` images in whole blocks from the end, to be looked at."""
    available = sum(map(len, rest.loose))
    if wanted > available:
        raise SettingError(
            f"data.val_images={wanted}, but there are {available} images whose masks can be set "
            "aside"
        )
    kept = len(rest.loose) - num_from_end(rest.loose, wanted)
    return _joined(rest.loose[kept:]), rest._replace(loose=rest.loose[:kept])


def _from_front(units: list[Ids], labels: float | int, num_aside: int) -> Ids:
    """The images that keep their masks; `num_aside` were set aside from the same ones before."""
    images = np.concatenate([np.zeros(0, dtype=np.int64), *units])
    num = len(images) + num_aside
    keep = max(1, math.floor(labels * num + 0.5)) if isinstance(labels, float) else labels
    if not 1 <= keep <= len(images):
        aside = f", {num_aside} of them set aside by val_images" if num_aside else ""
        raise SettingError(
            f"labels={labels} means {keep} masks, but it must be 1 to {len(images)}: {num} images "
            f"with masks are left to train on{aside}"
        )
    return images[:keep]


def _notes_on_unused(
    catalog: Catalog,
    usable: NDArray[np.bool_],
    in_group: NDArray[np.bool_],
    is_reserved: NDArray[np.bool_],
) -> list[str]:
    lacks = usable & (catalog.labels < 0)
    is_val_or_test = ~in_group & (catalog.parts != Part.TRAIN)
    is_displaced = usable & ~lacks & ~in_group & (catalog.parts == Part.TEST) & in_group.any()
    unused = {
        "of the val and test parts without a mask": lacks & is_val_or_test,
        "of test_group without a mask": lacks & in_group,
        "of the test part that are not of test_group": is_displaced,
        "without a mask, in blocks that are held out or set aside": is_reserved,
    }
    return [note for which, rows in unused.items() for note in notes_on_unused(rows.sum(), which)]


def _fold(
    split: MaskSplit, is_test: NDArray[np.bool_], fold: int, folds: int, blocks: Ids
) -> MaskSplit:
    labeled, held = split.labeled[~is_test], split.labeled[is_test]
    # Frames beside the held-out ones would give them away.
    is_apart = ~np.isin(blocks[split.unlabeled], blocks[held])
    unlabeled = split.unlabeled[is_apart]
    return replace(
        split,
        labeled=labeled,
        given=split.given.restrict(labeled),
        unlabeled=unlabeled,
        hidden=split.hidden.restrict(unlabeled),
        test=split.given.hide(held),
        held_out=f"{len(held)} of your {len(is_test)} labeled images, fold {fold + 1} of {folds}",
    )
