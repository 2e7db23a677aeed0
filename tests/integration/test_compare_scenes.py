"""A comparison of segmentations: mean IoU, where more is better, over masks that were hidden."""

from __future__ import annotations

import json

import pytest

from dmt.comparisons.comparing import Compared, compare_with
from dmt.engine.listener import Quiet

METHODS = ["supervised", "self-training", "dmt-online", "oracle"]
SETTINGS = {
    "steps": 4, "rounds": 1, "model": "deeplab_v2:wrn_10_1:1-3", "batch_size": 2, "data.crop": 32,
    "selection.fractions": [0.5], "device": "cpu", "online.cutmix": 1, "workers": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Compared:
    path = tmp_path_factory.mktemp("compare") / "c"
    return compare_with(
        "shapes:32", SETTINGS | {"methods": METHODS, "seeds": [3], "out": path}, Quiet()
    )


def test_the_table_is_of_the_runs(compared: Compared) -> None:
    found = compared.result
    assert (found.task, found.metric) == ("segmentation", "miou")
    assert [each.method for each in found.methods] == METHODS
    values = {each.method: each.values for each in found.methods}
    for method in ("self-training", "dmt-online"):
        summary = json.loads((compared.path / f"{method}-s3" / "summary.json").read_text())
        assert values[method] == [summary["peers"]["a"]]
        # One baseline and one oracle, whoever trained it.
        assert values["supervised"] == [summary["supervised"]]
        assert values["oracle"] == [summary["oracle"]]
    assert all(0 <= value <= 100 for each in values.values() for value in each if value is not None)
    assert {each.images_seen.per_model for each in found.methods if each.images_seen} == {8}


def test_stages_are_shared(compared: Compared) -> None:
    stored = [json.loads(each.read_text()) for each in (compared.path / "shared").glob("*.json")]
    assert sorted((each["run"], each["stage"]) for each in stored) == [
        ("dmt-online-s3", "round0/b"),
        *(("self-training-s3", stage) for stage in ("baseline/a", "oracle/a", "round0/a")),
    ]


def test_the_words_are_those_of_a_segmentation(compared: Compared) -> None:
    text = (compared.path / "compare.md").read_text()
    page = (compared.path / "compare.html").read_text()
    assert "mean IoU in %" in text
    assert "error in %" not in text
    assert "points of mean IoU" in text
    for method in METHODS:
        assert method in page
    (pair,) = (
        each for each in compared.result.pairs if (each.a, each.b) == ("dmt-online", "supervised")
    )
    by_method = {each.method: each for each in compared.result.methods}
    means = by_method["dmt-online"].mean, by_method["supervised"].mean
    assert None not in means
    assert pair.difference == pytest.approx(means[0] - means[1])  # type: ignore[operator]
    assert pair.interval is not None, "of the run, over its blocks of scenes"
    assert pair.interval[0] <= pair.difference <= pair.interval[1]
