"""What a process asks of the machine: memory that it freed stays its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dmt.engine.machine import num_workers, sleep_while_waiting

COUNT_FAULTS = """
import resource, sys
import numpy as np
from dmt.engine.machine import keep_freed_memory
kept = sys.argv[1] == "keep" and keep_freed_memory()
def use():
    for _ in range(4):
        np.empty(80_000_000, np.uint8)[::4096] = 1
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_as_many_workers_as_asked_and_never_none_by_default() -> None:
    assert num_workers(0) == 0
    assert num_workers(3) == 3
    assert num_workers(None) >= 1


@pytest.mark.parametrize(
    ("load", "said", "expected"),
    [(9.0, {}, "passive"), (1.0, {}, None), (9.0, {"OMP_WAIT_POLICY": "active"}, "active"),
     (9.0, {"GOMP_SPINCOUNT": "5"}, None)],
)  # fmt: skip
def test_threads_sleep_where_others_want_the_cores(
    load: float, said: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = dict(said)
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0), raising=False)
    assert sleep_while_waiting() == (expected == "passive")
    assert environment.get("OMP_WAIT_POLICY") == expected


def test_the_command_says_so_before_torch_is_loaded() -> None:
    code = (
        "import os, sys; from dmt import cli\n"
        "os.getloadavg = lambda: (1e6, 0, 0)\n"
        "def show(words): print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)\n"
        "cli.run_command = show\n"
        "cli.main()"
    )
    clean = {key: value for key, value in os.environ.items() if "OMP" not in key}
    said = subprocess.run(
        [sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=False
    )
    assert said.stdout.split() == ["passive", "False"], said.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc can be told")
def test_memory_that_was_freed_is_not_asked_for_again() -> None:
    kept, faults = _faults("keep").split()
    if kept != "True":
        pytest.skip("this C library has no mallopt")
    assert int(faults) < 20
    assert int(_faults("leave").split()[1]) > 20, "else the test shows nothing"


def _faults(word: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", COUNT_FAULTS, word], capture_output=True, text=True, check=True
    ).stdout
