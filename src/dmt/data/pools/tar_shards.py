"""WebDataset's shards: the images in a tar, read from its beginning to its end, never unpacked."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from dmt.data.decode import is_image, shown
from dmt.data.pools.items import MAX_BYTES, Item, too_large
from dmt.data.pools.places import Place, opened_place
from dmt.errors import DataError


@dataclass(frozen=True)
class TarShard:
    """One uncompressed tar."""

    place: Place

    @property
    def name(self) -> str:
        """See `Shard.name`."""
        return self.place.name

    def items(self) -> Iterator[Item]:
        """See `Shard.items`: its regular members that are images by suffix, hidden ones left out.

        Raises:
            DataError: the archive is missing or damaged from here on.
        """
        # As a stream: what a header says of sizes is never believed before it is there.
        for tar, member in self._members("r|"):
            yield self._item(tar, member)

    def places(self) -> Iterator[tuple[str, int, int]]:
        """The name of every image, where it begins in the file, and its bytes.

        Raises:
            DataError: as `items`, or an image is too large.
        """
        for _, member in self._members("r:"):
            if member.size > MAX_BYTES or member.issparse():
                raise too_large(f"{self.name}/{member.name}", member.size)
            yield member.name, member.offset_data, member.size

    def _members(
        self, mode: Literal["r|", "r:"]
    ) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
        with opened_place(self.place) as file:
            try:
                with tarfile.open(fileobj=file, mode=mode, tarinfo=_StrictHeader) as tar:
                    while (member := tar.next()) is not None:
                        # It keeps every header that it saw, and a shard may have millions.
                        tar.members.clear()  # type: ignore[attr-defined]
                        if _is_wanted(member):
                            yield tar, member
            except (tarfile.TarError, EOFError, ValueError) as error:
                raise DataError(
                    f"the shard {shown(self.place.address)} is truncated or damaged "
                    f"({shown(str(error))}): replace it, or go on without the rest of it by "
                    "bad_images=skip"
                ) from error

    def _item(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> Item:
        where = f"{self.name}/{member.name}"
        if member.size > MAX_BYTES or member.issparse():
            return Item(member.name, where, too_large(where, member.size))
        file = tar.extractfile(member)
        assert file is not None, "a regular member has content"
        content = file.read()
        if len(content) != member.size:
            raise tarfile.ReadError("unexpected end of data")
        return Item(member.name, where, content)


class _StrictHeader(tarfile.TarInfo):
    """A header that is damaged, or missing where no end was marked, is an error.

    `tarfile` takes both for the end of the archive, and the images behind it would be lost
    without a word.
    """

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> _StrictHeader:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error) or "damaged header") from error


def _is_wanted(member: tarfile.TarInfo) -> bool:
    name = member.name.rsplit("/", 1)[-1]
    if not member.isreg() or name.startswith(".") or not is_image(name):
        return False
    try:
        member.name.encode()
    except UnicodeEncodeError:
        raise tarfile.ReadError(f"the name {member.name!a} is not valid UTF-8") from None
    return True
