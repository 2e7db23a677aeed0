"""Which images are learned from, looked at and judged by. Reading them is `catalog` and `pool`."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dmt.core.random import hashed
from dmt.data.catalog import Catalog, Part
from dmt.data.hidden import HiddenLabels
from dmt.data.split_words import (
    notes_on_hold_out,
    notes_on_parts,
    words_for_held_out,
    words_for_test,
    words_for_val,
)
from dmt.errors import SettingError

Ids = NDArray[np.int64]


class Kept(Protocol):
    """Labels or masks that are kept from training."""

    @property
    def ids(self) -> Ids:
        """Whose they are."""
        ...

    def __len__(self) -> int: ...


class Parts(Protocol):
    """What a split of images and a split of scenes have in common."""

    @property
    def labeled(self) -> Ids: ...
    @property
    def unlabeled(self) -> Ids: ...
    @property
    def hidden(self) -> Kept: ...
    @property
    def val(self) -> Kept: ...
    @property
    def test(self) -> Kept: ...
    @property
    def held_out(self) -> str: ...
    @property
    def notes(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, eq=False)
class Split:
    """Every image's part in a run. All ids are rows of the catalog, each in one part at most."""

    labeled: Ids
    """What training may use with labels, ascending, int64."""
    labels: Ids
    """Class of each of `labeled`, int64, aligned."""
    unlabeled: Ids
    """The pool, ascending, int64; images whose labels were hidden are among it."""
    hidden: HiddenLabels
    """Known but hidden labels of pool images; may be empty."""
    val: HiddenLabels
    """May be looked at during the run, for curves and choices; may be empty."""
    test: HiddenLabels
    """Looked at once, at the end; may be empty."""
    held_out: str
    """In words, where `test` comes from."""
    notes: tuple[str, ...]
    """What the user should be told."""


def make_split(
    catalog: Catalog,
    *,
    seed: int,
    labels_per_class: int | None,
    labels: float | int | None,
    val_per_class: int = 0,
    hold_out: float = 0.2,
    skip: Collection[str] = (),
) -> Split:
    """Decide what is learned from, what is only looked at, and what the verdict rests on.

    Each class is put into one order, by a hash of (seed, path). Labels to keep are taken from its
    front, the held-out part from its end and `val_per_class` from just before that. So which
    images are chosen depends on no other file's name and on no file's position, label sets of
    growing size are nested, and the held-out part is the same for all of them.

    Args:
        catalog: the data set.
        seed: names the draw.
        labels_per_class: keep this many labels a class and hide the others; None hides nothing.
        labels: keep this share (a float in (0, 1]) of the labels in training, by class and at
            least one a class, or this many in all (an int), as evenly as the classes allow.
        val_per_class: with hidden labels, set this many images a class aside to look at.
        hold_out: share of the labels in training held out where there is no test/ and no val/.
        skip: relative paths that no part may contain (images that cannot be read).

    Raises:
        SettingError: a count or share out of range, two settings that exclude each other, or
            more labels asked for than there are.
    """
    _check_settings(labels_per_class, labels, val_per_class, hold_out)
    is_hiding = labels_per_class is not None or labels is not None
    usable = _usable(catalog, skip)
    is_labeled = usable & (catalog.labels >= 0)
    orders = [
        _hash_order(
            catalog, np.flatnonzero(is_labeled & (catalog.parts == Part.TRAIN) & member), seed
        )
        for member in (catalog.labels == index for index in range(len(catalog.classes)))
    ]
    counts = [len(order) for order in orders]
    test_ids = np.flatnonzero(is_labeled & (catalog.parts == Part.TEST))
    val_ids = np.flatnonzero(is_labeled & (catalog.parts == Part.VAL))
    notes = notes_on_parts(catalog, usable)
    if len(test_ids):
        held_out = words_for_test(catalog.layout, len(test_ids))
    elif len(val_ids):
        test_ids, val_ids = val_ids, test_ids
        held_out = words_for_val(catalog.layout, len(test_ids))
    else:
        ends = _held_out_counts(counts, hold_out)
        test_ids = _joined([order[len(order) - n :] for order, n in zip(orders, ends, strict=True)])
        orders = [order[: len(order) - n] for order, n in zip(orders, ends, strict=True)]
        held_out = words_for_held_out(len(test_ids), sum(counts), is_hiding)
        notes += notes_on_hold_out(catalog, counts, len(test_ids), hold_out, is_hiding)
    if is_hiding:
        keep = _kept_counts(catalog, orders, counts, labels_per_class, labels, val_per_class, seed)
        rest = [order[n:] for order, n in zip(orders, keep, strict=True)]
        orders = [order[:n] for order, n in zip(orders, keep, strict=True)]
        aside = [order[len(order) - val_per_class :] for order in rest]
        val_ids = _joined([val_ids, *aside])
        hidden_ids = _joined([order[: len(order) - val_per_class] for order in rest])
    else:
        hidden_ids = _joined([])
    labeled = _joined(orders)
    unlabeled = np.flatnonzero(usable & (catalog.labels < 0) & (catalog.parts == Part.TRAIN))
    return Split(
        labeled=labeled,
        labels=catalog.labels[labeled],
        unlabeled=_joined([hidden_ids, unlabeled]),
        hidden=HiddenLabels(hidden_ids, catalog.labels[hidden_ids]),
        val=HiddenLabels(val_ids, catalog.labels[val_ids]),
        test=HiddenLabels(test_ids, catalog.labels[test_ids]),
        held_out=held_out,
        notes=tuple(notes),
    )


def fold_splits(split: Split, *, folds: int, seed: int) -> tuple[Split, ...]:
    """`folds` splits whose `test` parts cover the labeled images of `split` exactly once.

    Each class is dealt out in the order of a hash of (seed, id), going on with the next fold
    where the class before stopped, so sizes differ by one at most. Pool, hidden and val stay.

    Raises:
        SettingError: fewer than two folds, more folds than labeled images, or a class with a
            single labeled image (the fold that holds it out could not learn the class).
    """
    num = len(split.labeled)
    if folds < 2 or folds > num:
        raise SettingError(f"folds={folds} must lie between 2 and the {num} labeled images")
    fold_of = np.empty(num, dtype=np.int64)
    dealt = 0
    for label in np.unique(split.labels):
        members = np.flatnonzero(split.labels == label)
        if len(members) < 2:
            raise SettingError(
                f"folds={folds} needs two labeled images of every class, but class number "
                f"{label + 1} has a single one; label another one or leave `folds` out"
            )
        keys = [hashed(seed, "folds", int(split.labeled[row])) for row in members]
        order = members[np.argsort(np.array(keys, dtype=np.uint64), kind="stable")]
        fold_of[order] = (dealt + np.arange(len(order))) % folds
        dealt += len(order)
    return tuple(_fold(split, fold_of == fold, fold, folds) for fold in range(folds))


def dms_subsets(labels: Ids, *, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The labeled images that each of two peers sees: difference-maximised sampling.

    About 60 % of every class is shared and 20 % goes to each peer alone, so that each sees 80 %
    (DMT, arXiv 2004.08514). A class too small for that shares at least one image; an odd one out
    goes to the two peers in turn.

    Args:
        labels: int64, (N,), the class of every labeled image.
        seed: names the draw.

    Returns:
        Two masks, bool, (N,): what peer a and peer b see. Every class is in both.
    """
    sees_a = np.zeros(len(labels), dtype=np.bool_)
    sees_b = np.zeros(len(labels), dtype=np.bool_)
    is_a_next = bool(hashed(seed, "dms") & 1)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        keys = np.array([hashed(seed, "dms", int(row)) for row in members], dtype=np.uint64)
        order = members[np.argsort(keys, kind="stable")]
        num_shared = max(1, _rounded(0.6 * len(order)))
        own = order[num_shared:]
        num_a = len(own) // 2
        if len(own) % 2:
            num_a += is_a_next
            is_a_next = not is_a_next
        sees_a[order[:num_shared]] = sees_b[order[:num_shared]] = True
        sees_a[own[:num_a]] = True
        sees_b[own[num_a:]] = True
    return sees_a, sees_b


def _check_settings(
    labels_per_class: int | None, labels: float | int | None, val_per_class: int, hold_out: float
) -> None:
    if labels_per_class is not None and labels is not None:
        raise SettingError(
            f"labels_per_class={labels_per_class} and labels={labels} exclude each other: give one"
        )
    if labels_per_class is not None and labels_per_class < 1:
        raise SettingError(f"labels_per_class={labels_per_class} must be at least 1")
    if isinstance(labels, float) and not 0 < labels <= 1:
        raise SettingError(
            f"labels={labels} must be a share above 0 and up to 1.0, or a whole number of labels"
        )
    if val_per_class < 0:
        raise SettingError(f"val_per_class={val_per_class} must not be negative")
    if val_per_class and labels_per_class is None and labels is None:
        raise SettingError(
            f"val_per_class={val_per_class} takes its images from the hidden labels, so it needs "
            "labels_per_class or labels"
        )
    if not 0 <= hold_out < 1:
        raise SettingError(f"hold_out={hold_out} must be a share from 0 up to, not including, 1")


def _usable(catalog: Catalog, skip: Collection[str]) -> NDArray[np.bool_]:
    skipped, usable = frozenset(skip), np.ones(len(catalog), dtype=np.bool_)
    # Of a large pool none: what cannot be read of it is found, and left out, where it is labeled.
    told = catalog.paths[: catalog.num_told]
    usable[: len(told)] = [path not in skipped for path in told]
    return usable


def _hash_order(catalog: Catalog, ids: Ids, seed: int) -> Ids:
    keys = [hashed(seed, "split", catalog.paths[row]) for row in ids]
    return ids[np.argsort(np.array(keys, dtype=np.uint64), kind="stable")]


def _joined(parts: list[Ids]) -> Ids:
    return np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *parts]))


def _rounded(value: float) -> int:
    return math.floor(value + 0.5)


def _held_out_counts(counts: list[int], hold_out: float) -> list[int]:
    """At least one image of each class, and never the last."""
    if hold_out == 0:
        return [0] * len(counts)
    return [min(max(num - 1, 0), max(1, _rounded(hold_out * num))) for num in counts]


def _kept_counts(
    catalog: Catalog,
    orders: list[Ids],
    counts: list[int],
    labels_per_class: int | None,
    labels: float | int | None,
    val_per_class: int,
    seed: int,
) -> list[int]:
    """How many labels each class keeps, `orders` being what was not held out of `counts`."""
    sizes = [len(order) for order in orders]
    if isinstance(labels, float):
        keep = [min(size, max(1, _rounded(labels * size))) for size in sizes]
    elif labels is not None:
        keep = _evenly([size - val_per_class for size in sizes], labels, catalog.classes, seed)
    else:
        assert labels_per_class is not None, "called only where labels are hidden"
        keep = [labels_per_class] * len(sizes)
    setting = f"labels={labels}" if labels_per_class is None else f"{labels_per_class=}"
    for name, wanted, size, count in zip(catalog.classes, keep, sizes, counts, strict=True):
        if wanted + val_per_class > size:
            aside = f" and {val_per_class} more are wanted by val_per_class" * bool(val_per_class)
            raise SettingError(
                f"{setting} wants {wanted} labels of class {name!r}{aside}, but it has {count} "
                f"labeled images to train on, {count - size} of them held out; ask for fewer"
            )
    return keep


def _evenly(rooms: list[int], total: int, classes: tuple[str, ...], seed: int) -> list[int]:
    """`total` over the classes, as evenly as their room allows, none of them left empty."""
    available = sum(max(room, 0) for room in rooms)
    if not len(rooms) <= total <= available:
        raise SettingError(
            f"labels={total} must lie between {len(rooms)}, one a class, and the {available} "
            "labels there are to train on"
        )
    level = 0
    while sum(min(max(room, 0), level + 1) for room in rooms) <= total and level < total:
        level += 1
    keep = [min(max(room, 0), level) for room in rooms]
    extra = [index for index, room in enumerate(rooms) if room > level]
    extra.sort(key=lambda index: hashed(seed, "remainder", index))
    for index in extra[: total - sum(keep)]:
        keep[index] += 1
    return keep


def _fold(split: Split, is_test: NDArray[np.bool_], fold: int, folds: int) -> Split:
    num = len(split.labels)
    return replace(
        split,
        labeled=split.labeled[~is_test],
        labels=split.labels[~is_test],
        test=HiddenLabels(split.labeled[is_test], split.labels[is_test]),
        held_out=f"{is_test.sum()} of your {num} labeled images, fold {fold + 1} of {folds}",
    )
