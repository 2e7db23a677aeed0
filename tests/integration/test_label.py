"""`dmt label`: what is in the parts, going on after a kill, ranks, what is refused or skipped."""

from __future__ import annotations

import csv
import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from commands import refused, tree
from dmt.inference.labeling import ranks_here
from pool_files import add, png, rows_in, write_folder, write_parquet, write_tars

CPU = "device=cpu"


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    write_tars(tmp_path / "pool", 3, 20)
    return tmp_path / "pool"


def test_parts_say_what_predict_says(digits_run: Path, tmp_path: Path, dmt) -> None:
    folder = write_folder(tmp_path / "images", 30)
    out = tmp_path / "out"
    outcome = dmt("label", digits_run, folder, f"out={out}", "shard_size=12", CPU)
    assert (outcome.code, outcome.out) == (0, ""), outcome.err
    assert outcome.err == f"dmt: 30 images labeled; 3 of 3 shards are in {out}\n"
    rows = {row["key"]: row for row in rows_in(out)}
    assert len(rows) == 30
    predicted = csv.DictReader(io.StringIO(dmt("predict", digits_run, folder, CPU).out))
    for each in predicted:
        row = rows[str(Path(each["path"]).relative_to(folder))]
        assert row["class"] == each["label"]
        assert row["confidence"] == pytest.approx(float(each["confidence"]), abs=1e-5)
        assert row["disagreement"] == pytest.approx(1 - float(each["agreement"]), abs=1e-5)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["classes"] == [str(digit) for digit in range(10)]
    assert all(manifest["classes"][row["label"]] == row["class"] for row in rows.values())
    assert [pq.read_metadata(p).num_rows for p in sorted(out.glob("*.parquet"))] == [12, 12, 6]


def test_peers_columns_are_each_peers_own(digits_run: Path, tmp_path: Path, dmt) -> None:
    import torch

    from dmt.models.weights import restore

    folder = write_folder(tmp_path / "images", 5)
    assert dmt("label", digits_run, folder, f"out={tmp_path / 'out'}", CPU).code == 0
    for row in rows_in(tmp_path / "out"):
        pixels = np.asarray(Image.open(folder / row["key"], formats=["PNG"]))
        image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]
        with torch.no_grad():
            for peer in "ab":
                path = digits_run / f"rounds/2/{peer}/model.safetensors"
                best = restore(path).eval()(image).softmax(1).max(1)
                assert row[f"{peer}_label"] == best.indices.item()
                assert row[f"{peer}_confidence"] == pytest.approx(best.values.item(), abs=1e-5)


def test_all_kinds_of_pools_give_the_same(
    digits_run: Path, tars: Path, tmp_path: Path, dmt
) -> None:
    images = {"id": [str(n) for n in range(60)], "image": [png(n) for n in range(60)]}
    folder = write_folder(tmp_path / "images", 60)
    names = sorted(
        (p.relative_to(folder).as_posix() for p in folder.rglob("*.png")), key=lambda n: n[-9:]
    )
    (folder / "list.txt").write_text("".join(f"{name}\n" for name in names))
    (folder / "list.csv").write_text("path,other\n" + "".join(f"{name},1\n" for name in names))
    structs = [{"bytes": png(n), "path": None} for n in range(60)]
    pools = {
        "tar": tars / "pool-{00..02}.tar",
        "star": tars / "*.tar",
        "folder-of-tars": tars,
        "bytes": write_parquet(tmp_path / "bytes.parquet", images, 20),
        "structs": write_parquet(tmp_path / "s.parquet", {"image": structs}, 7),
        "paths": write_parquet(folder / "paths.parquet", {"path": names}, 20),
        "txt": folder / "list.txt",
        "csv": folder / "list.csv",
    }
    answers = {}
    for name, pool in pools.items():
        outcome = dmt(
            "label", digits_run, pool, f"out={tmp_path / name}", "shard_size=20", CPU, "--json"
        )
        assert outcome.code == 0, (name, outcome.err)
        assert outcome.value["num_images"] == 60
        rows = rows_in(tmp_path / name)
        answers[name] = [(row["label"], round(row["confidence"], 4)) for row in rows]
    assert all(found == answers["tar"] for found in answers.values()), answers


def test_killed_and_gone_on_is_the_undisturbed(
    digits_run: Path, tars: Path, tmp_path: Path, dmt, start
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert dmt("label", digits_run, tars, f"out={whole}", CPU).code == 0
    words = ["label", digits_run, tars, f"out={killed}", CPU]
    process = start(words, tmp_path, DMT_CRASH_AT="part-000001.parquet written")
    process.communicate()
    assert process.returncode == -9
    names = {path.name for path in killed.iterdir()}
    assert "part-000000.parquet" in names
    assert not names & {"part-000001.parquet", "part-000002.parquet"}
    before = (killed / "part-000000.parquet").stat().st_mtime_ns
    outcome = dmt(*words, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.value["num_images"] == 40
    assert (killed / "part-000000.parquet").stat().st_mtime_ns == before
    assert tree(killed) == tree(whole)
    assert dmt(*words, "--json").value["num_images"] == 0


def test_ranks_share_the_shards_and_any_number_goes_on(
    digits_run: Path, tars: Path, tmp_path: Path, dmt, monkeypatch
) -> None:
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    assert dmt("label", digits_run, tars, f"out={alone}", CPU).code == 0
    words = ["label", digits_run, tars, f"out={shared}", CPU]
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    outcome = dmt(*words)
    assert outcome.code == 0, outcome.err
    assert "dmt, rank 1: 20 images labeled; 1 of 3" in outcome.err
    assert [path.name for path in shared.glob("part*")] == ["part-000001.parquet"]
    monkeypatch.setenv("WORLD_SIZE", "5")
    monkeypatch.setenv("RANK", "4")
    assert "rank 4 has nothing to do" in dmt(*words).err
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.delenv("RANK")
    assert dmt(*words).code == 0
    assert tree(shared) == tree(alone)


def test_places_that_launchers_tell() -> None:
    assert ranks_here({}) == (0, 1)
    assert ranks_here({"WORLD_SIZE": "1"}) == (0, 1)
    assert ranks_here({"RANK": "2", "WORLD_SIZE": "4", "SLURM_PROCID": "0"}) == (2, 4)
    assert ranks_here({"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "8"}) == (3, 8)
    assert ranks_here({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}) == (1, 2)


@pytest.mark.parametrize(("rank", "size"), [(None, "4"), ("4", "4"), ("x", "2"), ("-1", "2")])
def test_launcher_without_its_variables(
    rank: str | None, size: str, digits_run: Path, tars: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", size)
    if rank is None:
        monkeypatch.delenv("RANK", raising=False)
    else:
        monkeypatch.setenv("RANK", rank)
    refused("label", [digits_run, tars, f"out={tmp_path / 'out'}"], f"WORLD_SIZE={size}")
    assert not (tmp_path / "out").exists()


def test_damaged_images_are_named_and_skipped_by_choice(
    digits_run: Path, tmp_path: Path, dmt
) -> None:
    (path,) = write_tars(tmp_path / "pool", 1, 3)
    with tarfile.open(path, "a") as tar:
        add(tar, "broken.png", png(9)[:40])
        add(tar, "empty.png", b"")
        add(tar, "last.png", png(10))
    out = tmp_path / "out"
    refused("label", [digits_run, path, f"out={out}", CPU], "pool-00.tar/broken.png")
    assert not list(out.glob("part*"))
    outcome = dmt("label", digits_run, path, f"out={out}", CPU, "bad_images=skip")
    assert outcome.code == 0, outcome.err
    assert "broken.png" in outcome.err
    assert "empty.png is empty" in outcome.err
    assert "4 images labeled, 2 left out" in outcome.err
    assert [row["key"] for row in rows_in(out)] == [
        "00000.png",
        "00001.png",
        "00002.png",
        "last.png",
    ]
    about = json.loads(pq.read_metadata(out / "part-000000.parquet").metadata[b"dmt"])
    assert (about["num_left_out"], about["shard"]) == (2, "pool-00.tar")
    path.write_bytes(path.read_bytes()[:-1024])  # its end; what is there to leave out is in order
    for workers in (0, 3):
        words = [f"out={tmp_path / str(workers)}", CPU, "bad_images=skip", f"workers={workers}"]
        assert dmt("label", digits_run, path, *words).code == 0
    assert tree(tmp_path / "0") == tree(tmp_path / "3")


def damaged(content: bytes, how: str) -> bytes:
    """A shard of images whose second half cannot be read."""
    half = len(content) // 2 // 512 * 512
    if how == "cut inside":
        return content[: half + 700]
    if how == "cut between":  # as a copy that ended early: nothing marks the end
        return content[: 4 * 1024 + 0]
    spoilt = bytearray(content)
    spoilt[4 * 1024 : 4 * 1024 + 512] = b"\x07" * 512  # where a header stood
    return bytes(spoilt)


@pytest.mark.parametrize("how", ["cut inside", "cut between", "header"])
def test_damaged_shard(how: str, digits_run: Path, tars: Path, tmp_path: Path, dmt) -> None:
    shard = tars / "pool-01.tar"
    shard.write_bytes(damaged(shard.read_bytes(), how))
    out = tmp_path / "out"
    refused("label", [digits_run, tars, f"out={out}", CPU], "pool-01.tar", "damaged")
    assert [path.name for path in out.glob("part*")] == ["part-000000.parquet"]
    outcome = dmt("label", digits_run, tars, f"out={out}", CPU, "bad_images=skip", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.value["num_done"] == 3
    assert outcome.value["num_left_out"] == 1
    kept = pq.read_table(out / "part-000001.parquet")["key"].to_pylist()
    assert 0 < len(kept) < 20
    assert kept == [f"{number:05d}.png" for number in range(20, 20 + len(kept))]


def test_damaged_parquet(digits_run: Path, tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "x.parquet", {"image": [png(n) for n in range(9)]}, 3)
    path.write_bytes(path.read_bytes()[:-9])
    refused("label", [digits_run, path, f"out={tmp_path / 'out'}", CPU], "x.parquet", "replace it")


@pytest.mark.parametrize(
    ("columns", "words", "part"),
    [
        ({"a": [b"1"], "b": [b"2"]}, [], "several columns of bytes"),
        ({"a": [1]}, [], "no column of bytes"),
        ({"image": [b"1"]}, ["image=picture"], "no column picture"),
    ],
)
def test_parquet_columns(columns, words, part, digits_run: Path, tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "x.parquet", columns, 3)
    refused("label", [digits_run, path, f"out={tmp_path / 'out'}", CPU, *words], part)


def test_a_folder_of_other_labels_is_refused(
    digits_run: Path, tars: Path, tmp_path: Path, dmt
) -> None:
    out = tmp_path / "out"
    assert dmt("label", digits_run, tars, f"out={out}", CPU).code == 0
    before = tree(out)
    refused("label", [digits_run, tars / "pool-00.tar", f"out={out}", CPU], "another pool")
    write_tars(tars, 4, 20)
    refused("label", [digits_run, tars, f"out={out}", CPU], "before it changed")
    images = write_folder(tmp_path / "images", 3)
    refused("label", [digits_run, images, f"out={out}", CPU], "another kind of pool")
    manifest = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps(manifest | {"model": "0"}))
    refused("label", [digits_run, tars, f"out={out}", CPU], "another model")
    (out / "manifest.json").write_bytes(before["manifest.json"])
    assert tree(out) == before


@pytest.mark.parametrize(
    ("pool", "part"),
    [("nothing", "there is no"), ("*.tar", "there is no"), ("empty", "no image"),
     ("notes.md", "is no pool"), ("mixed", "tar shards and Parquet"), ("s.tar.gz", "is no pool"),
     ("a-{5..2}.tar", "{first..last}"), ("list.csv", "first line must begin with path")],
)  # fmt: skip
def test_what_is_no_pool(pool: str, part: str, digits_run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "mixed").mkdir()
    for name in ("notes.md", "mixed/a.tar", "mixed/a.parquet", "s.tar.gz"):
        (tmp_path / name).write_text("x")
    (tmp_path / "list.csv").write_text("file,label\n")
    refused("label", [digits_run, tmp_path / pool, f"out={tmp_path / 'out'}", CPU], part)


def test_other_content_is_left_alone(digits_run: Path, tars: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    words = [digits_run, tars, f"out={tmp_path / 'out'}", CPU]
    refused("label", words, "holds something else than labels (mine.txt")
    refused("label", [*words[:2], f"out={tmp_path / 'out' / 'mine.txt'}"], "is a file")
    refused("label", [*words, "shard_size=0"], "shard_size=0")
    refused("label", [*words, "shard_sise=9"], "did you mean shard_size?")


@pytest.mark.parametrize("path", ["../secret.png", "/etc/x.png", "link/secret.png"])
def test_lists_do_not_leave_their_folder(path: str, digits_run: Path, tmp_path: Path, dmt) -> None:
    (tmp_path / "secret.png").write_bytes(png(1))
    folder = write_folder(tmp_path / "images", 2)
    (folder / "link").symlink_to(tmp_path)
    (folder / "list.txt").write_text(f"00000.png\n{path}\n")
    words = [digits_run, folder / "list.txt", f"out={tmp_path / 'out'}", CPU]
    refused("label", words, "is not relative to" if path.startswith("/") else "leaves the")
    assert dmt("label", *words, "bad_images=skip", "--json").value["num_left_out"] == 1
    if not path.startswith("/"):
        words[2] = f"out={tmp_path / 'other'}"
        outcome = dmt("label", *words, "data.follow_links=true", "--json")
        assert outcome.value["num_images"] == 2, outcome.err


def test_addresses_that_fsspec_knows(digits_run: Path, tars: Path, tmp_path: Path, dmt) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for path in tars.iterdir():
        memory.pipe_file(f"/pool/{path.name}", path.read_bytes())
    try:
        for number, pool in enumerate(
            ("memory://pool/*.tar", "memory://pool/pool-{00..02}.tar", "memory://pool")
        ):
            out = tmp_path / str(number)
            assert (
                dmt("label", digits_run, pool, f"out={out}", CPU, "--json").value["num_images"]
                == 60
            )
        refused(
            "label", [digits_run, "memory://pool/x.tar", f"out={tmp_path / 'x'}"], "there is no"
        )
        refused("label", [digits_run, "nosuch://x.tar", f"out={tmp_path / 'x'}"], "is no address")
    finally:
        memory.rm("/pool", recursive=True)
    assert dmt("label", digits_run, tars, f"out={tmp_path / 'local'}", CPU).code == 0
    assert tree(tmp_path / "local") == tree(tmp_path / "0")


def test_missing_packages_are_named(
    digits_run: Path, tars: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    refused("label", [digits_run, "s3://b/x.tar", f"out={tmp_path / 'o'}"], "fsspec", "dmt[pools]")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    refused("label", [digits_run, tars, f"out={tmp_path / 'o'}"], "pyarrow", "dmt[pools]")


def test_segmentation_writes_masks(tmp_path: Path, dmt) -> None:
    run = tmp_path / "run"
    words = ("steps=4", "rounds=1", "batch_size=4", "model=deeplab_v2:wrn_10_1", "baseline=none")
    assert dmt("train", "shapes:32", *words, CPU, f"out={run}").code == 0
    (tmp_path / "pool").mkdir()
    with tarfile.open(tmp_path / "pool" / "p.tar", "w") as tar:
        for number, size in enumerate([(32, 40), (20, 32)]):
            add(tar, f"{number}.png", png(number, size))
    out = tmp_path / "out"
    outcome = dmt("label", run, tmp_path / "pool", f"out={out}", CPU)
    assert outcome.code == 0, outcome.err
    rows = rows_in(out)
    assert [row["mask"] for row in rows] == ["masks/000000/000000.png", "masks/000000/000001.png"]
    for row, size in zip(rows, [(32, 40), (20, 32)], strict=True):
        assert np.asarray(Image.open(out / row["mask"], formats=["PNG"])).shape == size
        assert 0 < row["confidence"] <= 1
        assert 0 <= row["disagreement"] <= 1
