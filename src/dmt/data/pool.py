"""Images by id, as batches on the device, held there or decoded ahead. Not their labels."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing
from functools import partial
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dmt.core import sent
from dmt.data.catalog import Catalog
from dmt.data.decode import decode_square, fit_square, shown
from dmt.data.pools.prints import some_of
from dmt.data.read_ahead import Progress, read_ahead, read_all
from dmt.data.unchanged import watched
from dmt.errors import DataError

_LOOKED_AT = 2000  # images of a large pool, before training
_CHUNK = 16  # images a call: fewer and handing out calls costs more than a small decode

Read = Callable[[int], NDArray[np.uint8]]


class Pool(Protocol):
    """`num` images of (3, size, size), asked for by id."""

    num: int
    size: int
    unreadable: AbstractSet[int]
    """Ids of a large pool that were asked for and cannot be read; their images are black."""

    def batch(self, ids: Tensor) -> Tensor:
        """Images of `ids` (int64, (B,), any device): uint8, (B, 3, size, size), on the device."""
        ...

    def stream(self, batches: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """`(ids, batch(ids))` for each of `batches`, in order, read ahead where that helps."""
        ...


class MemoryPool:
    """All images as one tensor on the device: the fastest where they fit."""

    def __init__(self, images: Tensor) -> None:
        """Take `images`, uint8, (N, 3, size, size), which stay on the device they are on."""
        assert images.dtype == torch.uint8, "pools hold bytes"
        assert images.ndim == 4, "images are (N, 3, size, size)"
        assert images.shape[1] == 3, "images have three channels"
        assert images.shape[2] == images.shape[3], "images are square"
        self.num = images.shape[0]
        self.size = images.shape[2]
        self.unreadable: AbstractSet[int] = frozenset()
        self._images = images

    def batch(self, ids: Tensor) -> Tensor:
        """See `Pool.batch`."""
        return self._images.index_select(0, sent(ids, self._images.device))

    def stream(self, batches: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """See `Pool.stream`; there is nothing to read ahead."""
        for ids in batches:
            yield ids, self.batch(ids)


class StreamPool:
    """Images read when they are needed, by threads that only decode.

    Order and bits do not depend on the number of threads.
    """

    def __init__(
        self,
        read: Read,
        *,
        num: int,
        size: int,
        device: torch.device,
        workers: int,
        lookahead: int = 4,
        unreadable: AbstractSet[int] = frozenset(),
    ) -> None:
        """Read by `read`.

        Args:
            read: from an id to uint8 (size, size, 3); called from several threads at once.
            num: how many images there are.
            size: their side in pixels.
            device: where batches are put.
            workers: threads that decode; 0 decodes in the caller's.
            lookahead: batches read before they are asked for, at least 1.
            unreadable: where `read` puts what it has no image of.
        """
        assert workers >= 0, "a number of threads"
        assert lookahead >= 1, "at least the next batch"
        self.num = num
        self.size = size
        self.unreadable = unreadable
        self._read = read
        self._device = device
        self._workers = workers
        self._lookahead = lookahead

    def batch(self, ids: Tensor) -> Tensor:
        """See `Pool.batch`.

        Raises:
            DataError: an image has vanished or changed since it was checked.
        """
        with closing(self.stream([ids])) as batches:
            return next(batches)[1]

    def stream(self, batches: Iterable[Tensor]) -> Generator[tuple[Tensor, Tensor], None, None]:
        """See `Pool.stream`. Threads end with the iterator: used up, closed or failed.

        Raises:
            DataError: as in `batch`.
        """
        waiting: deque[tuple[Tensor, Tensor]] = deque()

        def calls() -> Iterator[list[Callable[[], None]]]:
            for ids in batches:
                rows = ids.tolist()
                buffer = self._buffer(len(rows))
                waiting.append((ids, buffer))
                yield [
                    partial(self._fill, buffer, start, rows[start : start + _CHUNK])
                    for start in range(0, len(rows), _CHUNK)
                ]

        with closing(read_ahead(calls(), self._workers, self._lookahead)) as filled:
            for _ in filled:
                ids, buffer = waiting.popleft()
                yield ids, self._on_device(buffer)

    def _fill(self, buffer: Tensor, start: int, rows: Sequence[int]) -> None:
        view = buffer.numpy()
        for offset, row in enumerate(rows, start):
            view[offset] = self._read(row).transpose(2, 0, 1)

    def _buffer(self, num: int) -> Tensor:
        # Pinned memory lets the copy to the GPU run beside its work; the allocator keeps a freed
        # buffer until that copy is over.
        is_pinned = self._device.type == "cuda"
        return torch.empty((num, 3, self.size, self.size), dtype=torch.uint8, pin_memory=is_pinned)

    def _on_device(self, buffer: Tensor) -> Tensor:
        return sent(buffer, self._device)


def open_pool(
    catalog: Catalog,
    *,
    size: int,
    device: torch.device,
    workers: int,
    memory_limit: int,
    bad_images: Literal["stop", "skip"],
    progress: Progress | None = None,
) -> tuple[Pool, list[str]]:
    """A pool of every image of `catalog`, in memory if that takes at most `memory_limit` bytes.

    Every image is decoded once before this returns, also where they are streamed afterwards: an
    image that cannot be read is to be known before training, not in the middle of it. Of a large
    pool that would take hours, so 2000 are looked at; it is streamed, whatever its size.

    Args:
        catalog: the data set; row i of it is id i of the pool.
        size: side of the images in pixels; others are resized and cropped to the centre.
        device: where batches are put.
        workers: threads that decode; 0 decodes in the caller's.
        memory_limit: bytes that the images may take on the device. A set that is in memory at
            this size already stays there whatever the limit.
        bad_images: stop at unreadable images, or go on without them.
        progress: called with (images read, images in all) now and then.

    Returns:
        The pool, and the relative paths of unreadable images in the catalog's order. Their ids
        must not be asked for: a pool in memory has black images there, a streamed one fails. Those
        of a large pool are not among them (see `Pool.unreadable`).

    Raises:
        DataError: unreadable images and `bad_images="stop"`, or no readable image at all.
    """
    num = len(catalog.paths)
    is_large = catalog.prints is not None
    unreadable_later: set[int] | None = set() if is_large and bad_images == "skip" else None
    read = _reader(catalog, size, unreadable_later)
    if catalog.images is not None and catalog.images.shape[1:3] == (size, size):
        return MemoryPool(_from_array(catalog.images).to(device)), []
    kept: Tensor | None = None
    if not is_large and num * 3 * size * size <= memory_limit:
        kept = torch.zeros((num, 3, size, size), dtype=torch.uint8)

    def keep(row: int) -> None:
        image = read(row)
        if kept is not None:
            kept.numpy()[row] = image.transpose(2, 0, 1)

    told = catalog.num_told
    later = told + np.array(some_of(num - told, _LOOKED_AT), dtype=np.int64)

    def keep_or_look(number: int) -> None:
        keep(number if number < told else int(later[number - told]))

    bad = read_all(keep_or_look, told + len(later), workers, progress)
    bad = [number if number < told else int(later[number - told]) for number in bad]
    unreadable = refuse_unreadable(catalog.paths, bad, bad_images)
    pool: Pool
    if kept is not None:
        pool = MemoryPool(kept.to(device))
    else:
        pool = StreamPool(
            read,
            num=num,
            size=size,
            device=device,
            workers=workers,
            unreadable=frozenset() if unreadable_later is None else unreadable_later,
        )
    return pool, unreadable


def _reader(catalog: Catalog, size: int, unreadable: set[int] | None) -> Read:
    """What reads an image; one of a large pool that cannot be read is put into `unreadable`."""
    images = catalog.images
    if images is not None:
        return lambda row: fit_square(images[row], size)

    def read(row: int) -> NDArray[np.uint8]:
        path, content = catalog.source(row)
        return decode_square(path, size, content)

    own, told = watched(read, catalog.file, catalog.num_told), catalog.num_told

    def read_any(row: int) -> NDArray[np.uint8]:
        if row < told:
            return own(row)
        try:
            return read(row)
        except DataError as error:
            if unreadable is None:
                raise DataError(f"{error}; or leave such images out by bad_images=skip") from error
            unreadable.add(row)
            return np.zeros((size, size, 3), dtype=np.uint8)

    return own if told == len(catalog) else read_any


def _from_array(images: NDArray[np.uint8]) -> Tensor:
    """(N, size, size, 3) as a tensor (N, 3, size, size) of its own memory."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def refuse_unreadable(
    paths: Sequence[str], bad: Sequence[int], bad_images: Literal["stop", "skip"]
) -> list[str]:
    """The relative paths of the unreadable images, if a run may go on without them.

    Args:
        paths: of all images.
        bad: the unreadable ones' rows.
        bad_images: stop at unreadable images, or go on without them.

    Raises:
        DataError: there are some and `bad_images="stop"`, or no image is readable.
    """
    unreadable = [paths[row] for row in bad]
    if bad and (bad_images == "stop" or len(bad) == len(paths)):
        raise DataError(_bad_sentence(unreadable, len(paths)))
    return unreadable


def _bad_sentence(paths: list[str], num: int) -> str:
    listed = ", ".join(shown(path) for path in paths[:3]) + (
        f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    )
    if len(paths) == num:
        return f"none of the {num} images can be read ({listed}): are they images?"
    return (
        f"{len(paths)} of {num} images cannot be read ({listed}); mend or remove them, or leave "
        "them out with bad_images=skip (`dmt check` says what is wrong with each)"
    )
