"""Pools: the same images from memory and from files, for any number of threads."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dmt.data.catalog import Catalog
from dmt.data.decode import decode_square, fit_square
from dmt.data.pool import MemoryPool, Pool, StreamPool, open_pool
from dmt.errors import DataError

CPU = torch.device("cpu")
NUM = 40


def catalog_of(root: Path | None, paths: list[str], images: np.ndarray | None = None) -> Catalog:
    return Catalog(
        name="photos",
        layout="class-folders",
        root=root,
        classes=("cat", "dog"),
        paths=tuple(paths),
        labels=np.zeros(len(paths), dtype=np.int64),
        parts=np.zeros(len(paths), dtype=np.uint8),
        images=images,
        problems=(),
    )


@pytest.fixture
def files(tmp_path: Path) -> Catalog:
    rng = np.random.default_rng(0)
    paths = [f"{number:02}.png" for number in range(NUM)]
    for path in paths:
        height, width = rng.integers(5, 20, 2)
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / path)
    return catalog_of(tmp_path, paths)


def opened(catalog: Catalog, **settings) -> tuple[Pool, list[str]]:
    defaults = {
        "size": 8,
        "device": CPU,
        "workers": 2,
        "memory_limit": 10**9,
        "bad_images": "stop",
    }
    return open_pool(catalog, **(defaults | settings))


_there_before: set[threading.Thread] = set()


@pytest.fixture(autouse=True)
def _other_threads() -> None:
    """A test of another file may have left an error whose frames hold a stream open."""
    _there_before.clear()
    _there_before.update(threading.enumerate())


def threads() -> list[str]:
    mine = set(threading.enumerate()) - _there_before
    return [each.name for each in mine if each.name.startswith("dmt-decode")]


def spoil(catalog: Catalog, *rows: int) -> list[str]:
    for row in rows:
        (catalog.root / catalog.paths[row]).write_bytes(b"not an image")
    return [catalog.paths[row] for row in rows]


@pytest.mark.parametrize(("limit", "kind"), [(NUM * 192, MemoryPool), (NUM * 192 - 1, StreamPool)])
@pytest.mark.parametrize("workers", [0, 3])
def test_both_pools_hold_what_decoding_gives(
    files: Catalog, limit: int, kind: type, workers: int
) -> None:
    pool, bad = opened(files, memory_limit=limit, workers=workers)
    assert type(pool) is kind
    assert (pool.num, pool.size, bad) == (NUM, 8, [])
    ids = torch.tensor([39, 0, 7, 7])
    images = pool.batch(ids)
    assert images.dtype == torch.uint8
    assert images.shape == (4, 3, 8, 8)
    for row, image in zip(ids.tolist(), images, strict=True):
        expected = decode_square(files.root / files.paths[row], 8)
        assert (image.permute(1, 2, 0).numpy() == expected).all()
    assert threads() == []


@pytest.mark.parametrize("workers", [0, 1, 4])
@pytest.mark.parametrize("limit", [0, 10**9])
def test_a_stream_gives_every_batch_in_order_with_the_same_bits(
    files: Catalog, workers: int, limit: int
) -> None:
    reference, _ = opened(files)
    pool, _ = opened(files, workers=workers, memory_limit=limit)
    generator = torch.Generator().manual_seed(0)
    sizes = (17, 1, 33, 0, 16, 5, 5, 5, 5, 5)
    batches = [torch.randint(NUM, (size,), generator=generator) for size in sizes]
    received = list(pool.stream(batches))
    assert len(received) == len(batches)
    for ids, (got_ids, images) in zip(batches, received, strict=True):
        assert got_ids is ids
        assert images.shape == (len(ids), 3, 8, 8)
        assert torch.equal(images, reference.batch(ids))
    assert threads() == []


def test_it_reads_at_most_lookahead_batches_ahead() -> None:
    asked: list[int] = []

    def batches() -> Iterator[Tensor]:
        for number in range(20):
            asked.append(number)
            yield torch.tensor([number])

    def read(row: int) -> np.ndarray:
        return np.full((2, 2, 3), row, dtype=np.uint8)

    pool = StreamPool(read, num=20, size=2, device=CPU, workers=2, lookahead=3)
    for number, (ids, images) in enumerate(pool.stream(batches())):
        assert ids.item() == number
        assert (images == number).all()
        assert len(asked) == min(number + 1 + 3, 20)


def test_slow_images_do_not_change_the_order() -> None:
    def read(row: int) -> np.ndarray:
        time.sleep(0.02 if row % 3 == 0 else 0)
        return np.full((2, 2, 3), row, dtype=np.uint8)

    pool = StreamPool(read, num=12, size=2, device=CPU, workers=4)
    seen = [images[0, 0, 0, 0].item() for _, images in pool.stream(torch.arange(12).split(1))]
    assert seen == list(range(12))


def test_closing_a_stream_ends_its_threads(files: Catalog) -> None:
    pool, _ = opened(files, memory_limit=0)
    stream = pool.stream(torch.arange(NUM).split(4))
    next(stream)
    assert threads() != []
    stream.close()
    assert threads() == []


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_breaks_later_is_an_error_that_names_it(files: Catalog, workers: int) -> None:
    pool, _ = opened(files, memory_limit=0, workers=workers)
    (path,) = spoil(files, 21)
    stream = pool.stream(torch.arange(NUM).split(10))
    assert next(stream)[0].tolist() == list(range(10))
    assert next(stream)[0].tolist() == list(range(10, 20))
    with pytest.raises(DataError, match=path):
        next(stream)
    assert threads() == []


def test_images_in_memory_are_used_as_they_are() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    pool, bad = opened(catalog_of(None, list("abcde"), images), memory_limit=0)
    assert type(pool) is MemoryPool
    assert bad == []
    assert (pool.batch(torch.arange(5)).permute(0, 2, 3, 1).numpy() == images).all()


@pytest.mark.parametrize(("limit", "kind"), [(10**6, MemoryPool), (0, StreamPool)])
def test_images_in_memory_of_another_size_are_fitted(limit: int, kind: type) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 6, 3), dtype=np.uint8)
    pool, _ = opened(catalog_of(None, list("abcde"), images), size=16, memory_limit=limit)
    assert type(pool) is kind
    image = pool.batch(torch.tensor([3]))[0].permute(1, 2, 0).numpy()
    assert (image == fit_square(images[3], 16)).all()


@pytest.mark.parametrize("limit", [0, 10**9])
@pytest.mark.parametrize("workers", [0, 2])
def test_bad_images_stop_with_three_names_the_count_and_the_cure(
    files: Catalog, limit: int, workers: int
) -> None:
    spoil(files, 30, 3, 17, 4)
    with pytest.raises(DataError) as caught:
        opened(files, memory_limit=limit, workers=workers)
    assert str(caught.value) == (
        "4 of 40 images cannot be read (03.png, 04.png, 17.png and 1 more); mend or remove them, "
        "or leave them out with bad_images=skip (`dmt check` says what is wrong with each)"
    )


@pytest.mark.parametrize("limit", [0, 10**9])
def test_bad_images_are_skipped_on_request_and_listed(files: Catalog, limit: int) -> None:
    bad_paths = spoil(files, 3, 17)
    whole = torch.tensor([2, 16, 18])
    pool, bad = opened(files, memory_limit=limit, bad_images="skip")
    assert bad == bad_paths
    expected = decode_square(files.root / files.paths[16], 8)
    assert (pool.batch(whole)[1].permute(1, 2, 0).numpy() == expected).all()


def test_nothing_but_bad_images_is_an_error_even_where_they_are_skipped(files: Catalog) -> None:
    spoil(files, *range(NUM))
    with pytest.raises(DataError, match="none of the 40 images can be read"):
        opened(files, bad_images="skip")


def test_progress_is_told_up_to_the_end(files: Catalog) -> None:
    told: list[tuple[int, int]] = []
    opened(files, progress=lambda done, num: told.append((done, num)))
    assert told == [(16, 40), (32, 40), (40, 40)]


@pytest.mark.gpu
def test_on_a_gpu_batches_arrive_there_with_the_same_bits(files: Catalog) -> None:
    device = torch.device("cuda")
    reference, _ = opened(files)
    for limit in (0, 10**9):
        pool, _ = opened(files, device=device, memory_limit=limit)
        for ids, images in pool.stream(torch.arange(NUM).split(7)):
            assert images.device.type == "cuda"
            assert torch.equal(images.cpu(), reference.batch(ids))
