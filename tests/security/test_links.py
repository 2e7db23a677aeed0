"""Links, and paths in lists and tables, lead to nothing outside the data folder unless allowed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from commands import call, refused, tree
from conftest import TINY
from dmt.api import resume
from dmt.data.layouts import open_catalog
from dmt.errors import DataError, RunError
from trees import write_cityscapes, write_image_masks, write_voc

ALLOWED = "data.follow_links=true"


def photos(root: Path, build: Callable[..., Path]) -> Path:
    return shutil.move(build(f"{root.name}-made", test=1), root)


def table(root: Path, build: Callable[..., Path]) -> Path:
    photos(root, build)
    lines = [f"{path.relative_to(root)},{path.parent.name}\n"
             for path in sorted((root / "labeled").rglob("*.png"))]  # fmt: skip
    (root / "list.csv").write_text("path,label\n" + "".join(lines))
    return root / "list.csv"


def plain(root: Path, build: Callable[..., Path]) -> Path:
    return shutil.move(build(f"{root.name}-made") / "labeled", root)


def scenes(root: Path, _: Callable[..., Path]) -> Path:
    return write_image_masks(root, 4, 1, 1)


def lists(root: Path, _: Callable[..., Path]) -> Path:
    write_image_masks(root, 4)
    lines = [f"images/{number:04d}.jpg masks/{number:04d}.png\n" for number in range(4)]
    (root / "labeled.txt").write_text("".join(lines))
    return root


def voc(root: Path, _: Callable[..., Path]) -> Path:
    return write_voc(root, 3, 1, 1)


def voc_inside(root: Path, _: Callable[..., Path]) -> Path:
    write_voc(root / "VOC2012", 3, 1, 1)
    return root


def cityscapes(root: Path, _: Callable[..., Path]) -> Path:
    return write_cityscapes(root, 3, 1, label_ids=True)


# A data set, and what of it is moved away and replaced by a link.
CASES = [
    *((photos, place) for place in ("labeled", "labeled/blue", "labeled/blue/0000.png",
                                    "unlabeled", "unlabeled/0001.png", "test", "test/green")),
    *((plain, place) for place in ("blue", "green/0002.png")),
    *((table, place) for place in ("labeled", "labeled/blue", "labeled/green/0000.png")),
    *((scenes, place) for place in ("images", "masks", "images/0001.jpg", "masks/0001.png",
                                    "classes.txt", "val", "val/masks")),
    *((lists, place) for place in ("labeled.txt", "classes.txt", "images", "masks/0000.png")),
    *((voc, place) for place in ("JPEGImages", "SegmentationClass", "SegmentationClassAug",
                                 "ImageSets", "ImageSets/Segmentation/val.txt",
                                 "JPEGImages/2007_000000.jpg")),
    (voc_inside, "VOC2012"),
    *((cityscapes, place) for place in ("leftImg8bit", "gtFine", "leftImg8bit/train/ulm",
                                        "gtFine/val")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "place"), CASES, ids=[f"{make.__name__}-{place}" for make, place in CASES]
)
def test_a_link_that_leaves_is_refused_and_may_be_allowed(
    make: Callable[..., Path], place: str, tmp_path: Path, tmp_photos
) -> None:
    root, away = tmp_path / "set", tmp_path / "away"
    data = make(root, tmp_photos)
    before = open_catalog(data)
    (root / place).rename(away)
    (root / place).symlink_to(away)
    with pytest.raises(DataError) as error:
        open_catalog(data)
    sentence = str(error.value)
    assert "leaves the data folder (it leads to " in sentence
    assert str(root / place) in sentence, "names the link"
    assert str(away) in sentence, "and where it leads"
    assert f"allow it with {ALLOWED}" in sentence
    after = open_catalog(data, follow_links=True)
    assert (after.paths, after.labels.tolist()) == (before.paths, before.labels.tolist())
    # Inside the folder the same link harms nobody.
    (root / place).unlink()
    away.rename(root / ".kept")
    (root / place).symlink_to(root / ".kept")
    inside = open_catalog(data)
    assert (inside.paths, inside.labels.tolist()) == (before.paths, before.labels.tolist())


def test_the_data_folder_itself_may_be_a_link(tmp_path: Path, tmp_photos) -> None:
    data = photos(tmp_path / "set", tmp_photos)
    (tmp_path / "link").symlink_to(data)
    assert open_catalog(tmp_path / "link").paths == open_catalog(data).paths


def test_batches_may_not_be_links(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    folder = tmp_path / "set" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    (folder / "batches.meta").symlink_to(tmp_path / "secret")
    refused("check", [f"cifar10:{tmp_path / 'set'}"], "batches.meta leaves the data folder")
    folder.rename(tmp_path / "away")
    folder.symlink_to(tmp_path / "away")
    refused("check", [tmp_path / "set"], "cifar-10-batches-py leaves the data folder")


def test_every_command_refuses_and_can_be_told(tmp_path: Path, tmp_photos) -> None:
    data = photos(tmp_path / "set", tmp_photos)
    (data / "unlabeled").rename(tmp_path / "away")
    (data / "unlabeled").symlink_to(tmp_path / "away")
    words = (*TINY, "data.image_size=16", "baseline=none", f"out={tmp_path / 'run'}")
    recipe = tmp_path / "r.yaml"
    recipe.write_text("data: {follow_links: true}\n")
    refused("check", [data], ALLOWED)
    refused("train", [data, *words], ALLOWED)
    refused("train", [data, *words, f"recipe={recipe}"], ALLOWED)  # no file allows it to itself
    refused("train", [data, *words, "data.follow_links=maybe"], "it takes true or false")
    assert not (tmp_path / "run").exists()
    assert call("check", data, ALLOWED).code == 0
    assert call("train", data, *words, ALLOWED).code == 0
    run = tmp_path / "run"
    assert "follow_links: false" in (run / "config.yaml").read_text()
    refused("evaluate", [run, data], ALLOWED)
    assert call("evaluate", run, data, ALLOWED).code == 0
    refused("predict", [run, data], ALLOWED)
    assert call("predict", run, data, ALLOWED).code == 0
    (run / "summary.json").unlink()
    refused("resume", [run], ALLOWED)
    assert call("resume", run, ALLOWED).code == 0


PATHS = ["../secret.png", "a/../../secret.png", "/etc/hostname", "..\\secret.png",
         "C:\\secret.png", "\\\\server\\secret.png", "a\0.png", "..", ".", "~/secret.png",
         "file:///etc/hostname", "labeled/../../secret.png"]  # fmt: skip


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_paths_in_tables_and_lists_stay_inside(path: str, tmp_path: Path, tmp_photos) -> None:
    (tmp_path / "secret.png").write_bytes(b"secret")
    data = table(tmp_path / "set", tmp_photos)
    with data.open("a", newline="") as file:
        file.write(f'"{path}",blue\n')
    refused("check", [data], "list.csv, line 14: ")
    refused("check", [data, ALLOWED], "list.csv, line 14: ")  # of links it speaks, not of paths
    scenes_root = lists(tmp_path / "scenes", tmp_photos)
    with (scenes_root / "labeled.txt").open("a", newline="") as file:
        file.write(f'"{path}" masks/0000.png\n')
    refused("check", [scenes_root], "labeled.txt, line 5: ")
    voc_root = voc(tmp_path / "voc", tmp_photos)
    with (voc_root / "ImageSets" / "Segmentation" / "val.txt").open("a", newline="") as file:
        file.write(f'"{path}"\n')
    refused("check", [voc_root], "val.txt, line 2: ")


@pytest.mark.parametrize("place", [".lock", "metrics.jsonl", "checkpoint", "rounds/0"])
def test_a_runs_folder_cannot_have_other_files_spoilt(place: str, stopped: Path) -> None:
    """The record is appended to and cut back, so a link there would reach any file of ours."""
    mine = stopped.parent / "mine"
    mine.mkdir()
    (mine / "file").write_text("mine\n" * 1000)
    target = mine if "." not in place else mine / "file"
    path = stopped / place
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    path.symlink_to(target)
    before = tree(mine)
    refused("resume", [stopped], place, "leaves the run's folder")
    with pytest.raises(RunError):
        resume(stopped)
    assert tree(mine) == before


@pytest.mark.parametrize("place", ["config.yaml", "summary.json", "metrics.jsonl"])
@pytest.mark.parametrize("command", ["evaluate", "predict", "report", "resume"])
def test_nothing_outside_a_runs_folder_is_read(command: str, place: str, run: Path) -> None:
    """Or a sentence would show a line of it, and a device would be read without end."""
    more = [run / "report.html"] if command == "predict" else []
    (run / place).unlink()
    (run / place).symlink_to("/dev/zero")
    refused(command, [run, *more], place, "leaves the run's folder")
    (run / place).unlink()
    os.mkfifo(run / place)
    refused(command, [run, *more], place, "is a pipe or a device")


def test_a_new_runs_lock_is_no_link(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "run").mkdir()
    os.symlink(tmp_path / "mine", tmp_path / "run" / ".lock")
    refused("train", ["digits", *TINY, f"out={tmp_path / 'run'}"], ".lock leaves the run's folder")
    assert (tmp_path / "mine").read_text() == "mine"
