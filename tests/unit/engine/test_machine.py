"""What a process asks of the machine: memory that it freed stays its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dmt.engine.machine import num_workers

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
