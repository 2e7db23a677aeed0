"""What `dmt label` writes: a folder of Parquet parts, each whole or not there, and a manifest.

Where the rows come from is `labeling`'s.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from dmt.data.decode import shown
from dmt.data.pools.parquet_shards import pyarrow_parquet
from dmt.errors import RunError, SettingError
from dmt.records import Record, read_json, write_json
from dmt.records.writing import is_temporary, make_folder, whole_file

MANIFEST, MASKS, INDEX = "manifest.json", "masks", "index"
_FORMAT = 1
_ROW_GROUP = 1 << 16  # rows that are held before they are written
_MOST_LISTED = 100  # images that a part names as left out


class Manifest(Record):
    """What all parts of a folder have in common, and a later command must repeat.

    Attributes:
        format: of the parts.
        task: what was learned.
        classes: names, by number.
        model: SHA-256 over the weights, and over the settings that change what a network sees.
        pool: `files`, `tar` or `parquet`.
        place: of a folder or a list, where it is; else empty, as shards may be moved.
        sha256: of the pool's shards, names and sizes.
        num_shards: how many parts there will be.
        shard_size: as it was asked for.
    """

    format: int = _FORMAT
    task: Literal["classification", "segmentation"]
    classes: tuple[str, ...]
    model: str
    pool: str
    place: str
    sha256: str
    num_shards: int
    shard_size: int


class LabelFolder:
    """The folder that `dmt label` fills."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def index(self) -> Path:
        """Where the names of a pool of files are kept."""
        return self.path / INDEX

    def begin(self, manifest: Manifest) -> None:
        """Write the manifest, or see that the one which is there says the same.

        Raises:
            SettingError: it says something else.
            RunError: it cannot be read or written.
        """
        path = self.path / MANIFEST
        if not path.exists():
            # Of a name of its own, as ranks on several machines may come here at once; all of
            # them are asked the same, so whose it is does not matter.
            own = self.path / f".{MANIFEST}.{uuid.uuid4().hex}"
            write_json(own, manifest)
            own.replace(path)
        self.refuse_others(**{name: getattr(manifest, name) for name in Manifest.model_fields})

    def refuse_others(self, **expected: Any) -> None:
        """See that a manifest, if there is one, says what is expected of some of its fields.

        Raises:
            SettingError: it says something else.
            RunError: it cannot be read.
        """
        path = self.path / MANIFEST
        if not path.exists():
            return
        try:
            there = Manifest.model_validate(read_json(path))
        except ValidationError as error:
            raise RunError(f"{path} is damaged or another version's: give another out=") from error
        for field, what in (
            ("format", "by another version of dmt"),
            ("model", "by another model, or another run"),
            ("task", "for another task"),
            ("classes", "with other classes"),
            ("pool", "of another kind of pool"),
            ("place", f"of another pool ({shown(there.place)})"),
            ("shard_size", f"with shard_size={there.shard_size}"),
            ("num_shards", "of another pool, or of this one before it changed"),
            ("sha256", "of another pool, or of this one before it changed"),
        ):
            if field in expected and getattr(there, field) != expected[field]:
                raise SettingError(
                    f"{shown(self.path)} holds labels made {what}; repeat the command as it was, "
                    "or give another folder with out="
                )

    def refuse_other_content(self) -> None:
        """Look at the folder before anything is done.

        Raises:
            SettingError: it is a file, or holds something else than labels.
        """
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise SettingError(f"out={shown(self.path)} is a file; name a folder")
        names = sorted(os.listdir(self.path))
        others = [name for name in names if not name.startswith(".") and name != INDEX]
        if MANIFEST not in names and others:
            raise SettingError(
                f"out={shown(self.path)} is there and holds something else than labels "
                f"({shown(others[0])}, …); name another folder"
            )

    def part(self, number: int) -> Path:
        """The table of a shard."""
        return self.path / f"part-{number:06d}.parquet"

    def masks(self, number: int) -> Path:
        """The masks of a shard."""
        return self.path / MASKS / f"{number:06d}"

    def missing(self, num_shards: int) -> list[int]:
        """The shards that have no part yet."""
        there = set(os.listdir(self.path))
        return [number for number in range(num_shards) if self.part(number).name not in there]

    def sweep(self, number: int) -> None:
        """Remove what a process left of a part when it died; nobody else writes this one."""
        shutil.rmtree(self.masks(number), ignore_errors=True)
        for path in self.path.glob(f".{self.part(number).name}.*.tmp"):
            if is_temporary(path.name):
                with suppress(OSError):
                    path.unlink()

    def make(self) -> None:
        """Make the folder.

        Raises:
            RunError: it cannot be made.
        """
        try:
            make_folder(self.path)
        except OSError as error:
            raise RunError(
                f"cannot make the folder {shown(self.path)}: {error.strerror}; give another with "
                "out="
            ) from error


def write_part(path: Path, batches: Any, task: str, shard: str, left_out: Sequence[str]) -> int:
    """Write a part, whole or not at all.

    Args:
        path: of it.
        batches: an iterator over {column: values}, which `left_out` grows along with.
        task: decides the columns.
        shard: its name in the pool.
        left_out: sentences on images that have no row.

    Returns:
        How many rows it has.

    Raises:
        RunError: the disk is full or may not be written.
    """
    import pyarrow as pa

    schema, num = columns_of(task), 0
    waiting: list[Any] = []
    with whole_file(path) as file, pyarrow_parquet().ParquetWriter(file, schema) as writer:

        def flush() -> None:
            if waiting:
                writer.write_table(pa.Table.from_batches(waiting, schema), row_group_size=num + 1)
            waiting.clear()

        held = 0
        for batch in batches:
            found = pa.RecordBatch.from_pydict(batch, schema=schema)
            waiting.append(found)
            num, held = num + found.num_rows, held + found.num_rows
            if held >= _ROW_GROUP:
                flush()
                held = 0
        flush()
        about = {
            "shard": shard,
            "num_rows": num,
            "num_left_out": len(left_out),
            "left_out": list(left_out[:_MOST_LISTED]),
        }
        writer.add_key_value_metadata({"dmt": json.dumps(about, ensure_ascii=False)})
    return num


def columns_of(task: str) -> Any:
    """The columns of a part, as a pyarrow schema; what they mean stands in docs/pools.md."""
    pyarrow_parquet()
    import pyarrow as pa

    if task == "segmentation":
        columns = [("key", pa.string()), ("mask", pa.string()), ("confidence", pa.float32())]
    else:
        columns = [("key", pa.string()), ("label", pa.int32()), ("class", pa.string())]
        columns += [("confidence", pa.float32())]
        for peer in ("a", "b"):
            columns += [(f"{peer}_label", pa.int32()), (f"{peer}_confidence", pa.float32())]
    return pa.schema([*columns, ("disagreement", pa.float32())])
