"""Pseudo labels of a large pool while they are made: shard by shard, so that going on is cheap.

What comes of it is a store that `pseudo_labels.ImageLabels` opens, once it has its manifest.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import torch
from torch import Tensor, nn

from dmt import faults
from dmt.data.pseudo_labels import COLUMNS, MANIFEST, Manifest, column_file, packed, read_column
from dmt.errors import RunError
from dmt.records import Record, read_json, write_bytes, write_json
from dmt.records.writing import make_folder

_UNDER_WAY = "shards.json"


class _UnderWay(Record):
    """What the shards that are there were made from."""

    num_shards: int
    sha256: str  # of the network and of the images' numbers


class LabelShards:
    """The shards of one labeling: which of them are there, and writing more."""

    def __init__(self, folder: Path, num_shards: int) -> None:
        self._folder = folder
        self._num = num_shards

    def begin(self, net: nn.Module, ids: Tensor) -> None:
        """Keep what an earlier session made of the same question, remove all else; by one rank.

        Args:
            net: the teacher.
            ids: int64 (N,), of all images.

        Raises:
            RunError: the disk is full or may not be written.
        """
        asked = _UnderWay(num_shards=self._num, sha256=_digest(net, ids))
        path = self._folder / _UNDER_WAY
        try:
            is_same = path.is_file() and _UnderWay.model_validate(read_json(path)) == asked
        except (RunError, ValueError):
            is_same = False
        try:
            if not is_same and self._folder.exists():
                shutil.rmtree(self._folder)
            make_folder(self._folder)
            (self._folder / MANIFEST).unlink(missing_ok=True)
        except OSError as error:
            raise RunError(
                f"cannot write pseudo labels to {self._folder}: {error.strerror}"
            ) from error
        faults.reached("labels removed")
        if not is_same:
            write_json(path, asked)

    def is_there(self, shard: int) -> bool:
        """Whether a shard is done; its last column is written last."""
        return column_file(self._folder, COLUMNS[-1], shard).is_file()

    def write(self, shard: int, ids: Tensor, label: Tensor, code: Tensor, num_classes: int) -> None:
        """Store a shard: see `ImageLabels.write`.

        Raises:
            RunError: the disk is full or may not be written.
        """
        for name, column in packed(ids, label, code, num_classes).items():
            write_bytes(column_file(self._folder, name, shard), column)

    def finish(
        self, num_classes: int, fraction: float, is_class_balanced: bool, seed: int, where: str
    ) -> None:
        """Make a store of the shards, all of which are there; by one rank. See `ImageLabels.write`.

        Raises:
            RunError: the disk is full or may not be written, or a shard cannot be read.
        """
        try:
            num = sum(
                len(read_column(self._folder, COLUMNS[0], shard)) for shard in range(self._num)
            )
        except (OSError, ValueError, EOFError) as error:
            raise RunError(
                f"the pseudo labels in {self._folder} cannot be read: {error}; delete the folder, "
                "and they are made again"
            ) from error
        manifest = Manifest(
            num=num,
            num_parts=self._num,
            num_classes=num_classes,
            fraction=fraction,
            is_class_balanced=is_class_balanced,
            seed=seed,
            where=where,
        )
        write_json(self._folder / MANIFEST, manifest)


def _digest(net: nn.Module, ids: Tensor) -> str:
    digest = hashlib.sha256(ids.numpy().tobytes())
    for name, tensor in net.state_dict().items():
        content = tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8)
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(content.numpy().tobytes())
    return digest.hexdigest()
