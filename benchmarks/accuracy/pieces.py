"""Files cut into pieces of a given size and joined again, each checked by its hash. No training."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO


def write_pieces(archive: Path, folder: Path, name: str, most: int) -> list[Path]:
    """Cut a file into `name.000`, `name.001` … of at most `most` bytes, with hashes in `name.json`.

    Returns:
        All of these files, the list of hashes last: without it nothing counts.
    """
    paths: list[Path] = []
    hashes: list[str] = []
    with archive.open("rb") as file:
        while piece := file.read(most):
            paths.append(folder / f"{name}.{len(paths):03d}")
            paths[-1].write_bytes(piece)
            hashes.append(hashlib.sha256(piece).hexdigest())
    paths.append(folder / f"{name}.json")
    paths[-1].write_text(json.dumps(hashes))
    return paths


def read_pieces(folder: Path, name: str, into: IO[bytes]) -> None:
    """Join what `write_pieces` wrote.

    Raises:
        SystemExit: a piece is missing or damaged.
    """
    for number, digest in enumerate(json.loads((folder / f"{name}.json").read_text())):
        path = folder / f"{name}.{number:03d}"
        piece = path.read_bytes() if path.exists() else b""
        if hashlib.sha256(piece).hexdigest() != digest:
            raise SystemExit(f"{path} is {'damaged' if piece else 'missing'}; bring it again")
        into.write(piece)


def pack(root: Path, files: Iterable[Path], folder: Path, name: str, most: int) -> list[Path]:
    """Put files below `root` into pieces; what several of them hold alike is there once."""
    folder.mkdir(parents=True, exist_ok=True)
    seen: dict[bytes, str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch, "archive")
        with tarfile.open(archive, "w:gz", compresslevel=6) as tar:
            for path in files:
                info = tar.gettarinfo(str(path), str(path.relative_to(root)))
                content = path.read_bytes()
                first = seen.setdefault(hashlib.sha256(content).digest(), info.name)
                if first != info.name:
                    info.type, info.linkname, info.size = tarfile.LNKTYPE, first, 0
                with path.open("rb") as file:
                    tar.addfile(info, file if info.isreg() else None)
        return write_pieces(archive, folder, name, most)


def unpack(folder: Path, name: str, root: Path) -> None:
    """Write the files of `pack` below `root`, each a file of its own again.

    Raises:
        SystemExit: a piece is missing or damaged.
    """
    with tempfile.TemporaryFile() as archive:
        read_pieces(folder, name, archive)
        archive.seek(0)
        with tarfile.open(fileobj=archive, mode="r|gz") as tar:
            for member in tar:
                target = root / tarfile.data_filter(member, str(root)).name
                target.parent.mkdir(parents=True, exist_ok=True)
                if member.islnk():
                    shutil.copyfile(root / member.linkname, target)
                elif member.isreg():
                    content = tar.extractfile(member)
                    assert content is not None
                    target.write_bytes(content.read())
