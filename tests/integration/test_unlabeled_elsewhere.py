"""`data.unlabeled=`: images from another place are learned from as if they lay in the data."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

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


@pytest.mark.parametrize(
    ("pool", "parts"),
    [
        ("nothing", ["there is no"]),
        ("empty", ["there is no image"]),
        ("memory://x/*.tar", ["not on this machine"]),
        ("bytes.parquet", ["tar shards"]),
        ("cut.tar", ["truncated or damaged"]),
    ],
)
def test_what_is_refused(pool: str, parts: list[str], places: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_parquet(tmp_path / "bytes.parquet", {"image": [png(1)]}, 1)
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
