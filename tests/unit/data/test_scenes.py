"""Pools of scenes: images of many sizes, held and from files; reading ahead by calls."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dmt.data.catalog import Catalog
from dmt.data.decode import decode
from dmt.data.read_ahead import read_ahead
from dmt.data.scenes import ScenePool, open_scenes
from dmt.errors import DataError

SIZES = [(30, 40), (40, 30), (7, 90), (12, 12), (64, 48), (30, 40)]
NUM_BYTES = 3 * sum(height * width for height, width in SIZES)


def catalog_of(root: Path | None, paths: list[str], images: np.ndarray | None = None) -> Catalog:
    return Catalog(
        name="scenes",
        layout="image-mask-folders",
        root=root,
        classes=("road", "tree"),
        paths=tuple(paths),
        labels=np.zeros(len(paths), dtype=np.int64),
        parts=np.zeros(len(paths), dtype=np.uint8),
        images=images,
        problems=(),
    )


@pytest.fixture
def files(tmp_path: Path) -> Catalog:
    rng = np.random.default_rng(0)
    paths = [f"{number}.png" for number in range(len(SIZES))]
    for path, size in zip(paths, SIZES, strict=True):
        pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / path)
    return catalog_of(tmp_path, paths)


def opened(catalog: Catalog, **settings) -> tuple[ScenePool, list[str]]:
    defaults = {"max_side": None, "workers": 2, "memory_limit": 10**9, "bad_images": "stop"}
    return open_scenes(catalog, **(defaults | settings))


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("dmt-decode")]


def spoil(catalog: Catalog, *rows: int) -> list[str]:
    for row in rows:
        path = catalog.root / catalog.paths[row]
        # Every other one keeps a header, so that only decoding finds it out.
        path.write_bytes(path.read_bytes()[: 200 if row % 2 else 0])
    return [catalog.paths[row] for row in rows]


@pytest.mark.parametrize(("limit", "is_held"), [(NUM_BYTES, True), (NUM_BYTES - 1, False)])
@pytest.mark.parametrize("workers", [0, 3])
def test_a_pool_holds_what_decoding_gives(
    files: Catalog, limit: int, is_held: bool, workers: int
) -> None:
    pool, bad = opened(files, memory_limit=limit, workers=workers)
    assert (pool.num, bad) == (len(SIZES), [])
    assert pool.sizes.dtype == np.int64
    assert pool.sizes.tolist() == [list(size) for size in SIZES]
    expected = [decode(files.root / path) for path in files.paths]
    for path in files.paths if is_held else []:
        (files.root / path).unlink()
    for id, image in enumerate(expected):
        assert (pool.image(id) == image).all()
        assert pool.image(id).dtype == np.uint8
        assert not pool.image(id).flags.writeable
    assert threads() == []


def test_many_threads_see_the_same_images(files: Catalog) -> None:
    pool, _ = opened(files, memory_limit=0)
    ids = [id for _ in range(20) for id in range(len(SIZES))]
    with ThreadPoolExecutor(8) as executor:
        for id, image in zip(ids, executor.map(pool.image, ids), strict=True):
            assert (image == decode(files.root / files.paths[id])).all()


@pytest.mark.parametrize("limit", [0, 10**9])
def test_longer_sides_come_down_to_the_largest_allowed(files: Catalog, limit: int) -> None:
    pool, _ = opened(files, max_side=32, memory_limit=limit)
    assert pool.sizes.tolist() == [[24, 32], [32, 24], [2, 32], [12, 12], [32, 24], [24, 32]]
    for id, size in enumerate(pool.sizes.tolist()):
        assert list(pool.image(id).shape) == [*size, 3]
    assert (pool.image(3) == decode(files.root / files.paths[3])).all()
    whole = decode(files.root / files.paths[4]).astype(float)
    halved = whole.reshape(32, 2, 24, 2, 3).mean(axis=(1, 3))
    assert np.abs(pool.image(4) - halved).mean() < 25  # of noise; another place would give 50


@pytest.mark.parametrize("limit", [0, 10**9])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_turned_jpeg_is_upright_and_of_the_right_content(
    tmp_path: Path, limit: int, orientation: int
) -> None:
    y, x = np.mgrid[:600, :1000]
    pixels = np.stack([x / 4, y / 3, np.full_like(x, 60.0)], axis=2).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95, exif=exif)
    pool, _ = opened(catalog_of(tmp_path, ["a.jpg"]), max_side=100, memory_limit=limit)
    upright = np.rot90(pixels, -1) if orientation == 6 else pixels
    size = (100, 60) if orientation == 6 else (60, 100)
    assert pool.sizes.tolist() == [list(size)]
    expected = np.asarray(Image.fromarray(upright).resize(size[::-1], Image.Resampling.BOX))
    assert np.abs(pool.image(0).astype(int) - expected).max() <= 4


def test_images_in_memory_are_used_as_they_are_or_fitted() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 16, 3), dtype=np.uint8)
    catalog = catalog_of(None, list("abcde"), images)
    pool, bad = opened(catalog, memory_limit=0)
    assert bad == []
    assert pool.sizes.tolist() == [[8, 16]] * 5
    assert np.shares_memory(pool.image(2), images)
    assert not pool.image(2).flags.writeable
    assert images.flags.writeable
    for limit in (0, 10**6):
        pool, _ = opened(catalog, max_side=8, memory_limit=limit)
        assert pool.sizes.tolist() == [[4, 8]] * 5
        assert pool.image(4).shape == (4, 8, 3)


@pytest.mark.parametrize("limit", [0, 10**9])
@pytest.mark.parametrize("workers", [0, 2])
def test_bad_images_stop_with_names_and_the_cure(files: Catalog, limit: int, workers: int) -> None:
    spoil(files, 4, 1)
    with pytest.raises(DataError) as caught:
        opened(files, memory_limit=limit, workers=workers)
    assert str(caught.value) == (
        "2 of 6 images cannot be read (1.png, 4.png); mend or remove them, or leave them out "
        "with bad_images=skip (`dmt check` says what is wrong with each)"
    )


@pytest.mark.parametrize("limit", [0, 10**9])
def test_bad_images_are_skipped_on_request_and_listed(files: Catalog, limit: int) -> None:
    bad_paths = spoil(files, 1, 4)
    pool, bad = opened(files, memory_limit=limit, bad_images="skip")
    assert bad == bad_paths
    assert pool.sizes[[1, 4]].tolist() == [[0, 0], [0, 0]]
    for id in (0, 2, 3, 5):
        assert (pool.image(id) == decode(files.root / files.paths[id])).all()
    with pytest.raises(AssertionError):
        pool.image(1)


def test_nothing_but_bad_images_is_an_error_even_where_they_are_skipped(files: Catalog) -> None:
    spoil(files, *range(len(SIZES)))
    with pytest.raises(DataError, match="none of the 6 images can be read"):
        opened(files, bad_images="skip")


def test_an_image_that_breaks_later_is_an_error_that_names_it(files: Catalog) -> None:
    pool, _ = opened(files, memory_limit=0)
    (path,) = spoil(files, 2)
    with pytest.raises(DataError, match=path):
        pool.image(2)


def test_progress_is_told_up_to_the_end(files: Catalog) -> None:
    told: list[tuple[int, int]] = []
    opened(files, progress=lambda done, num: told.append((done, num)))
    assert told == [(6, 6)]


def calls_of(numbers: list[int], failing: int | None = None) -> list[Callable[[], int]]:
    def call(number: int) -> int:
        if number == failing:
            raise DataError(f"number {number}")
        return number

    return [partial(call, number) for number in numbers]


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_reading_ahead_keeps_the_order_of_batches_and_calls(workers: int) -> None:
    batches = [[3, 1], [], [2], list(range(50))]
    assert list(read_ahead(map(calls_of, batches), workers, lookahead=2)) == batches
    assert threads() == []


@pytest.mark.parametrize("workers", [0, 3])
def test_a_failure_comes_with_its_own_batch(workers: int) -> None:
    batches = [calls_of([0, 1]), calls_of([2, 3], failing=3), calls_of([4])]
    results = read_ahead(batches, workers)
    assert next(results) == [0, 1]
    with pytest.raises(DataError, match="number 3"):
        next(results)
    assert threads() == []


def test_closing_early_ends_the_threads_and_asks_for_no_more() -> None:
    asked: list[int] = []

    def batches() -> Iterator[list[Callable[[], int]]]:
        for number in range(100):
            asked.append(number)
            yield calls_of([number])

    results = read_ahead(batches(), 2, lookahead=3)
    assert [next(results), next(results)] == [[0], [1]]
    results.close()
    assert threads() == []
    assert len(asked) == 5
