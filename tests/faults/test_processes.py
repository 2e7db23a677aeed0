"""Real processes: two on one folder, a lock whose owner died, two ranks that are told to stop."""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from harness import assert_equal

from commands import call, refused, tree
from dmt.engine.runtime import Runtime
from dmt.errors import EnvironmentFault

_ALL = ("digits", "rounds=1", "model=wrn_10_1", "batch_size=16", "device=cpu",
        "student.labeled_share=0.25", "checkpoint_every=0.01", "out=run")  # fmt: skip
WORDS = (*_ALL, "steps=24", "method=dst", "baseline=none")
WORDS_OF_RANKS = (*_ALL, "steps=60")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "dmt")
_LIMIT = 300  # seconds: a machine may be busy with other things

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts `python words…` in a folder; what is left of it at the end is killed."""
    begun: list[subprocess.Popen[str]] = []

    def begin(words: Sequence[str], folder: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        if process.poll() is None:
            process.kill()
            process.communicate()


def wait_for(file: Path, process: subprocess.Popen[str]) -> None:
    began = time.perf_counter()
    while not file.exists():
        assert process.poll() is None, process.communicate()
        assert time.perf_counter() - began < _LIMIT
        time.sleep(0.02)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of `WORDS` that nobody disturbs."""
    folder = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert call("train", *WORDS).code == 0
    return folder / "run"


def test_a_second_process_is_refused_and_the_first_goes_on(
    alone: Path, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = Path("run")
    process = start(["-m", "dmt", "train", *WORDS], tmp_path)
    wait_for(run / "checkpoint" / "state.pt", process)
    process.send_signal(signal.SIGSTOP)  # so that nothing below depends on who is faster
    before = tree(run)
    for command, words, sentence in (
        (
            "resume",
            ["run"],
            "run is in use by process {owner}; wait for it, or give another folder",
        ),
        ("train", [*WORDS], "run already holds another run"),
        ("predict", ["run", "digits"], "run holds no summary.json"),
    ):
        owner = f"{process.pid} on {platform.node()}, which began 20"
        found = refused(command, words, sentence.split("{")[0])
        if "{" in sentence:
            assert re.search(rf"process {re.escape(owner)}[-0-9]+ [:0-9]+ UTC; wait for it", found)
    assert tree(run) == before
    process.send_signal(signal.SIGCONT)
    _, err = process.communicate(timeout=_LIMIT)
    assert process.returncode == 0, err
    assert_equal(run, alone)
    assert (run / ".lock").read_bytes() == b""


@pytest.mark.slow
def test_the_lock_of_a_dead_process_is_taken_over(
    alone: Path, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = Path("run")
    process = start(["-m", "dmt", "train", *WORDS], tmp_path)
    wait_for(run / "checkpoint" / "state.pt", process)
    process.kill()
    process.communicate()
    assert f"process {process.pid} on " in (run / ".lock").read_text(), "the lock was left behind"
    refused("train", WORDS, "run already holds another run")
    assert call("resume", "run").code == 0
    assert_equal(run, alone)


def test_a_lock_that_says_anything_is_only_a_file(tmp_path: Path) -> None:
    """Whose it is the kernel knows; what stands in it is shown, and shown harmlessly."""
    run = tmp_path / "run"
    run.mkdir()
    (run / ".lock").write_text("process 1 on \x1b[31mhere\nand there")
    words = ["digits", "steps=2", "rounds=1", "model=wrn_10_1", "batch_size=8", "device=cpu"]
    assert call("train", *words, f"out={run}").code == 0


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Connection closed by peer [127.0.0.1]", EnvironmentFault),
        ("Tensors must be contiguous", RuntimeError),
    ],
)
def test_a_rank_that_was_left_is_told_from_a_fault_of_ours(
    said: str, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object, **named: object) -> None:
        raise RuntimeError(said)

    for name in ("all_reduce", "all_gather", "barrier"):
        monkeypatch.setattr(torch.distributed, name, fail)
    pair, value = Runtime(torch.device("cpu"), world_size=2), torch.ones(1)
    module = torch.nn.Linear(1, 1)
    module(torch.ones(1, 1)).sum().backward()
    for ask in (
        lambda: pair.sum(value),
        lambda: pair.largest(value),
        lambda: pair.gather(value),
        lambda: pair.join(value, [1, 1]),
        lambda: pair.first_text("a"),
        lambda: pair.digests(b"a"),
        lambda: pair.sum_gradients(module),
        pair.barrier,
    ):
        with pytest.raises(kind):
            ask()


# Two ranks --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of `WORDS_OF_RANKS` that nobody disturbs."""
    folder = tmp_path_factory.mktemp("together")
    subprocess.run(
        [sys.executable, *TORCHRUN, "train", *WORDS_OF_RANKS], cwd=folder, check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, timeout=_LIMIT,
    )  # fmt: skip
    return folder / "run"


def ranks_of(process: subprocess.Popen[str]) -> list[int]:
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(number) for number in path.read_text().split()]


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize("told", ["launcher", "writer", "other"])
def test_two_ranks_are_told_to_stop(
    told: str, together: Path, start: Start, tmp_path: Path
) -> None:
    """All ranks save at the same step and end, whichever heard the signal."""
    run = tmp_path / "run"
    process = start([*TORCHRUN, "train", *WORDS_OF_RANKS], tmp_path)
    wait_for(run / "checkpoint" / "state.pt", process)
    ranks = ranks_of(process)
    assert len(ranks) == 2
    number = {"launcher": process.pid, "writer": ranks[0], "other": ranks[1]}[told]
    os.kill(number, signal.SIGTERM)
    _, err = process.communicate(timeout=_LIMIT)
    said = re.findall(
        r"dmt: stopped by SIGTERM; `dmt resume run` goes on from step \d+ of \S+", err
    )
    assert len(said) == 1, err
    # The launcher ends with 1 either way. Of a rank that ends first it shows the exit code, and the
    # other one it may end itself, as it lets a Python that is closing down no time.
    assert process.returncode == 1
    codes = re.findall(r"exitcode +: (\S+)", err)
    if told != "launcher":
        assert codes.count("143") >= 1
    assert set(codes) <= {"143", "-15"}
    assert not (run / "summary.json").exists()
    done = start([*TORCHRUN, "resume", "run"], tmp_path)
    _, err = done.communicate(timeout=_LIMIT)
    assert done.returncode == 0, err
    assert_equal(run, together)


@pytest.mark.slow
@pytest.mark.distributed
def test_two_ranks_stop_at_a_loss_that_is_no_number(start: Start, tmp_path: Path) -> None:
    words = ["train", *WORDS_OF_RANKS, "student.lr=1e30"]
    process = start([*TORCHRUN, *words], tmp_path)
    _, err = process.communicate(timeout=_LIMIT)
    assert process.returncode == 1
    said = re.findall(r"dmt: (the loss is not finite at step \d+ of \d+ \(peer a.*)", err)
    assert len(said) == 1, err
    assert "and 11 more" in said[0], "the batch of both ranks"
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "stopped"
    assert summary["sentence"] == f"Stopped before the end: {said[0]}."


_FAILING = """
import errno, os
from dmt import faults
num = 0
def reached(name):
    global num
    num += name == "step recorded"
    if num == 5 and os.environ["RANK"] == "1":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
faults.reached = reached
from dmt.cli import main
main()
"""


@pytest.mark.slow
@pytest.mark.distributed
def test_the_rank_that_fails_says_why_and_the_other_ends(start: Start, tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(_FAILING)
    process = start([*TORCHRUN[:-2], "failing.py", "train", *WORDS_OF_RANKS], tmp_path)
    _, err = process.communicate(timeout=_LIMIT)
    assert process.returncode == 1
    said = [line for line in err.splitlines() if line.startswith("dmt: ")]
    assert len(said) == 1, err
    assert "No space left on device" in said[0]


def test_sigterm_while_nobody_listens_is_said() -> None:
    program = (
        "import os, signal, sys\n"
        "from dmt.commands.exits import end_by_sentence_at_sigterm, exit_code\n"
        "end_by_sentence_at_sigterm()\n"
        "work = lambda: os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.exit(exit_code(work, show_traceback=False))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (143, "dmt: stopped by SIGTERM\n")
