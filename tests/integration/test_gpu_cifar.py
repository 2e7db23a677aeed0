"""`benchmarks/gpu_cifar.py` in the small: pieces, stages that carry on, the table."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "accuracy"))
import gpu_cifar
from gpu_cifar import Until as UntilTime
from gpu_table import CORRECT, METHODS, table
from pieces import pack, read_pieces, unpack, write_pieces

from dmt.comparisons.comparing import compare_with

WORDS = (
    "steps=8", "batch_size=8", "model=wrn_10_1", "labels_per_class=3", "data.val_per_class=0",
    "data.image_size=8", "device=cpu", "workers=0",
)  # fmt: skip


def test_pieces_are_small_and_come_back_to_the_byte(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(bytes(range(250)) * 5)
    paths = write_pieces(archive, tmp_path, "x", 600)
    assert [path.name for path in paths] == ["x.000", "x.001", "x.002", "x.json"]
    assert [path.stat().st_size for path in paths[:3]] == [600, 600, 50]
    with (tmp_path / "again").open("wb") as file:
        read_pieces(tmp_path, "x", file)
    assert (tmp_path / "again").read_bytes() == archive.read_bytes()


@pytest.mark.parametrize(("content", "said"), [(None, "missing"), (b"other", "damaged")])
def test_a_piece_that_is_not_right_is_named(tmp_path: Path, content, said: str) -> None:
    (tmp_path / "a").write_bytes(bytes(1000))
    write_pieces(tmp_path / "a", tmp_path, "x", 600)
    (tmp_path / "x.001").unlink() if content is None else (tmp_path / "x.001").write_bytes(content)
    with pytest.raises(SystemExit, match=f"x.001 is {said}; bring it again"):
        unpack(tmp_path, "x", tmp_path / "out")


def test_files_that_are_alike_travel_once_and_arrive_apart(tmp_path: Path) -> None:
    root, noise = tmp_path / "in", np.random.default_rng(0).bytes(100_000)
    for name in ("a/x", "b/y"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_bytes(noise)
    (root / "empty").touch()
    files = sorted(path for path in root.rglob("*") if path.is_file())
    paths = pack(root, files, tmp_path / "p", "x", 60_000)
    assert sum(path.stat().st_size for path in paths) < 110_000
    unpack(tmp_path / "p", "x", tmp_path / "out")
    assert {each.name for each in (tmp_path / "out").iterdir()} == {"a", "b", "empty"}
    assert (tmp_path / "out" / "b" / "y").read_bytes() == noise
    (tmp_path / "out" / "a" / "x").write_bytes(b"changed")
    assert (tmp_path / "out" / "b" / "y").read_bytes() == noise


def _stop_at(number: int) -> type[UntilTime]:
    """Time is over at the `number`-th step of a stage."""

    class Until(UntilTime):
        def __init__(self, deadline: float) -> None:
            super().__init__(deadline)
            self._left = number

        def on_step(self, *args: Any) -> None:
            self._left -= 1
            self._deadline = 0.0 if not self._left else float("inf")
            super().on_step(*args)

    return Until


@pytest.fixture
def stage(
    tmp_path: Path, tmp_photos, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """`stage(old, new, stop, *words)` on a machine that knows nothing but the pieces."""
    photos = tmp_photos(labeled=8, unlabeled=0, test=6, size=8)
    (photos / "labeled").rename(photos / "train")
    assert gpu_cifar.main(["pack", str(photos), str(tmp_path / "pieces")]) == 0
    monkeypatch.setattr(gpu_cifar, "STATE_PIECE", 100_000)

    def run(old: str, new: str, stop: int, *words: str) -> str:
        monkeypatch.setattr(gpu_cifar, "Until", _stop_at(stop))
        capsys.readouterr()
        work = tmp_path / f"w{new}"
        if (tmp_path / f"w{old}").exists():
            (tmp_path / f"w{old}").rename(tmp_path / f"gone{old}")
        folders = ("--state", tmp_path / old, "--out", tmp_path / new, "--work", work)
        gpu_cifar.main(["stage", str(tmp_path / "pieces"), *map(str, folders), *WORDS, *words])
        return capsys.readouterr().out

    return run


def _kept(work: Path) -> set[str]:
    """What travels on, of the stage that worked there."""
    root = work / "comparison"
    return {str(path.relative_to(root)) for path in gpu_cifar.needed(root)}


def test_a_stage_carries_on(stage: Callable[..., str], tmp_path: Path) -> None:
    only = "methods=supervised,dmt,oracle"
    text = stage("0", "1", 2 + 2 + 2 + 2 + 1, only)  # in round 2 of peer a
    assert "; to be continued" in text
    assert text.count("not measured") == len(METHODS)
    kept = _kept(tmp_path / "w1")
    assert "dmt-s0/checkpoint/state.pt" in kept
    assert "dmt-s0/rounds/1/b/model.safetensors" in kept
    assert "dmt-s0/rounds/0/b/model.safetensors" not in kept, "nobody learns from it any more"
    assert max(path.stat().st_size for path in (tmp_path / "1").glob("state.*")) <= 100_000
    text = stage("1", "2", -1, only)
    assert "; done" in text
    assert text.count("not measured") == 2, "of what was not asked for"
    assert "reduced schedule: 8 steps of 8 images a model" in text
    assert (tmp_path / "2" / "table.md").read_text() in text
    assert "dmt − supervised: " in text
    assert "| dmt | " in text
    (tmp_path / "2" / "table.md").unlink()
    gpu_cifar.main(["table", str(tmp_path / "2"), *WORDS, only])
    assert {name for name in _kept(tmp_path / "w2") if name.startswith("dmt-s0/")} == {
        f"dmt-s0/{name}" for name in ("config.yaml", "metrics.jsonl", "summary.json", CORRECT)
    }
    # Of a run that came to its end nothing else is needed: the same comparison says the same.
    assert "; done" in stage("2", "3", -1, only)
    first, again = (
        json.loads((tmp_path / name / "compare.json").read_text())["result"] for name in "23"
    )
    assert first == again


@pytest.mark.slow
def test_all_stages_come_to_what_one_comparison_does(
    stage: Callable[..., str], tmp_path: Path
) -> None:
    stage("0", "1", 3)
    # Self-training takes 8 + 8 + 8 steps; dmt begins with b's round 0, a's being there already.
    text = stage("1", "2", 21 + 2 + 2 + 2 + 2 + 1)
    assert "; to be continued" in text
    assert text.count("not measured") == 2, "of both that are of two models"
    text = stage("2", "3", -1)
    assert "; done" in text
    assert "not measured" not in text
    assert "dmt-online − dmt: " in text
    found = json.loads((tmp_path / "3" / "compare.json").read_text())["result"]
    words = gpu_cifar.words_of(WORDS) | {"out": tmp_path / "whole"}
    whole = compare_with(tmp_path / "photos", words, UntilTime(float("inf"))).result.contract()
    for own, other in zip(found["methods"], whole["methods"], strict=True):
        assert (own["method"], own["values"]) == (other["method"], other["values"])
        name = "fully supervised" if own["method"] == "oracle" else own["method"]
        assert f"| {name} | {own['values'][0]:.2f} [" in text


def test_intervals_of_the_gap(tmp_path: Path, monkeypatch) -> None:
    """Of 1000 images supervised has 200 wrong, the method 150 of them, the oracle 100."""
    right = {name: np.arange(1000) >= num for name, num in
             (("supervised", 200), ("dmt", 150), ("oracle", 100))}  # fmt: skip
    from gpu_table import _gap

    text = _gap("dmt", right)
    assert text.startswith("50 % [")
    low, high = (float(end) for end in text.split("[")[1].rstrip("]").split(", "))
    assert 35 < low < 45
    assert 55 < high < 65
    assert _gap("supervised", right) == "–"
    assert _gap("dmt", right | {"oracle": right["supervised"]}) == "no gap"


def test_nothing_is_known_before_it_is_measured(tmp_path: Path) -> None:
    text = table(tmp_path, gpu_cifar.words_of(()))
    assert "reduced schedule: 15600 steps of 512 images a model" in text
    assert text.count("| not measured |") == len(METHODS)


def test_without_words_it_says_how_and_trains_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_cifar.main([]) == 0
    assert "stage pieces --state old --out new" in capsys.readouterr().out
