"""Pools of tiny images as tar shards, Parquet and folders. No tests here."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def png(number: int, size: tuple[int, int] = (8, 8)) -> bytes:
    """An image of random pixels; equal numbers give equal ones."""
    pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """A regular member."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def write_tars(folder: Path, num: int, each: int) -> list[Path]:
    """pool-00.tar …: every image `<number>.png` with a `.cls` beside it, as WebDataset has it."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"pool-{shard:02d}.tar" for shard in range(num)]
    for shard, path in enumerate(paths):
        with tarfile.open(path, "w") as tar:
            for number in range(shard * each, (shard + 1) * each):
                add(tar, f"{number:05d}.png", png(number))
                add(tar, f"{number:05d}.cls", b"3")
    return paths


def write_folder(folder: Path, num: int) -> Path:
    """The same images as files, half of them in a folder of their own."""
    for number in range(num):
        path = folder / ("inner" if number % 2 else "") / f"{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    return folder


def write_parquet(path: Path, columns: dict[str, Sequence[Any]], rows_a_group: int) -> Path:
    """A table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=rows_a_group)
    return path


def rows_in(out: Path) -> list[dict[str, Any]]:
    """All rows of all parts, in order."""
    import pyarrow.parquet as pq

    return [
        row
        for part in sorted(out.glob("part-*.parquet"))
        for row in pq.read_table(part).to_pylist()
    ]
