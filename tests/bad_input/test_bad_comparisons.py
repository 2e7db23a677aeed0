"""Comparisons that cannot be made: one sentence each, before anything is trained or written."""

from __future__ import annotations

from pathlib import Path

import pytest
from spoiling import refused_untouched

from commands import refused, tree
from dmt.engine.plan import PRESETS, Preset

_FIXED = ("steps=4", "rounds=1", "model=wrn_10_1", "batch_size=16")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("", "methods= is missing; name some of supervised,"),
        ("methods=", "methods= is empty; write for example methods=supervised,dmt"),
        ("methods=dmtt", "there is no method 'dmtt'; did you mean dmt?"),
        ("methods=supervised,x:/y", "there is no method 'x:/y'; there are supervised, "),
        ("methods=[dmt,{a:1}]", "there is no method"),
        ("methods=dmt,flip,dmt", "methods= names dmt twice; name it once"),
        ("methods=dmt seeds=", "seeds= is empty; write for example seeds=0,1,2"),
        ("methods=dmt seeds=0,one", "seeds= holds 'one', which is no whole number"),
        ("methods=dmt seeds=1.5", "seeds= holds '1.5', which is no whole number"),
        ("methods=dmt seeds=-1", "seeds= holds '-1', which is no whole number"),
        ("methods=dmt seeds=3,1,3", "seeds= names 3 twice"),
        ("methods=dmt labels=40,many", "labels= holds 'many', which is no number of labels"),
        ("methods=dmt labels=40,-1", "labels= holds '-1'"),
        ("methods=dmt labels=40,nan", "labels= holds 'nan'"),
        ("methods=dmt labels=40,40.0", "labels= names 40.0 twice"),
        ("methods=dmt labels=40,40.5", "labels=40.5 must be a share up to 1 or a whole number"),
        ("methods=dmt labels=40,99999", "99999"),
        ("methods=dmt method=flip", "method= is not for a comparison; methods= names them"),
        ("methods=dmt seed=1", "seed= is not for a comparison; seeds= names them"),
        ("methods=dmt oracle=true", "oracle= is not for a comparison; name oracle in methods="),
        ("methods=supervised,dmt baseline=none", "baseline=none trains no supervised model"),
        ("methods=dmt baseline=round0", "baseline=round0 sees fewer images than the methods"),
        ("methods=dmt stpes=3", "unknown setting 'stpes'; did you mean steps?"),
        ("methods=dmt steps=0", "steps=0 does not work"),
        ("methods=dmt recipe=nothing", "there is no recipe or file 'nothing'"),
        ("methods=supervised,dmt online.threshold=1", "online.threshold is for methods that label"),
        ("methods=cps,fixmatch online.views=2", "online.views means nothing to method=cps"),
        ("methods=cps,fixmatch weighting.ramp=true", "weighting.ramp is for rounds"),
        ("methods=supervised,dst baseline=pair", "baseline=pair is for a pair of peers"),
        ("methods=supervised,dst peers.b.model=wrn_16_1", "peers.b is set, but method=dst"),
        (
            "methods=dmt,cps schedule=chain baseline=pair peers.labeled_subset=dms",
            "peers.labeled_subset=dms makes two peers different",
        ),
        ("methods=dmt aspp_dilations=6", "aspp_dilations is for segmentation"),
    ],
)
def test_words(here: Path, words: str, part: str) -> None:
    refused_untouched("compare", ["digits", *_FIXED, *words.split()], part)


def test_no_data(here: Path) -> None:
    refused_untouched("compare", ["nowhere", "methods=dmt"], "nowhere")


def test_a_method_that_the_task_has_not(here: Path, monkeypatch) -> None:
    monkeypatch.setitem(PRESETS, "flip", Preset(2, "flip", tasks=("classification",)))
    refused_untouched(
        "compare",
        ["shapes:32", "methods=dmt,flip", "seeds=0", "out=c"],
        "method=flip is for images with one label each, but shapes:32 is a segmentation; there are "
        "supervised, ",
        "dmt",
    )


def test_a_folder_with_something_else(here: Path) -> None:
    (here / "out").mkdir()
    (here / "out" / "thesis.txt").write_text("mine")
    before = tree(here)
    words = ["digits", *_FIXED, "methods=dmt", "out=out"]
    refused("compare", words, "out holds something else, not a comparison; give another folder")
    (here / "out" / "config.yaml").write_text("seed: 1")
    refused("compare", words, "out holds a run, not a comparison")
    (here / "out" / "config.yaml").unlink()
    refused("compare", ["digits", *_FIXED, "methods=dmt", "out=out/thesis.txt"], "thesis.txt")
    assert tree(here) == before


@pytest.mark.parametrize("content", ["", "[]", '{"version": 2}', "not json"])
def test_a_record_that_is_none(here: Path, content: str) -> None:
    (here / "c").mkdir()
    (here / "c" / "compare.json").write_text(content)
    words = ["digits", *_FIXED, "methods=dmt", "seeds=0", "out=c"]
    refused("compare", words, "c/compare.json")
    assert (here / "c" / "compare.json").read_text() == content


def test_several_processes(here: Path, monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    refused_untouched("compare", ["digits", "methods=dmt"], "works in one process")
