"""Two halves of a round on two groups of ranks: the bits and the record of one after the other,
also when a rank is told to stop; one sentence where one is killed or fails."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from dmt.api import resume, train
from dmt.config import Settings
from dmt.data.pseudo_labels import ImageLabels
from dmt.engine.runtime import Runtime
from dmt.errors import SettingError
from dmt.runs.together import in_groups
from rank_zygote import Ranks, said

pytestmark = [pytest.mark.distributed, pytest.mark.usefixtures("one_thread")]

SETTINGS: dict[str, Any] = {
    "steps": 12, "rounds": 2, "model": "wrn_10_1", "batch_size": 16, "device": "cpu",
    "data.val_per_class": 2, "seed": 5, "schedule": "pair", "student.labeled_share": 0.25,
    "checkpoint_every": 1e-9,
}  # fmt: skip
CLOCK = re.compile(r"time|.*seconds|images_per_second")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process."""
    return train("digits", out=tmp_path_factory.mktemp("whole") / "run", **SETTINGS).path


def begin(*more: str) -> list[str]:
    return ["train", "digits", "out=run", *(f"{key}={value}" for key, value in SETTINGS.items()),
            "parallel_peers=true", *more]  # fmt: skip


def assert_same(run: Path, whole: Path) -> None:
    """The same networks, labels and record, to the bit; labels may lie in other parts."""
    for path in whole.rglob("model.safetensors"):
        assert (run / path.relative_to(whole)).read_bytes() == path.read_bytes(), path
    stores = sorted(whole.rglob("manifest.json"))
    assert len(stores) == 4
    for path in stores:
        one, two = ImageLabels(path.parent), ImageLabels(run / path.parent.relative_to(whole))
        for name in ("ids", "label", "code", "is_selected"):
            assert torch.equal(getattr(one, name), getattr(two, name)), (path, name)
    assert record(run) == record(whole)
    ours, theirs = (json.loads((each / "summary.json").read_text()) for each in (run, whole))
    for key in ("peers", "supervised", "ensemble", "interval", "images_seen", "sentence"):
        assert ours[key] == theirs[key]
    assert not list((run / "checkpoint").glob("half.*"))


def record(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [
        {name: value for name, value in line.items() if not CLOCK.fullmatch(name)} for line in lines
    ]


def test_two_ranks_are_one_process_to_the_bit(ranks: Ranks, whole: Path, tmp_path: Path) -> None:
    ended = ranks(tmp_path, 2, *begin())
    assert [code for code, _ in ended] == [0, 0], ended
    assert ended[1][1] == "", "one voice"
    assert_same(tmp_path / "run", whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    "plan",
    [
        {"0": {6: "SIGTERM"}, "1": {7: "SIGTERM"}},
        {"0": {6: "SIGTERM"}, "slow": {"1": 0.6}},
        {"1": {6: "SIGTERM"}, "slow": {"0": 0.6}},
        {"1": {6: "SIGTERM"}},
        {"0": {14: "SIGTERM"}},
    ],
    ids=["both", "first", "second", "second late", "baseline"],
)
def test_told_to_stop_both_groups_save(
    plan: dict[str, Any], ranks: Ranks, whole: Path, tmp_path: Path
) -> None:
    """Whoever is told; with one process or two the run then goes on."""
    ended = ranks(tmp_path, 2, *begin(), plan=plan)
    assert [code for code, _ in ended] == [143, 143], ended
    sentences = said(ended)
    assert len(set(sentences)) == 1, sentences
    assert re.fullmatch(
        r"dmt: stopped by SIGTERM; `dmt resume run` goes on (from step \d of |after )\w+/a",
        sentences[0],
    )
    if len(plan) == 1 or "slow" in plan:
        resumed = ranks(tmp_path, 2, "resume", "run")
        assert [code for code, _ in resumed] == [0, 0], resumed
    else:
        resume(tmp_path / "run")
    assert_same(tmp_path / "run", whole)


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["0", "1"])
def test_a_rank_that_is_killed_ends_all(
    killed: str, ranks: Ranks, whole: Path, tmp_path: Path
) -> None:
    slow = {"slow": {"1" if killed == "0" else "0": 0.3}}
    ended = ranks(tmp_path, 2, *begin(), plan={killed: {6: "SIGKILL"}, **slow})
    codes = [code for code, _ in ended]
    assert codes[int(killed)] == -9
    assert codes[1 - int(killed)] == 2, ended
    assert len(said(ended)) == 1, ended
    assert "another of the processes that train together has ended" in said(ended)[0]
    ended = ranks(tmp_path, 2, "resume", "run")
    assert [code for code, _ in ended] == [0, 0], ended
    assert_same(tmp_path / "run", whole)


@pytest.mark.slow
@pytest.mark.parametrize("failing", ["0", "1"])
def test_what_one_group_cannot_do_stops_both(failing: str, ranks: Ranks, tmp_path: Path) -> None:
    # Of four steps; words go between the groups once a second.
    slow = {"slow": {"1" if failing == "0" else "0": 1.2}}
    ended = ranks(tmp_path, 2, *begin(), plan={failing: {6: "fail"}, **slow})
    assert [code for code, _ in ended] == [2, 2], ended
    peer = "ab"[int(failing)]
    pattern = rf"dmt: the gradient is not finite at step \d+ of \d+ \(peer {peer}, round 1\).*"
    assert len(set(said(ended))) == 1, ended
    assert re.fullmatch(pattern, said(ended)[0])
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "stopped"
    saved = {path.name for path in (tmp_path / "run" / "checkpoint").iterdir()}
    assert saved >= {"state.pt", "half.pt"}


@pytest.mark.slow
def test_four_ranks_are_two_to_the_bit(ranks: Ranks, tmp_path: Path) -> None:
    """Two ranks a peer against two ranks for one peer after the other."""
    for name, num_ranks, words in (
        ("two", 2, [word for word in begin() if word != "parallel_peers=true"]),
        ("four", 4, begin()),
    ):
        (tmp_path / name).mkdir()
        ended = ranks(tmp_path / name, num_ranks, *words)
        assert [code for code, _ in ended] == [0] * num_ranks, ended
    assert_same(tmp_path / "four" / "run", tmp_path / "two" / "run")


def test_ranks_that_cannot_be_halved_are_refused() -> None:
    three = Runtime(torch.device("cpu"), world_size=3)
    with pytest.raises(SettingError, match="half of the ranks, and there are 3; start one more"):
        in_groups(Settings(parallel_peers=True), three)
    with pytest.raises(SettingError, match="not for a comparison"):
        in_groups(Settings(parallel_peers=True), Runtime(torch.device("cpu")), is_sharing=True)
    assert in_groups(Settings(), three) is three
