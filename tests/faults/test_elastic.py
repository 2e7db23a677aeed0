"""Ranks that are killed, that become fewer or more, and a command that is started again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from harness import assert_equal
from safetensors.torch import load_file

from commands import call, refused
from dmt.data.pseudo_labels import ImageLabels
from rank_zygote import Ranks, said

_LIMIT = 300  # seconds: a machine may be busy with other things
TINY = ("digits", "rounds=1", "steps=8", "method=dst", "baseline=none", "model=wrn_10_1",
        "batch_size=16", "student.labeled_share=0.25", "device=cpu")  # fmt: skip
# Without BatchNorm, which sees each rank's own images; labels that are mostly right.
WORDS = ("train", "digits", "model=plain_net:make", "trust_code=true", "rounds=1", "steps=80",
         "initial.share=0.75", "initial.lr=0.1", "student.lr=0.02", "batch_size=32",
         "student.labeled_share=0.25", "device=cpu", "checkpoint_every=0.2", "baseline=none",
         "data.randaugment=0", "precision=fp32", "out=run", "go_on=true")  # fmt: skip
_NET = """
from torch import nn
def make(num_classes):
    def block(i, o, s):
        return [nn.Conv2d(i, o, 3, s, 1), nn.GroupNorm(4, o), nn.ReLU()]
    return nn.Sequential(*block(3, 16, 1), *block(16, 32, 2), *block(32, 32, 2),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, num_classes))
"""


def test_a_command_that_is_given_again_goes_on(tmp_path: Path) -> None:
    words = [*TINY, f"out={tmp_path / 'run'}", "go_on=true"]
    first = call("train", *words, "--json")
    assert first.code == 0, first.err
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    again = call("train", *words, "workers=1", "--json")
    assert again.code == 0, again.err
    assert again.value == first.value
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before
    refused(
        "train", [*words, "student.lr=0.02"], "holds a run of another command", "student.lr was"
    )
    refused("train", words[:-1], "already holds another run")


def test_going_on_needs_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    refused("train", [*TINY, "go_on=true"], "go_on=true needs out=")
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    refused("train", TINY, "starts the same command again", "give out= and go_on=true")


@pytest.mark.parametrize(
    ("variables", "parts"),
    [
        ({"WORLD_SIZE": "2"}, ["RANK, MASTER_ADDR, MASTER_PORT is not set", "torchrun"]),
        ({"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "x"}, ["but MASTER_PORT is not set"]),
        ({"WORLD_SIZE": "two"}, ["WORLD_SIZE=two is no number"]),
        ({"WORLD_SIZE": "0"}, ["WORLD_SIZE=0 is no number"]),
        (
            {"WORLD_SIZE": "2", "RANK": "2", "MASTER_ADDR": "x", "MASTER_PORT": "1"},
            ["RANK=2 of 2 is not possible"],
        ),
        (
            {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "x", "MASTER_PORT": "70000"},
            ["MASTER_PORT=70000 is not possible"],
        ),
        ({"SLURM_STEP_NUM_TASKS": "4"}, ["srun started 4 processes but WORLD_SIZE is not set"]),
        (
            {"WORLD_SIZE": "", "SLURM_STEP_NUM_TASKS": "4"},
            ["srun started 4 processes but WORLD_SIZE is not set"],
        ),
        (
            {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "9"},
            ["the 2 ranks did not meet at 127.0.0.1:9 within 0.5 seconds", "rank_timeout="],
        ),
    ],
)
def test_a_launcher_that_says_too_little(
    variables: dict[str, str], parts: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    refused("train", [*TINY, f"out={tmp_path / 'run'}", "rank_timeout=0.5"], *parts)
    assert not (tmp_path / "run").exists()


def start(folder: Path, num_ranks: int, *words: str) -> subprocess.Popen[str]:
    """`torchrun … -m dmt words`, with three restarts."""
    (folder / "plain_net.py").write_text(_NET)
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node",
         str(num_ranks), "--max-restarts", "3", "-m", "dmt", *words],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(
            filter(None, [str(folder), os.environ.get("PYTHONPATH", "")])
        )},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def end(process: subprocess.Popen[str]) -> str:
    """What it said, once it has ended well."""
    _, err = process.communicate(timeout=_LIMIT)
    assert process.returncode == 0, err
    return err


def wait_for_state(run: Path, process: subprocess.Popen[str]) -> None:
    began = time.perf_counter()
    while not (run / "checkpoint" / "state.pt").exists():
        assert process.poll() is None
        assert time.perf_counter() - began < _LIMIT
        time.sleep(0.01)


def ranks_of(process: subprocess.Popen[str]) -> list[int]:
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(number) for number in path.read_text().split()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The run of `WORDS` by one rank and by two."""
    runs = {}
    for num_ranks in (1, 2):
        folder = tmp_path_factory.mktemp(f"ranks{num_ranks}")
        end(start(folder, num_ranks, *WORDS))
        runs[num_ranks] = folder / "run"
    return runs


def assert_near(run: Path, other: Path) -> None:
    """The same selected images but for one in a hundred, the same error within 2 points."""
    for teacher in "ab":
        one, two = (
            ImageLabels(each / f"rounds/1/{teacher}/pseudo_labels") for each in (run, other)
        )
        both, any_ = one.is_selected & two.is_selected, one.is_selected | two.is_selected
        assert int(both.sum()) >= 0.99 * int(any_.sum())
        assert int((one.label == two.label).sum()) >= 0.99 * len(one)
    ours, theirs = (json.loads((each / "summary.json").read_text()) for each in (run, other))
    for peer in "ab":
        assert ours["peers"][peer] == pytest.approx(theirs["peers"][peer], abs=2.0)
    assert ours["images_seen"] == theirs["images_seen"]


@pytest.mark.slow
@pytest.mark.distributed
def test_two_ranks_end_where_one_does(undisturbed: dict[int, Path]) -> None:
    assert_near(undisturbed[1], undisturbed[2])


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_rank_is_started_again_and_nothing_is_lost(
    killed: int, undisturbed: dict[int, Path], tmp_path: Path
) -> None:
    process = start(tmp_path, 2, *WORDS)
    wait_for_state(tmp_path / "run", process)
    os.kill(ranks_of(process)[killed], signal.SIGKILL)
    err = end(process)
    assert err.count("dmt: another of the processes that train together has ended") <= 1
    assert_equal(tmp_path / "run", undisturbed[2])


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_ranks_become_fewer_or_more_between_two_sessions(
    before: int, after: int, undisturbed: dict[int, Path], tmp_path: Path
) -> None:
    process = start(tmp_path, before, *WORDS)
    wait_for_state(tmp_path / "run", process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=_LIMIT)
    assert len(re.findall("dmt: stopped by SIGTERM; `dmt resume run` goes on", err)) == 1, err
    end(start(tmp_path, after, *WORDS))
    for each in undisturbed.values():
        assert_near(tmp_path / "run", each)


@pytest.mark.slow
@pytest.mark.distributed
def test_four_ranks_become_two_and_two_become_four(ranks: Ranks, tmp_path: Path) -> None:
    """Stopped by SIGTERM to one of them; the steps left are those of as many from the start."""
    words = [*WORDS, "steps=16", "checkpoint_every=1e-9", "precision=fp32"]

    def work(folder: str, num: int, *words: str, **plan: dict[int, str]) -> int:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "plain_net.py").write_text(_NET)
        ended = ranks(tmp_path / folder, num, *words, plan=plan)
        assert len({code for code, _ in ended}) == 1, ended
        assert len(set(said(ended))) == (ended[0][0] != 0), ended
        return ended[0][0]

    assert work("always", 2, *words) == 0
    for before, after, told in ((4, 2, "3"), (2, 4, "1")):
        folder = f"from{before}"
        assert work(folder, before, *words, **{told: {11: "SIGTERM"}}) == 143
        assert work(folder, after, *words) == 0  # go_on=true is among them
        for path in sorted((tmp_path / "always").rglob("model.safetensors")):
            ours = load_file(tmp_path / folder / path.relative_to(tmp_path / "always"))
            for name, tensor in load_file(path).items():
                torch.testing.assert_close(ours[name], tensor, rtol=1e-3, atol=1e-4)
        assert losses(tmp_path / folder / "run") == pytest.approx(
            losses(tmp_path / "always" / "run"), rel=1e-3
        )


def losses(run: Path) -> list[float]:
    """By step, all of them, in the order of the record."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if line["event"] == "step"]
