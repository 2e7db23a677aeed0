"""`data.unlabeled=`: images from another place are learned from as if they lay in the data."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from commands import refused
from pool_files import add, png, write_parquet, write_tars

SHORT = ("steps=6", "rounds=1", "model=wrn_10_1", "batch_size=16", "device=cpu", "baseline=none",
         "data.image_size=8")  # fmt: skip
NUM = 24


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`own/` has labeled/ and unlabeled/, `data/` labeled/ alone; the pool comes in other forms."""
    root = tmp_path_factory.mktemp("places")
    for name, level in (("dark", 40), ("light", 200)):
        folder = root / "data" / "labeled" / name
        folder.mkdir(parents=True)
        for number in range(8):
            noise = np.random.default_rng(number).integers(0, 40, (8, 8, 3))
            Image.fromarray((level + noise).astype(np.uint8)).save(folder / f"{number}.png")
    shutil.copytree(root / "data", root / "own")
    (root / "own" / "unlabeled").mkdir()
    (root / "files").mkdir()
    for number in range(NUM):
        for folder in (root / "own" / "unlabeled", root / "files"):
            (folder / f"{number:05d}.png").write_bytes(png(number))
    write_tars(root / "tars", 3, NUM // 3)
    names = [f"{number:05d}.png" for number in range(NUM)]
    (root / "files" / "list.txt").write_text("".join(f"{name}\n" for name in names))
    write_parquet(root / "files" / "paths.parquet", {"path": names}, 10)
    return root


@pytest.fixture(scope="module")
def own(places: Path) -> dict[str, bytes]:
    """What a run on `own/` learns."""
    from commands import call

    outcome = call("train", places / "own", *SHORT, f"out={places / 'run-own'}")
    assert outcome.code == 0, outcome.err
    return weights(places / "run-own")


def weights(run: Path) -> dict[str, bytes]:
    return {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.suffix in {".safetensors", ".npy"}
    }


@pytest.mark.parametrize(
    "pool", ["tars", "tars/pool-{00..02}.tar", "files/list.txt", "files/paths.parquet"]
)
def test_learned_from_as_if_it_lay_in_the_data(
    pool: str, places: Path, own: dict[str, bytes], tmp_path: Path, dmt
) -> None:
    run = tmp_path / "run"
    words = (f"out={run}", f"data.unlabeled={places / pool}", "data.memory_limit=0")
    outcome = dmt("train", places / "data", *SHORT, *words)
    assert outcome.code == 0, outcome.err
    assert weights(run) == own


def test_resumed_reviewed_and_refused_when_it_changed(
    places: Path, own: dict[str, bytes], tmp_path: Path, dmt
) -> None:
    run, pool = tmp_path / "run", tmp_path / "pool"
    shutil.copytree(places / "tars", pool)
    words = ["train", places / "data", *SHORT, f"out={run}", f"data.unlabeled={pool}"]
    assert dmt(*words).code == 0
    (run / "summary.json").unlink()
    assert dmt("resume", run).code == 0
    assert weights(run) == own
    outcome = dmt("review", run, "device=cpu")
    assert outcome.code == 0, outcome.err
    assert "pool-00.tar/00000.png" in (run / "review.csv").read_text()
    (run / "summary.json").unlink()
    with tarfile.open(pool / "pool-00.tar", "w") as tar:
        for number in range(NUM // 3):
            add(tar, f"{number:05d}.png", png(number or 99))
    refused("resume", [run], "pool-00.tar/00000.png", "has another content")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the indexes of large pools are kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "dmt" / "pools"


@pytest.mark.parametrize("pool", ["tars", "files", "files/list.txt", "images.parquet"])
def test_of_a_large_pool_the_same_is_learned(
    pool: str, places: Path, own: dict[str, bytes], tmp_path: Path, cache: Path, dmt
) -> None:
    where = places / pool
    if pool == "images.parquet":
        images = [png(number) for number in range(NUM)]
        write_parquet(where, {"image": images}, rows_a_group=10)
    elif pool == "files":  # without the lists that lie beside the images
        where = shutil.copytree(
            where, tmp_path / "files", ignore=shutil.ignore_patterns("*.txt", "*.parquet")
        )
    run = tmp_path / "run"
    words = [f"out={run}", f"data.unlabeled={where}", f"data.large_pool={NUM}"]
    outcome = dmt("train", places / "data", *SHORT, *words)
    assert outcome.code == 0, outcome.err
    assert weights(run) == own
    record = json.loads((run / "data.json").read_text())
    assert record["num"] == NUM + 16
    assert len(record["files"]) == 16
    assert len(record["pool"]) == (3 if pool == "tars" else 1)
    assert len(list(cache.iterdir())) == 1
    (run / "summary.json").unlink()
    assert dmt("resume", run).code == 0
    assert weights(run) == own
    assert len(list(cache.iterdir())) == 1
    refused("review", [run], "dmt label")


def test_images_in_parquet_are_learned_from(
    places: Path, own: dict[str, bytes], tmp_path: Path, dmt
) -> None:
    pool = write_parquet(tmp_path / "images.parquet", {"image": [png(n) for n in range(NUM)]}, 10)
    run = tmp_path / "run"
    words = (f"out={run}", f"data.unlabeled={pool}", "data.memory_limit=0")
    outcome = dmt("train", places / "data", *SHORT, *words)
    assert outcome.code == 0, outcome.err
    assert weights(run) == own


def test_a_shard_of_a_large_pool_that_changed_is_named(
    places: Path, tmp_path: Path, cache: Path, dmt
) -> None:
    run, pool = tmp_path / "run", tmp_path / "pool"
    shutil.copytree(places / "tars", pool)
    words = [f"out={run}", f"data.unlabeled={pool}", f"data.large_pool={NUM // 2}"]
    assert dmt("train", places / "data", *SHORT, *words).code == 0
    (run / "summary.json").unlink()
    with tarfile.open(pool / "pool-01.tar", "w") as tar:
        for number in range(NUM // 3):
            add(tar, f"{number:05d}.png", png(number or 99))
    refused("resume", [run], "pool-01.tar changed")
    (pool / "pool-01.tar").unlink()
    refused("resume", [run], "pool-01.tar is missing")
    (pool / "pool-02.tar").unlink()
    refused("resume", [run], "many more or fewer images")


def test_an_unreadable_image_of_a_large_pool(
    places: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, dmt
) -> None:
    monkeypatch.setattr("dmt.data.pool._LOOKED_AT", 1)
    monkeypatch.setattr("dmt.tasks.large_labeling.IMAGES_A_SHARD", 10)
    pool = tmp_path / "pool"
    pool.mkdir()
    for number in range(NUM):
        (pool / f"{number:05d}.png").write_bytes(b"none" if number == 5 else png(number))
    command = [places / "data", *SHORT, f"data.unlabeled={pool}", f"data.large_pool={NUM}"]
    refused("train", [*command, f"out={tmp_path / 'stopped'}"], "00005.png", "bad_images=skip")
    run = tmp_path / "run"
    outcome = dmt("train", *command, f"out={run}", "bad_images=skip")
    assert outcome.code == 0, outcome.err
    for store in run.rglob("manifest.json"):
        ids = np.concatenate([np.load(each) for each in store.parent.glob("ids*.npy")])
        assert sorted(ids.tolist()) == [16 + number for number in range(NUM) if number != 5]


@pytest.mark.parametrize("is_large", [False, True])
def test_the_rest_of_a_damaged_shard_is_left_out_by_choice(
    is_large: bool, places: Path, tmp_path: Path, cache: Path, dmt
) -> None:
    pool = shutil.copytree(places / "tars", tmp_path / "pool")
    content = (pool / "pool-01.tar").read_bytes()
    (pool / "pool-01.tar").write_bytes(content[: len(content) // 2 // 512 * 512 - 100])
    command = [places / "data", *SHORT, f"data.unlabeled={pool}"]
    command += [f"data.large_pool={NUM // 2 if is_large else NUM}"]
    stopped = tmp_path / "stopped"
    refused("train", [*command, f"out={stopped}"], "pool-01.tar", "bad_images=skip")
    outcome = dmt("train", *command, f"out={tmp_path / 'run'}", "bad_images=skip")
    assert outcome.code == 0, outcome.err
    assert "pool-01.tar" in outcome.err
    num = json.loads((tmp_path / "run" / "data.json").read_text())["num"] - 16
    assert NUM // 3 * 2 < num < NUM
    refused("train", [*command, f"out={stopped}"], "pool-01.tar", "bad_images=skip")


@pytest.fixture
def store(places: Path) -> Iterator[Any]:
    """The tars, as `memory://pool/`."""
    memory = pytest.importorskip("fsspec").filesystem("memory")
    for path in (places / "tars").iterdir():
        memory.pipe_file(f"/pool/{path.name}", path.read_bytes())
    yield memory
    memory.rm("/pool", recursive=True)


def test_shards_elsewhere_are_copied_once(
    store: Any, places: Path, own: dict[str, bytes], tmp_path: Path, cache: Path, dmt
) -> None:
    def copies(run: str) -> dict[str, int]:
        words = (f"out={tmp_path / run}", "data.unlabeled=memory://pool/*.tar")
        outcome = dmt("train", places / "data", *SHORT, *words)
        assert outcome.code == 0, outcome.err
        (folder,) = cache.iterdir()
        return {path.name: path.stat().st_ino for path in folder.glob("*.tar")}

    first = copies("first")
    assert weights(tmp_path / "first") == own
    assert copies("second") == first
    (tmp_path / "first" / "summary.json").unlink()
    assert dmt("resume", tmp_path / "first").code == 0
    assert weights(tmp_path / "first") == own
    with tarfile.open(tmp_path / "other.tar", "w") as tar:
        for number in range(NUM // 3):  # of the same length
            add(tar, f"{number + 8:05d}.png", png(number + 8))
            add(tar, f"{number + 8:05d}.cls", b"4")
    store.pipe_file("/pool/pool-01.tar", (tmp_path / "other.tar").read_bytes())
    store.rm("/pool/pool-02.tar")
    (folder,) = cache.iterdir()
    begun = folder / ".pool-01.tar.999999999.tmp"  # by a process that was killed
    begun.write_bytes(b"half")
    third = copies("third")
    assert third.keys() == {"pool-00.tar", "pool-01.tar"}
    assert third["pool-00.tar"] == first["pool-00.tar"]
    assert json.loads((tmp_path / "third" / "data.json").read_text())["num"] == 16 + NUM // 3 * 2
    assert not begun.exists()
    assert (folder / "pool-01.tar").read_bytes() == (tmp_path / "other.tar").read_bytes()


def test_what_is_refused_elsewhere(
    store: Any, places: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_refused(address: str, *parts: str) -> None:
        words = [*SHORT, f"out={tmp_path / 'run'}", f"data.unlabeled={address}"]
        refused("train", [places / "data", *words], *parts)
        assert not (tmp_path / "run").exists()

    store.pipe_file("/pool/loose/1.png", png(1))
    is_refused("memory://pool/loose", "there is no .tar or .parquet", "pack loose images")
    for name in ("more", "other"):
        store.pipe_file(f"/pool/{name}/pool-00.tar", b"")
    is_refused("memory://pool/*/pool-00.tar", "names two files pool-00.tar")
    paths = (places / "files" / "paths.parquet").read_bytes()
    store.pipe_file("/pool/table/paths.parquet", paths)
    is_refused("memory://pool/table", "holds paths")
    (folder,) = (each.parent for each in cache.glob("*/paths.parquet"))
    (folder / "gone.parquet").mkdir()
    is_refused("memory://pool/table", "cannot copy", "Is a directory", "XDG_CACHE_HOME")
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "taken"))
    is_refused("memory://pool/pool-00.tar", "cannot copy", "XDG_CACHE_HOME")


@pytest.mark.parametrize(
    ("pool", "parts"),
    [
        ("nothing", ["there is no"]),
        ("empty", ["there is no image"]),
        ("memory://x/*.tar", ["there is no"]),
        ("cut.tar", ["truncated or damaged"]),
    ],
)
def test_what_is_refused(pool: str, parts: list[str], places: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    whole = (places / "tars" / "pool-00.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) // 2 // 512 * 512 - 100])
    place = pool if "://" in pool else tmp_path / pool
    out = tmp_path / "run"
    refused("train", [places / "data", *SHORT, f"out={out}", f"data.unlabeled={place}"], *parts)
    assert not out.exists()


def test_refused_by_data_that_it_cannot_be_added_to(places: Path, tmp_path: Path) -> None:
    words = [*SHORT, f"out={tmp_path / 'run'}", f"data.unlabeled={places / 'tars'}"]
    words.remove("data.image_size=8")
    refused("train", ["digits", *words], "data.unlabeled")
    refused("train", ["shapes:32", *words], "data.unlabeled")
