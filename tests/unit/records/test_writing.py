"""Files are written whole or not at all, and nothing later relies on what may still be lost."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dmt import faults
from dmt.errors import RunError
from dmt.records import writing


class Calls:
    """The system calls that matter, in order, each with the name of its file."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        for name in ("fsync", "replace", "truncate", "mkdir"):
            self._listen(patch, name)

    def _listen(self, patch: pytest.MonkeyPatch, name: str) -> None:
        original: Callable[..., Any] = getattr(os, name)

        def call(first: Any, *rest: Any, **named: Any) -> Any:
            target = rest[0] if name == "replace" else first
            path = os.readlink(f"/proc/self/fd/{first}") if name == "fsync" else str(target)
            self.made.append(f"{name} {Path(path).name}")
            return original(first, *rest, **named)

        patch.setattr(os, name, call)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(monkeypatch)


def test_content_is_synced_before_its_name_and_then_the_folder(tmp_path: Path, calls) -> None:
    writing.write_bytes(tmp_path / "a.bin", b"new")
    temporary = f".a.bin.{os.getpid()}.tmp"
    assert calls.made == [f"fsync {temporary}", "replace a.bin", f"fsync {tmp_path.name}"]
    assert os.listdir(tmp_path) == ["a.bin"]


def test_new_folders_are_synced_from_above(tmp_path: Path, calls) -> None:
    writing.make_folder(tmp_path / "rounds" / "1" / "a")
    synced = [call for call in calls.made if call.startswith("fsync")]
    assert synced == [f"fsync {tmp_path.name}", "fsync rounds", "fsync 1"]
    calls.made.clear()
    writing.make_folder(tmp_path / "rounds" / "1" / "a")
    assert not [call for call in calls.made if call.startswith("fsync")]


def test_a_file_that_grows_is_synced_with_its_name(tmp_path: Path, calls) -> None:
    path = tmp_path / "metrics.jsonl"
    writing.append_line(path, b"{}\n")
    assert calls.made == []  # a line costs no fsync; who relies on it asks
    writing.sync_file(path)
    assert calls.made == ["fsync metrics.jsonl", f"fsync {tmp_path.name}"]


def test_what_raises_inside_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    writing.write_bytes(path, b"old")

    def write() -> None:
        with writing.whole_file(path) as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_folder_whose_sync_fails_is_an_error(tmp_path: Path, monkeypatch) -> None:
    def fail(number: int) -> Callable[[int], None]:
        def sync(file: int) -> None:
            if os.path.isdir(f"/proc/self/fd/{file}"):
                raise OSError(number, os.strerror(number))

        return sync

    monkeypatch.setattr(os, "fsync", fail(errno.EIO))
    with pytest.raises(RunError, match=r"cannot write .*a\.bin: Input/output error"):
        writing.write_bytes(tmp_path / "a.bin", b"new")
    monkeypatch.setattr(os, "fsync", fail(errno.EINVAL))  # a drive that cannot sync folders
    writing.write_bytes(tmp_path / "a.bin", b"newer")
    assert (tmp_path / "a.bin").read_bytes() == b"newer"


@pytest.mark.parametrize("name", ["n" * 251 + ".png", "é" * 125 + ".png"])
def test_the_longest_names_can_be_written(tmp_path: Path, name: str) -> None:
    writing.write_bytes(tmp_path / name, b"new")
    assert os.listdir(tmp_path) == [name]


def test_half_a_line_is_dropped_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"a": 1}\n{"b"')
    writing.append_line(path, b'{"c": 3}\n')
    assert path.read_bytes() == b'{"a": 1}\n{"c": 3}\n'


_DEAD = 2**22 + 1  # no process has so high a number


def test_only_what_a_crash_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / "rounds").mkdir()
    kept = [".hidden.tmp", "a.12.tmp", ".a.tmp", ".a.12.tmp.npy"]
    kept.append(f".report.html.{os.getppid()}.tmp")  # somebody is at work on it
    for name in [*kept, f".a.{_DEAD}.tmp", f"rounds/.model.safetensors.{_DEAD}.tmp"]:
        (tmp_path / name).touch()
    writing.sweep(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "rounds"])
    assert os.listdir(tmp_path / "rounds") == []


def test_a_point_ends_the_process_the_time_it_was_asked_for(monkeypatch) -> None:
    died: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: died.append(number))
    faults.reached("step taken")
    monkeypatch.setenv(faults.SWITCH, "step taken@3")
    for _ in range(2):
        assert not faults.is_next("step taken")
        faults.reached("step taken")
        faults.reached("step recorded")
    assert died == []
    assert faults.is_next("step taken")
    faults.reached("step taken")
    assert died == [signal.SIGKILL]


def test_the_table_names_each_point_once() -> None:
    assert len(set(faults.POINTS)) == len(faults.POINTS)
