"""What a split is called in words: where its held-out part is from, what to tell of it.

How it is drawn is `splits`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dmt.data.catalog import Catalog, Part

_ROUGH = 100  # held-out images below which an interval is too wide to tell much
_ROUGH_BLOCKS = 20  # the same of scenes, each of which holds thousands of labels


def _images(num: int) -> str:
    return "1 image" if num == 1 else f"{num} images"


def words_for_test(layout: str, num: int) -> str:
    """Where the `num` held-out images come from, if there is a test part."""
    origin = {
        "csv": "that the CSV puts in test",
        "digits": "that the built-in set holds out",
        "shapes": "that the built-in set holds out",
        "voc": "of test.txt",
        "split-lists": "of test.txt",
        "cifar10-batches": "of test_batch",
    }
    return f"the {_images(num)} {origin.get(layout, 'of test/')}"


def words_for_val(layout: str, num: int) -> str:
    """Where the `num` held-out images come from, if the val part stands in for test."""
    lists = ("of val.txt", "there is no test.txt")
    origin = {
        "csv": ("that the CSV puts in val", "none is in test"),
        "voc": lists,
        "split-lists": lists,
        "cityscapes": ("of val/", "no mask is in test/"),
    }
    where, other = origin.get(layout, ("of val/", "there is no test/"))
    return f"the {_images(num)} {where} ({other}; nothing in the run was chosen by them)"


def words_for_held_out(num: int, num_labeled: int, is_hiding: bool) -> str:
    """Where the `num` held-out images come from, if they are taken from the labeled ones."""
    if num == 0:
        return f"none of the {num_labeled} labeled images"
    if is_hiding:
        return f"{num} of the {num_labeled} labeled images, held out before labels were hidden"
    return f"{num} of your {num_labeled} labeled images, held out"


def notes_on_parts(catalog: Catalog, usable: NDArray[np.bool_]) -> list[str]:
    """What to tell of images that no part of a run uses; `usable` is bool, (N,)."""
    unused = int((usable & (catalog.labels < 0) & (catalog.parts != Part.TRAIN)).sum())
    if unused == 0:
        return []
    return [f"{_images(unused)} of the val and test parts without a label: not used"]


def notes_on_hold_out(
    catalog: Catalog, counts: list[int], num: int, hold_out: float, is_hiding: bool
) -> list[str]:
    """What to tell of a held-out part of `num` images; `counts` are labels a class before it."""
    if hold_out == 0:
        return []
    notes = []
    single = [name for name, count in zip(catalog.classes, counts, strict=True) if count == 1]
    if single:
        listed = ", ".join(repr(name) for name in single[:3]) + ", …" * (len(single) > 3)
        notes.append(
            f"{listed}: a class with a single labeled image is trained on but not held out, so "
            "the verdict says nothing of it"
        )
    if num < _ROUGH:
        cure = (
            "a larger hold_out would settle more"
            if is_hiding
            else f"folds=5 judges on all {sum(counts)} labels, at the cost of five more runs"
        )
        notes.append(f"{_images(num)} held out, so the verdict will be rough: {cure}")
    return notes


def words_for_groups(test_group: Sequence[str], num: int) -> str:
    """Where the `num` held-out scenes come from, if whole groups are the test part."""
    noun = "group" if len(test_group) == 1 else "groups"
    return f"the {_images(num)} of {noun} {', '.join(test_group)}"


def notes_on_unused(num: int, which: str) -> list[str]:
    """What to tell of `num` images that no part of a run uses; `which` follows their number."""
    return [f"{_images(num)} {which}: not used"] if num else []


def notes_on_few_blocks(num: int, num_images: int, is_whole: bool, can_fold: bool) -> list[str]:
    """What to tell of held-out scenes in `num` blocks, the units that an interval rests on.

    Args:
        num: blocks among the held-out scenes, at least 1.
        num_images: held-out scenes.
        is_whole: whether the blocks are whole groups, which could be cut.
        can_fold: whether all labeled scenes could be judged on, in turn.
    """
    if num >= _ROUGH_BLOCKS:
        return []
    blocks = "" if num == num_images else f" in {num} block" + "s" * (num > 1)
    cure = "more labeled images to judge by would settle more"
    if is_whole:
        cure = "block=N cuts a group into blocks of N consecutive images"
    elif can_fold:
        cure = "folds=5 judges on all labels, at the cost of five more runs"
    return [f"{_images(num_images)}{blocks} held out, so the verdict will be rough: {cure}"]


def note_on_no_block(num: int) -> str:
    """What to tell where none of `num` labeled scenes can be held out, and so nothing judged."""
    return (
        f"none of the {_images(num)} with a mask can be held out, since all lie in one block or in "
        "blocks with images of labeled_list, so there is no verdict; smaller blocks (block=N) or "
        "a test part would allow one"
    )
