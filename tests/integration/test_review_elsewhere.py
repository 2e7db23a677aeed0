"""Corrections of images of `data.unlabeled`: copied beside the data, and taken from the pool."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pytest

from commands import call, refused, tree
from dmt.data.layouts import open_catalog
from pool_files import add, png, write_folder, write_parquet, write_tars
from small_photos import TINY, corrections, rows_of, save_photo, write_photos

NUM = 6
NAMES = [f"{number:05d}.png" for number in range(NUM)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool of the same images in four forms, beside a run that learned from each."""
    root = tmp_path_factory.mktemp("elsewhere")
    for number in range(NUM):
        save_photo(root / "files" / NAMES[number], number % 2, 900 + number)
    (root / "files" / "list.txt").write_text("".join(f"{name}\n" for name in NAMES))
    write_parquet(root / "files" / "table.parquet", {"path": NAMES, "key": ["../x"] * NUM}, 10)
    with tarfile.open(root / "pool.tar", "w") as tar:
        for name in NAMES:
            add(tar, name, (root / "files" / name).read_bytes())
    return root


def trained(base: Path, tmp_path: Path, pool: str) -> tuple[Path, Path]:
    """Data and a run of their own."""
    photos = write_photos(tmp_path / "photos")
    run = tmp_path / "run"
    outcome = call("train", photos, f"out={run}", *TINY, f"data.unlabeled={base / pool}")
    assert outcome.code == 0, outcome.err
    return photos, run


@pytest.mark.parametrize(
    ("pool", "named"),
    [("files/list.txt", "list.txt/00001.png"), ("pool.tar", "pool.tar/00001.png")],
)
def test_labels_of_a_pool_become_files_beside_the_data_and_leave_the_pool(
    pool: str, named: str, base: Path, tmp_path: Path
) -> None:
    photos, run = trained(base, tmp_path, pool)
    assert call("review", run, "device=cpu").code == 0
    assert named in {row["path"] for row in rows_of(run / "review.csv")}
    before = tree(photos)
    unwanted = named.replace("00001", "00002")
    lines = (f"{named},green,label", f"{unwanted},,unusable", "unlabeled/00.png,blue,label")
    outcome = call("apply", run, corrections(tmp_path, *lines), "--json")
    assert outcome.code == 0, outcome.err
    found = outcome.value
    copy = f"labels-corrected/{named}"
    assert found["copies"] == {named: copy}
    assert found["in_pool"] == [unwanted]
    assert found["num_kept"] == 0
    assert {"path": named, "before": "", "after": "green"} in found["changes"]
    assert (photos / copy).read_bytes() == (base / "files" / "00001.png").read_bytes()
    rows = {row["path"]: row["label"] for row in rows_of(photos / "labels-corrected.csv")}
    assert rows[copy] == "green"
    assert rows["unlabeled/00.png"] == "blue"
    assert unwanted not in rows
    after = tree(photos)
    assert {name: after[name] for name in before} == before
    assert open_catalog(photos).paths == tuple(sorted(before))  # the copies are no data of theirs

    again = tmp_path / "again"
    words = (f"init_from={run}", f"data.unlabeled={base / pool}", "steps=6", "rounds=1",
             "batch_size=16", "device=cpu", "baseline=none")  # fmt: skip
    outcome = call("train", photos / "labels-corrected.csv", *words, f"out={again}")
    assert outcome.code == 0, outcome.err
    assert "1 image of data.unlabeled is in the data's own folder too" in outcome.err
    parts = {
        path: part for path, _, _, part in json.loads((again / "data.json").read_text())["files"]
    }
    assert parts[copy] in {"labeled", "test"}
    assert parts[named] == "unused"
    assert parts[unwanted] == "unlabeled"
    assert call("review", again, "device=cpu").code == 0
    assert named not in {row["path"] for row in rows_of(again / "review.csv")}


def test_the_way_on_names_the_pool(base: Path, tmp_path: Path) -> None:
    _, run = trained(base, tmp_path, "files/list.txt")
    lines = ("list.txt/00001.png,green,label", "list.txt/00003.png,,none")
    outcome = call("apply", run, corrections(tmp_path, *lines))
    assert outcome.code == 0, outcome.err
    assert "1 stay in" in outcome.out
    assert "remove them there: list.txt/00003.png" in outcome.out
    assert outcome.out.rstrip().endswith(
        f"init_from={run} data.unlabeled={base / 'files/list.txt'}"
    )


def test_names_that_would_leave_the_folder_are_numbers(base: Path, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos")
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        for number, name in enumerate(
            ("../../out.png", "/abs.png", ".h/x.png", "./a.png", "A.png")
        ):
            add(tar, name, png(number))
    run = tmp_path / "run"
    words = (*TINY, f"data.unlabeled={tmp_path / 'evil.tar'}")
    assert call("train", photos, f"out={run}", *words).code == 0
    paths = [path for path, *_ in json.loads((run / "data.json").read_text())["files"]
             if path.startswith("evil.tar/")]  # fmt: skip
    assert len(paths) == 5
    lines = [f"{path},green,label" for path in paths]
    inside = set(tree(tmp_path))
    outcome = call("apply", run, corrections(tmp_path, *lines), "--json")
    assert outcome.code == 0, outcome.err
    new = set(tree(tmp_path)) - inside - {"corrections.csv"}
    assert new == {"photos/labels-corrected.csv", *(
        f"photos/labels-corrected/{name}" for name in
        ("000001.png", "evil.tar/abs.png", "000003.png", "evil.tar/a.png", "000005.png")
    )}  # fmt: skip
    assert len(open_catalog(photos / "labels-corrected.csv").paths) == len(open_catalog(photos)) + 5


def test_nothing_is_written_where_a_line_is_wrong_or_an_image_gone(
    base: Path, tmp_path: Path
) -> None:
    shutil.copytree(base / "files", tmp_path / "pool")
    photos = write_photos(tmp_path / "photos")
    run = tmp_path / "run"
    words = (*TINY, f"data.unlabeled={tmp_path / 'pool' / 'list.txt'}")
    assert call("train", photos, f"out={run}", *words).code == 0
    before = tree(photos)
    lines = ("list.txt/00001.png,green,label", "list.txt/no.png,green,label")
    refused("apply", [run, corrections(tmp_path, *lines)], "line 3", "list.txt/no.png")
    (tmp_path / "pool" / NAMES[1]).unlink()
    lines = ("list.txt/00000.png,green,label", "list.txt/00001.png,green,label")
    refused("apply", [run, corrections(tmp_path, *lines)], "00001.png", "cannot be read")
    assert tree(photos) == before
    assert not (photos / "labels-corrected").exists()
    shutil.rmtree(tmp_path / "pool")  # what needs no pool asks for none
    outcome = call("apply", run, corrections(tmp_path, "unlabeled/00.png,green,label"))
    assert outcome.code == 0, outcome.err
    refused("apply", [run, corrections(tmp_path, *lines)], "data.unlabeled", "there is no")


def test_copies_beside_plain_class_folders_are_no_class(tmp_path: Path) -> None:
    for number, label in enumerate(("blue", "green")):
        for index in range(8):
            save_photo(tmp_path / "photos" / label / f"{index}.png", number, index)
    write_folder(tmp_path / "pool", 4)
    write_tars(tmp_path / "tars", 1, 4)
    run = tmp_path / "run"
    words = (*TINY, f"data.unlabeled={tmp_path / 'pool'}")
    assert call("train", tmp_path / "photos", f"out={run}", *words).code == 0
    path = corrections(tmp_path, "pool/00000.png,blue,label")
    for name in ("labels-corrected", "labels-corrected-2", "elsewhere"):
        out = [f"out={tmp_path / 'elsewhere.csv'}"] if name == "elsewhere" else []
        outcome = call("apply", run, path, *out, "--json")
        assert outcome.code == 0, outcome.err
        copy = "labels-corrected-3" if out else name
        assert outcome.value["copies"] == {"pool/00000.png": f"{copy}/pool/00000.png"}
        assert open_catalog(tmp_path / "photos").classes == ("blue", "green")
        assert len(open_catalog(Path(outcome.value["labels"]))) == 17
