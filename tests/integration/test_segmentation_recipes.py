"""The recipes for segmentation: each resolves and means, in the small, what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tiny_scenes import WORDS, parts_of, value_of, write_films, write_pairs


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("voc-1464", {"labels": None}),
        ("voc-1over8", {}),
        ("voc-1over20", {}),
        ("voc-1over50", {}),
        ("voc-1over106", {"labels": 100}),
        ("voc-sbd", {"method": "supervised"}),
        ("cityscapes-1over8", {"labels": 371}),
        ("cityscapes-1over30", {}),
        ("camvid", {}),
        ("shapes", {}),
        ("scenes", {"model": "auto"}),
    ],
)
def test_recipe_resolves(
    recipe: str, expected: dict[str, Any], tmp_path: Path, dmt, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = write_pairs(tmp_path / "scenes", "ab")
    words = ("train", root, f"recipe={recipe}", "--print-config")
    if recipe.startswith(("voc", "cityscapes")):
        outcome = dmt(*words)
        assert outcome.code == 2
        assert "weights=coco-resnet101.pth is no file" in outcome.sentence
        Path("coco-resnet101.pth").touch()  # opened when it is used
    outcome = dmt(*words)
    assert outcome.code == 0, outcome.err
    config = yaml.safe_load(outcome.out)
    assert expected.items() <= config.items()
    assert config["initial"]["mixup"] == config["student"]["mixup"] == 0
    assert config["selection"]["kind"] == "class-balanced"
    assert config["weighting"]["ramp"] is False
    assert config["student"]["start"] == "continue"


def test_camvid_recipe_on_films(tmp_path: Path, dmt) -> None:
    """Three drives, the one that the recipe names held out."""
    root = write_films(tmp_path / "camvid", ("0001TP", "0006R0", "0016E5"), 16)
    words = (*WORDS, "aspp_dilations=null", "labels=0.25", f"out={tmp_path / 'run'}")
    outcome = dmt("train", root, "recipe=camvid", *words)
    assert outcome.code == 0, outcome.err
    parts = parts_of(tmp_path / "run")
    assert {stem[:6] for stem, part in parts.items() if part == "test"} == {"0001TP"}
    # A quarter of 32 masks is one block of eight consecutive frames.
    labeled = sorted(stem for stem, part in parts.items() if part == "labeled")
    assert len(labeled) == 8
    assert len({stem[:6] for stem in labeled}) == 1
    assert int(labeled[-1][-3:]) - int(labeled[0][-3:]) == 7
    interval = value_of(tmp_path / "run" / "summary.json")["interval"]
    assert (interval["num_images"], interval["num_blocks"]) == (16, 2)
