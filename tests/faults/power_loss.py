"""A disk that forgets what nobody asked it to keep, to stand for a power loss. No tests here.

It watches `os.fsync`. When the power is cut, it writes down what a real disk may hold in the worst
case, from which the run is resumed.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Literal

# What of the unsynced survives: nothing at all, or names without what the files hold, as when a
# rename reaches the disk before the data.
Survives = Literal["nothing", "names"]


class Disk:
    """What would be left of a folder; what lies in it at first is safe."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._sync = os.fsync
        self._names: dict[int, dict[str, int]] = {}  # of a folder's inode: what was synced last
        self._contents: dict[int, bytes] = {}
        self._held: dict[int, int] = {}  # a handle for each, so that no inode number is used again
        self._remember(root)

    def watch(self) -> None:
        """Look at every fsync of this process from now on."""
        os.fsync = self._on_sync

    def materialise(self, to: Path, survives: Survives) -> None:
        """Write what is left into a folder that is not there yet."""
        self._write(self._hold(str(self._root)), to, survives)

    def _on_sync(self, file: int) -> None:
        self._sync(file)
        self._keep(f"/proc/self/fd/{file}")

    def _remember(self, folder: Path) -> None:
        for parent, _, files in os.walk(folder):
            self._keep(parent)
            for name in files:
                self._keep(f"{parent}/{name}")

    def _keep(self, path: str) -> None:
        inode = self._hold(path)
        if stat.S_ISDIR(os.stat(path).st_mode):
            self._names[inode] = self._listing(path)
        else:
            self._contents[inode] = Path(path).read_bytes()

    def _listing(self, path: str) -> dict[str, int]:
        return {name: self._hold(f"{path}/{name}") for name in os.listdir(path)}

    def _hold(self, path: str) -> int:
        inode = os.stat(path).st_ino
        if inode not in self._held:
            self._held[inode] = os.open(path, os.O_PATH)
        return inode

    def _write(self, inode: int, to: Path, survives: Survives) -> None:
        current = f"/proc/self/fd/{self._held[inode]}"
        if not stat.S_ISDIR(os.stat(current).st_mode):
            to.write_bytes(self._contents.get(inode, b""))
            return
        to.mkdir()
        named = self._listing(current) if survives == "names" else self._names.get(inode, {})
        for name, inside in named.items():
            self._write(inside, to / name, survives)
