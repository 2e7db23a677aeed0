"""Tables of images in Parquet: a column of bytes, or of paths. Only here they are read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmt.data.decode import shown
from dmt.data.pools.items import MAX_BYTES, Item, too_large
from dmt.data.pools.places import Place, is_remote, opened_place
from dmt.errors import DataError, EnvironmentFault, SettingError

_ROWS_AT_ONCE = 64
_KEYS_AT_ONCE = 1 << 14
_KEYS = ("key", "__key__", "id", "name", "path", "file", "filename")
_PATHS = ("path", "image_path", "file_path", "file", "filename", "image", "image_name")


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are meant; None: found by their names and types."""

    image: str | None = None
    key: str | None = None


@dataclass(frozen=True)
class ParquetShard:
    """Some consecutive row groups of one file."""

    place: Place
    groups: tuple[int, ...]
    first_row: int
    num_rows: int
    is_whole: bool  # whether these are all of its groups
    columns: Columns
    locate: Callable[[str], Path]  # a path in the table as a file; may raise DataError

    @property
    def name(self) -> str:
        """See `Shard.name`."""
        if self.is_whole:
            return self.place.name
        return f"{self.place.name}[{self.groups[0]}:{self.groups[-1] + 1}]"

    def items(self) -> Iterator[Item]:
        """See `Shard.items`."""
        with opened_place(self.place) as file:
            try:
                table = pyarrow_parquet().ParquetFile(file)
                image, key = _chosen(table.schema_arrow, self.columns, self.place)
                names = list(dict.fromkeys([image, *([key] if key else [])]))
                batches = table.iter_batches(_ROWS_AT_ONCE, row_groups=self.groups, columns=names)
                row = self.first_row
                for batch in batches:
                    values = batch.column(image).to_pylist()
                    keys = batch.column(key).to_pylist() if key else [None] * len(values)
                    for value, own in zip(values, keys, strict=True):
                        yield self._item(row, str(row) if own is None else str(own), value)
                        row += 1
            except DataError:
                raise
            except (_arrow_error(), ValueError, OverflowError) as error:
                raise DataError(_damaged(self.place, error)) from error

    def names(self) -> Iterator[str]:
        """What its images are called, as `items` has it; only where it holds the images' bytes.

        Raises:
            DataError: as `items`.
        """
        with opened_place(self.place) as file:
            try:
                table = pyarrow_parquet().ParquetFile(file)
                _, key = _chosen(table.schema_arrow, self.columns, self.place)
                names = [key] if key else []
                batches = table.iter_batches(_KEYS_AT_ONCE, row_groups=self.groups, columns=names)
                row = self.first_row
                for batch in batches:
                    keys = batch.column(key).to_pylist() if key else [None] * len(batch)
                    for own in keys:
                        yield str(row) if own is None else str(own)
                        row += 1
            except (_arrow_error(), ValueError, OverflowError) as error:
                raise DataError(_damaged(self.place, error)) from error

    def holds_bytes(self) -> bool:
        """Whether the images themselves are in it, rather than paths.

        Raises:
            DataError: as `items`.
        """
        import pyarrow.types as types

        with opened_place(self.place) as file:
            try:
                schema = pyarrow_parquet().ParquetFile(file).schema_arrow
            except (_arrow_error(), ValueError, OverflowError) as error:
                raise DataError(_damaged(self.place, error)) from error
            image, _ = _chosen(schema, self.columns, self.place)
            return _is_binary(schema.field(image).type, types)

    def _item(self, row: int, key: str, value: Any) -> Item:
        where = f"{self.place.name}, row {row}"
        if isinstance(value, dict):  # an image as the Hugging Face library writes it
            value = value["bytes"] if value.get("bytes") is not None else value.get("path")
        if isinstance(value, bytes):
            large = len(value) > MAX_BYTES
            return Item(key, where, too_large(where, len(value)) if large else value)
        if isinstance(value, str):
            try:
                return Item(key, where, self.locate(value))
            except DataError as error:
                return Item(key, where, error)
        return Item(key, where, DataError(f"{shown(where)} holds no image: remove the row"))


def parquet_shards(
    places: Sequence[Place], columns: Columns, shard_size: int, *, follow_links: bool
) -> tuple[list[ParquetShard], list[int]]:
    """The shards of tables: row groups, joined until they have `shard_size` rows.

    Returns:
        The shards, and how many rows each has.

    Raises:
        DataError: a table is damaged, or no column of it holds images.
        SettingError: a column that was named is not there.
        EnvironmentFault: pyarrow is not installed.
    """
    shards: list[ParquetShard] = []
    counts: list[int] = []
    for place in places:
        with opened_place(place) as file:
            try:
                table = pyarrow_parquet().ParquetFile(file)
                facts = table.metadata
                sizes = [facts.row_group(each).num_rows for each in range(facts.num_row_groups)]
                schema = table.schema_arrow
            except (_arrow_error(), ValueError, OverflowError) as error:
                raise DataError(_damaged(place, error)) from error
        _chosen(schema, columns, place)
        locate = _locator(place, follow_links)
        for groups, first_row, num in _joined(sizes, shard_size):
            is_whole = len(groups) == len(sizes)
            shards.append(ParquetShard(place, groups, first_row, num, is_whole, columns, locate))
            counts.append(num)
    return shards, counts


def pyarrow_parquet() -> Any:
    """`pyarrow.parquet`.

    Raises:
        EnvironmentFault: it is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise EnvironmentFault(
            "Parquet needs the package pyarrow, which is not installed; pip install 'dmt[pools]'"
        ) from error
    return pyarrow.parquet


def _arrow_error() -> type[Exception]:
    pyarrow_parquet()
    import pyarrow

    error: type[Exception] = pyarrow.ArrowException
    return error


def _damaged(place: Place, error: Exception) -> str:
    told = " ".join(str(error).split())[:200]
    return (
        f"{shown(place.address)} is truncated, damaged or no Parquet ({shown(told)}): replace it, "
        "or go on without the rest of it by bad_images=skip"
    )


def _joined(sizes: Sequence[int], shard_size: int) -> Iterator[tuple[tuple[int, ...], int, int]]:
    """(row groups, first row, rows) of every shard."""
    groups: list[int] = []
    first_row = num = 0
    for group, size in enumerate(sizes):
        groups.append(group)
        num += size
        if num >= shard_size or group == len(sizes) - 1:
            yield tuple(groups), first_row, num
            groups, first_row, num = [], first_row + num, 0


def _chosen(schema: Any, columns: Columns, place: Place) -> tuple[str, str | None]:
    """The names of the column of images and of that of keys, if there is one."""
    import pyarrow.types as types

    kinds = {field.name: field.type for field in schema}
    for wanted in (columns.image, columns.key):
        if wanted is not None and wanted not in kinds:
            raise SettingError(
                f"{shown(place.address)} has no column {shown(wanted)}; it has "
                f"{shown(', '.join(list(kinds)[:10]))}"
            )
    image = columns.image
    if image is None:
        binary = [name for name, kind in kinds.items() if _is_binary(kind, types)]
        paths = [name for name in _PATHS if name in kinds and _is_text(kinds[name], types)]
        if len(binary) != 1 and not (paths and not binary):
            found = f"it has {shown(', '.join(list(kinds)[:10]))}"
            why = "several columns of bytes" if binary else "no column of bytes and none of paths"
            raise DataError(f"{shown(place.address)} has {why}: name one with image=; {found}")
        image = binary[0] if binary else paths[0]
    key = columns.key
    if key is None:
        key = next((n for n in _KEYS if n in kinds and not types.is_nested(kinds[n])), None)
    return image, key


def _is_binary(kind: Any, types: Any) -> bool:
    if types.is_struct(kind):
        names = [kind.field(number).name for number in range(kind.num_fields)]
        return "bytes" in names and _is_binary(kind.field("bytes").type, types)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _is_text(kind: Any, types: Any) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _locator(place: Place, follow_links: bool) -> Callable[[str], Path]:
    from dmt.data.pools.listed import Folder

    if is_remote(place.address):

        def refuse(path: str) -> Path:
            raise DataError(
                f"{shown(place.name)} names the file {shown(path)}, and paths are read from tables "
                "on this machine's own disks only: put the bytes into the table"
            )

        return refuse
    return Folder(os.path.dirname(os.path.abspath(place.address)), follow_links).locate
