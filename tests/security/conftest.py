"""What the tests of strangers' files share: one finished run to spoil. Holds no tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from commands import call

TINY = ("steps=4", "rounds=1", "model=wrn_10_1", "batch_size=16", "device=cpu")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny run on digits; nobody changes it."""
    run = tmp_path_factory.mktemp("finished") / "run"
    outcome = call("train", "digits", *TINY, f"out={run}")
    assert outcome.code == 0, outcome.err
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, to be spoilt."""
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def stopped(run: Path) -> Path:
    """A copy of a run that ended before its summary."""
    (run / "summary.json").unlink()
    (run / "report.html").unlink()
    return run
