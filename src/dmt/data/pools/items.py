"""What a pool of any size is made of: shards, and images in them one after the other.

Which files are a pool's shards is told in the package; reading each kind has a file of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dmt.data.decode import decode, decode_square, shown
from dmt.errors import DataError

MAX_BYTES = 1 << 30
"""An image that says it has more is refused unread."""


class Item(NamedTuple):
    """One image of a shard."""

    key: str  # its name in the pool: a path, a member of a tar, a key or row of a table
    where: str  # the same for a sentence, with the shard's name
    content: Path | bytes | DataError  # the last: why it cannot be read

    @property
    def num_bytes(self) -> int:
        """What is held of it in memory."""
        return len(self.content) if isinstance(self.content, bytes) else 0

    def decoded(self, size: int | None) -> NDArray[np.uint8] | DataError:
        """The image as uint8 (H, W, 3), or (size, size, 3), or why it cannot be read."""
        content = self.content
        if isinstance(content, DataError):
            return content
        path, data = (content, None) if isinstance(content, Path) else (self.where, content)
        try:
            return decode(path, data) if size is None else decode_square(path, size, data)
        except DataError as error:
            return error


class Shard(Protocol):
    """A part of a pool that is read from its beginning to its end."""

    @property
    def name(self) -> str:
        """What it is called in the pool."""
        ...

    def items(self) -> Iterator[Item]:
        """Its images, in the same order every time.

        Raises:
            DataError: it is missing or damaged from here on; what came before was right.
        """
        ...


@dataclass(frozen=True)
class BigPool:
    """A pool that is read shard by shard.

    Attributes:
        kind: `files`, `tar` or `parquet`.
        shards: in order.
        sha256: of the shards' names and sizes: another pool, or a pool that changed, has another.
    """

    kind: str
    shards: Sequence[Shard]
    sha256: str


def too_large(where: str, num_bytes: int) -> DataError:
    """What is said of an image beyond `MAX_BYTES`."""
    return DataError(
        f"{shown(where)} has {num_bytes / (1 << 20):,.0f} MB, and an image of more than "
        f"{MAX_BYTES >> 20:,} MB is not read: leave it out"
    )
