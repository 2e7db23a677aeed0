"""`dmt label`: a run's model over a pool of any size, shard by shard, each rank its own shards.

Ranks say nothing to each other: shard i is rank i mod N's, and what is there already is done.
How a pool is read is `data.pools`', how a part is written `label_parts`'.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dmt.data.decode import shown
from dmt.data.pictures import index_png, palette
from dmt.data.pools import SHARD_SIZE, local, open_files, open_shards
from dmt.data.pools.decoding import decoded
from dmt.data.pools.items import BigPool, Item, Shard
from dmt.data.pools.parquet_shards import Columns, pyarrow_parquet
from dmt.engine.finite import NotFiniteError
from dmt.engine.listener import Say
from dmt.engine.model import Model
from dmt.engine.segmenter import Segmenter
from dmt.errors import DataError, EnvironmentFault, SettingError
from dmt.inference.label_parts import LabelFolder, Manifest, write_part
from dmt.inference.predicting import is_to_skip
from dmt.inference.using import Headline, headline_of, load
from dmt.records import write_bytes
from dmt.records.writing import make_folder

_BATCH = 512  # images that go through a network together
_MOST_SAID = 20  # images of a shard that are named as left out
_SECONDS_BETWEEN = 10.0
_LAUNCHERS = (
    ("RANK", "WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
)


class Ranks(NamedTuple):
    """This process's place among those that label together."""

    rank: int
    num: int


class Labeled(NamedTuple):
    """What came of a command: of this process, and of the whole pool."""

    num_images: int  # labeled now, by this process
    num_left_out: int
    num_done: int  # shards of the pool that are labeled
    num_shards: int
    seconds: float  # of labeling


def label_pool(
    run: str | Path,
    pool: str,
    *,
    out: str | Path,
    device: str = "auto",
    bad_images: str = "stop",
    shard_size: int = SHARD_SIZE,
    columns: Columns | None = None,
    workers: int | None = None,
    trust_code: bool = False,
    follow_links: bool = False,
    say: Say,
) -> Labeled:
    """Label the shards of a pool that are this rank's and not labeled yet.

    Args:
        run: a finished run, whose headline model labels.
        pool: as `open_shards` and `open_files` take it.
        out: a folder; it is made, or goes on where an earlier command was stopped.
        device: as in training.
        bad_images: "stop" at what cannot be read, or "skip" it and name it through `say`.
        shard_size, columns, follow_links: as `open_shards` and `open_files` take them.
        workers: threads that decode; None: as many as cores.
        trust_code: whether a factory that the run names may be run.

    Raises:
        DmtError: whatever the user can mend.
    """
    is_skipping = is_to_skip(bad_images)
    if shard_size < 1:
        raise SettingError(f"shard_size={shard_size} does not work; give at least 1")
    ranks = ranks_here()
    pyarrow_parquet()  # before any work is done
    headline, folder = headline_of(Path(run)), LabelFolder(Path(out))
    folder.refuse_other_content()
    # Before a folder is made: these are what may be refused.
    model = load(run, device=device, workers=workers, trust_code=trust_code, is_alone=True)
    found = open_shards(pool, shard_size=shard_size, columns=columns, follow_links=follow_links)
    place = "" if found is not None else str(local(pool))
    folder.refuse_others(pool="files" if found is None else found.kind, place=place)
    if found is None:
        known = hashlib.sha256(f"{place}\0{follow_links}".encode()).hexdigest()[:16]
        index = folder.index / known
        found = open_files(pool, index, shard_size=shard_size, follow_links=follow_links)
    folder.make()
    folder.begin(_manifest(headline, found, place, shard_size))
    num = len(found.shards)
    if ranks.rank >= num:
        say(f"rank {ranks.rank} has nothing to do: the pool has {num} shards")
    worker = _Worker(model, folder, is_skipping, say)
    began = time.perf_counter()
    mine = [number for number in folder.missing(num) if number % ranks.num == ranks.rank]
    worker.label_all(mine, found.shards)
    seconds = time.perf_counter() - began
    num_done = num - len(folder.missing(num))
    return Labeled(worker.num_images, worker.num_left_out, num_done, num, seconds)


def ranks_here(environment: Mapping[str, str] = os.environ) -> Ranks:
    """What a launcher says: RANK and WORLD_SIZE, or srun's or mpirun's own words for them.

    Raises:
        EnvironmentFault: only one of them is set, or they are no such numbers.
    """
    names = next((names for names in _LAUNCHERS if environment.get(names[1])), None)
    if names is None:
        return Ranks(0, 1)
    texts = [environment.get(name, "") for name in names]
    if texts == ["", "1"]:
        return Ranks(0, 1)
    rank, num = (int(text) if text.isdecimal() else -1 for text in texts)
    if not 0 <= rank < num:
        raise EnvironmentFault(
            f"{names[0]}={texts[0]} and {names[1]}={texts[1]} say no place among several "
            f"processes; count {names[0]} from 0 to {names[1]} - 1, or unset both"
        )
    return Ranks(rank, num)


class _Worker:
    """Labels shards, one after the other."""

    def __init__(
        self, model: Model | Segmenter, folder: LabelFolder, is_skipping: bool, say: Say
    ) -> None:
        self.num_images = 0
        self.num_left_out = 0
        self._model = model
        self._folder = folder
        self._is_skipping = is_skipping
        self._say = say
        self._left_out: list[str] = []

    def label_all(self, numbers: Sequence[int], shards: Sequence[Shard]) -> None:
        """Label some of the shards, and say now and then how far that has come."""
        began = said = time.perf_counter()
        for done, number in enumerate(numbers, 1):
            self.label(number, shards[number])
            now = time.perf_counter()
            if now - said > _SECONDS_BETWEEN:
                said = now
                self._say(
                    f"{done:,} of {len(numbers):,} shards, {self.num_images:,} images, "
                    f"{self.num_images / (now - began):,.0f} images/s"
                )

    def label(self, number: int, shard: Shard) -> None:
        """Write the part of a shard.

        Raises:
            DataError: something in it cannot be read, and is not to be skipped.
        """
        self._left_out = []
        self._folder.sweep(number)
        model = self._model
        if isinstance(model, Model):
            task, batches = "classification", self._classified(model, shard)
        else:
            task, batches = "segmentation", self._segmented(model, shard, number)
        path = self._folder.part(number)
        with closing(batches):
            self.num_images += write_part(path, batches, task, shard.name, self._left_out)
        self.num_left_out += len(self._left_out)
        if len(self._left_out) > _MOST_SAID:
            self._say(f"left out {len(self._left_out) - _MOST_SAID:,} more of {shown(shard.name)}")

    def _classified(self, model: Model, shard: Shard) -> Generator[dict[str, Any], None, None]:
        for keys, images in _joined(self._images(shard, model.image_size, model.workers)):
            try:
                found, probs = model.predict_squares(images)
            except NotFiniteError as error:
                raise _no_answer([keys[row] for row in error.ids]) from error
            columns: dict[str, Any] = {
                "key": keys,
                "label": found.probs.argmax(axis=1).astype(np.int32),
                "class": found.label,
                "confidence": found.confidence,
                "disagreement": _disagreement(found.agreement, len(keys)),
            }
            for peer, own in zip(("a", "b"), [*probs, None], strict=False):
                best = None if own is None else own.max(dim=1)
                columns[f"{peer}_label"] = (
                    [None] * len(keys) if best is None else best.indices.int().numpy()
                )
                columns[f"{peer}_confidence"] = (
                    [None] * len(keys) if best is None else best.values.numpy()
                )
            yield columns

    def _segmented(
        self, model: Segmenter, shard: Shard, number: int
    ) -> Generator[dict[str, Any], None, None]:
        folder, colors = self._folder.masks(number), palette(len(model.classes))
        make_folder(folder)
        for row, (item, image) in enumerate(self._images(shard, None, model.workers)):
            scene = model.predict_pixels(image, shown(item.where))
            path = folder / f"{row:06d}.png"
            write_bytes(path, index_png(scene.label, colors))
            agreement = None if scene.agreement is None else scene.agreement.mean(dtype=np.float64)
            yield {
                "key": [item.key],
                "mask": [path.relative_to(self._folder.path).as_posix()],
                "confidence": [float(scene.confidence.mean(dtype=np.float64))],
                "disagreement": [None if agreement is None else 1 - float(agreement)],
            }

    def _images(
        self, shard: Shard, size: int | None, workers: int
    ) -> Iterator[tuple[Item, NDArray[np.uint8]]]:
        """The images of a shard that can be read."""
        with closing(decoded(shard, size, workers)) as found:
            for item, image in found:
                if isinstance(image, DataError):
                    self._leave_out(image)
                else:
                    yield item, image

    def _leave_out(self, error: DataError) -> None:
        if not self._is_skipping:
            raise error
        self._left_out.append(str(error))
        if len(self._left_out) <= _MOST_SAID:
            self._say(f"left out: {error}")


def _joined(
    images: Iterator[tuple[Item, NDArray[np.uint8]]],
) -> Iterator[tuple[list[str], Tensor]]:
    """Keys and images, uint8 (B, 3, size, size), of every batch."""
    keys: list[str] = []
    held: list[NDArray[np.uint8]] = []
    for item, image in images:
        keys.append(item.key)
        held.append(image)
        if len(held) == _BATCH:
            yield keys, _stacked(held)
            keys, held = [], []
    if held:
        yield keys, _stacked(held)


def _stacked(images: Sequence[NDArray[np.uint8]]) -> Tensor:
    # As they lie, which is torch's "channels last": convolutions are faster with it than with
    # planes (wrn_10_1 at 32×32 on an AVX2 CPU: 1.5 times the images/s), and nothing is copied.
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def _disagreement(agreement: NDArray[np.float32] | None, num: int) -> Any:
    return [None] * num if agreement is None else 1 - agreement


def _no_answer(keys: Sequence[str]) -> DataError:
    named = ", ".join(shown(key) for key in keys[:3])
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return DataError(f"the model has no finite answer to {named}{more}; look at it, or train again")


def _manifest(headline: Headline, pool: BigPool, place: str, shard_size: int) -> Manifest:
    data = headline.settings.data
    seen = (data.image_size, data.max_side, data.window, data.overlap)
    digest = hashlib.sha256(repr((headline.summary.headline, seen)).encode())
    for path in (*headline.weights, *([headline.other] if headline.other else [])):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return Manifest(
        task=headline.summary.task,
        classes=tuple(headline.summary.classes),
        model=digest.hexdigest(),
        pool=pool.kind,
        place=place,
        sha256=pool.sha256,
        num_shards=len(pool.shards),
        shard_size=shard_size,
    )
