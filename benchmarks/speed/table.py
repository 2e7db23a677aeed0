"""What the speed benchmarks share: taking turns, memory, and the rows they print. No measuring."""

from __future__ import annotations

import importlib.util
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    number: str
    what: str
    ours: str
    other: str
    against: str
    ratio: str
    wanted: str

    def __str__(self) -> str:
        cells = (self.number, self.what, self.ours, self.against, self.other, self.ratio)
        return f"| {' | '.join((*cells, self.wanted))} |"


HEAD = "| row | what | dmt | against | that one | ratio | at least |\n|---|---|---|---|---|---|---|"


def print_table(rows: Iterable[Row]) -> None:
    """All rows under their head."""
    print(HEAD)
    for row in rows:
        print(row)


def in_turns(
    ways: Mapping[str, Callable[[], object]], repeats: int, device: str = "cpu"
) -> dict[str, list[float]]:
    """Seconds of every way, each `repeats` times in turns after one that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name, call in ways.items():
            began = time.perf_counter()
            call()
            if device != "cpu":
                torch.cuda.synchronize()
            if repeat:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def ratio(seconds: Mapping[str, list[float]], ours: str, other: str) -> float:
    """Median over turns of other / ours: a turn's two met the same load."""
    return statistics.median(b / a for a, b in zip(seconds[ours], seconds[other], strict=True))


def peak_bytes(call: Callable[[], object], device: str = "cpu") -> int:
    """The most that tensors made within `call` take at one time, beside what was there before."""
    if device != "cpu":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(profile_memory=True) as profile:
        call()
    level = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            level += event.nbytes()
            peak = max(peak, level)
    return peak


def module_at(path: Path) -> ModuleType:
    """A Python file of somebody else's, imported by its path."""
    spec = importlib.util.spec_from_file_location(f"other_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
