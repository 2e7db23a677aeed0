"""The built-in data sets are what the board knows under their names, byte for byte."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest

from dmt.data.fingerprint import fingerprint
from dmt.data.layouts import open_catalog
from dmt.data.mask_splits import make_mask_split
from dmt.data.splits import make_split
from dmt.insight.board.archive import shipped
from dmt.insight.board.variants import content_hash, judged_hash


@pytest.mark.parametrize("seed", [0, 7])
def test_digits(seed: int) -> None:
    catalog = open_catalog("digits")
    split = make_split(catalog, seed=seed, labels_per_class=4, labels=None)
    assert name_of(fingerprint(catalog, split)) == "digits (8×8)"


def test_shapes() -> None:
    catalog = open_catalog("shapes")

    def read(_: int) -> NoReturn:
        raise AssertionError("no mask is needed to split")

    split = make_mask_split(catalog, read, seed=3, labels=24)
    assert name_of(fingerprint(catalog, split)) == "shapes (64×64)"


def name_of(data: dict[str, Any]) -> str:
    """What the board calls the data set of a fingerprint."""
    known = {(each["content"], each["judged"]): each["name"] for each in shipped("data_sets.json")}
    return known[content_hash(data), judged_hash(data, 0)]
