"""Threads that read: batches ahead of their use, or everything once. What is read is not known."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from dmt.errors import DataError

T = TypeVar("T")
Progress = Callable[[int, int], None]

_CHUNK = 16  # images a task: fewer and handing out tasks costs more than a small decode


def read_ahead(
    batches: Iterable[Sequence[Callable[[], T]]], workers: int, lookahead: int = 4
) -> Generator[list[T], None, None]:
    """The results of every batch of calls, in order, made before they are asked for.

    What a call raises is raised where its batch is asked for; of several, the first in the batch.
    What `batches` itself raises comes up to `lookahead` batches early. Threads end with the
    iterator: used up, closed or failed.

    Args:
        batches: the calls; several run at once, in no order.
        workers: threads that make them; 0 makes them in the caller's, when they are asked for.
        lookahead: batches begun before they are asked for, at least 1.
    """
    assert workers >= 0, "a number of threads"
    assert lookahead >= 1, "at least the next batch"
    if workers == 0:
        for batch in batches:
            yield [call() for call in batch]
        return
    coming = iter(batches)
    executor = ThreadPoolExecutor(workers, thread_name_prefix="dmt-decode")
    ahead: deque[list[Future[T]]] = deque()

    def begin() -> None:
        while len(ahead) < lookahead and (batch := next(coming, None)) is not None:
            ahead.append([executor.submit(call) for call in batch])

    try:
        begin()
        while ahead:
            done = [future.result() for future in ahead.popleft()]
            begin()  # before handing over, so that threads work while the caller does
            yield done
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def read_all(
    read: Callable[[int], object], num: int, workers: int, progress: Progress | None
) -> list[int]:
    """Call `read` once with each of 0 … `num` − 1.

    Args:
        read: called from several threads at once; its result is dropped.
        num: how many there are.
        workers: threads; 0 reads in the caller's.
        progress: called with (read so far, `num`) now and then.

    Returns:
        The numbers for which `read` raised a DataError, sorted.
    """

    def read_chunk(start: int) -> list[int]:
        bad = []
        for row in range(start, min(start + _CHUNK, num)):
            try:
                read(row)
            except DataError:
                bad.append(row)
        return bad

    starts = range(0, num, _CHUNK)
    bad: list[int] = []
    with ThreadPoolExecutor(max(1, workers), thread_name_prefix="dmt-decode") as executor:
        chunks = executor.map(read_chunk, starts) if workers else map(read_chunk, starts)
        for start, found in zip(starts, chunks, strict=True):
            bad += found
            if progress is not None:
                progress(min(start + _CHUNK, num), num)
    return bad
