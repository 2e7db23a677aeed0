"""What the tests of the whole command share: a way to call it, one finished run. Holds no tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from commands import Outcome, call, tree

TINY = ("steps=9", "rounds=2", "model=wrn_10_1", "batch_size=16", "device=cpu",
        "selection.fractions=[0.5,1]")  # fmt: skip


def spawn(words: Sequence[object], folder: Path, **environment: str) -> subprocess.Popen[str]:
    """Start `python -m dmt words…` as a process of its own in `folder`."""
    return subprocess.Popen(
        [sys.executable, "-m", "dmt", *map(str, words)],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def dmt() -> Callable[..., Outcome]:
    """The command, in this process."""
    return call


@pytest.fixture
def start() -> Callable[..., subprocess.Popen[str]]:
    """The command, as a process of its own."""
    return spawn


@pytest.fixture
def tiny() -> tuple[str, ...]:
    """Settings of a run of a second."""
    return TINY


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny run on digits; nobody changes it."""
    path = tmp_path_factory.mktemp("digits") / "run"
    outcome = call("train", "digits", *TINY, "precision=fp32", f"out={path}")
    assert outcome.code == 0, outcome.err
    return path


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Sums in one order, as a process that has half of two threads makes them."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def snapshot() -> Callable[[Path], dict[str, bytes]]:
    """Every file below a folder with its bytes."""
    return tree


_CLOCK = {"time", "seconds", "images_per_second"}


def record(run: Path) -> tuple[dict[str, bytes], list[dict[str, Any]], dict[str, Any]]:
    """What two equal runs have in common: weights, pseudo labels, record and summary, no clock."""
    files = {
        name: content
        for name, content in tree(run).items()
        if name.endswith(".safetensors") or "pseudo_labels" in name
    }
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    timeless = [{key: line[key] for key in line if key not in _CLOCK} for line in lines]
    summary = json.loads((run / "summary.json").read_text())
    return files, timeless, {key: summary[key] for key in summary if key not in _CLOCK}


@pytest.fixture
def outcome_of() -> Callable[[Path], tuple[dict[str, bytes], list[dict[str, Any]], dict[str, Any]]]:
    """Weights and labels, the record and the summary of a run, without their clocks."""
    return record
