"""Class folders and whole data folders that cannot be used, or only in part. Files: elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from spoiling import TINY, named, problems_of, refused_untouched

from commands import call, refused, tree
from trees import write_cityscapes, write_voc


class Case(NamedTuple):
    """What is done to whole class folders, and what the sentence then holds."""

    name: str
    spoil: Callable[[Path], object]
    parts: tuple[str, ...]


def _no_image_at_all(root: Path) -> None:
    for path in root.rglob("*.png"):
        path.unlink()


def _only_hidden(root: Path) -> None:
    for path in root.iterdir():
        path.rename(root / f".{path.name}")


def _val_of_another_class(root: Path) -> None:
    (root / "val" / "red").mkdir(parents=True)
    (root / "labeled/blue/0000.png").rename(root / "val" / "red" / "x.png")


def _unreadable(root: Path) -> None:
    (root / "unlabeled" / "blue1.png").write_bytes(b"not an image")
    path = root / "labeled" / "blue" / "0002.png"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _link_out(root: Path) -> None:
    (root.parent / "outside").mkdir()
    (root / "unlabeled" / "link").symlink_to(root.parent / "outside")


def _twins(root: Path) -> None:
    for name in ("e\u0301t\u00e9", "\u00e9t\u00e9"):
        shutil.copytree(root / "labeled" / "blue", root / "labeled" / name)


def _twin_files(root: Path) -> None:
    for name in ("e\u0301.png", "\u00e9.png"):
        shutil.copy(root / "unlabeled" / "blue1.png", root / "unlabeled" / name)


def _not_utf8(root: Path) -> None:
    os.rename(root / "unlabeled" / "blue1.png", os.fsencode(root / "unlabeled") + b"/\xff\xfe.png")


def _class_not_utf8(root: Path) -> None:
    os.rename(root / "labeled" / "blue", os.fsencode(root / "labeled") + b"/bl\xfce")


def _several_sets(root: Path) -> None:
    for name in ("first", "second"):
        shutil.copytree(root / "labeled", root / "sets" / name / "labeled")
    for name in ("labeled", "unlabeled"):
        shutil.rmtree(root / name)
    for path in (root / "sets").iterdir():
        path.rename(root / path.name)
    (root / "sets").rmdir()


REFUSED = (
    Case("no image", _no_image_at_all, ("holds no image",)),
    Case("everything hidden", _only_hidden, ("holds no image",)),
    Case("a class without image", lambda root: (root / "labeled" / "red").mkdir(),
         ("labeled/red holds no image: add some or remove it",)),
    Case("a class with other files", lambda root: _write(root / "labeled/red/notes.txt", b"x"),
         ("labeled/red holds no image: add some or remove it",)),
    Case("val has another class", _val_of_another_class,
         ("val has the class red, which labeled/ lacks", "remove it from val/")),
    Case("one class", lambda root: (root / "labeled" / "green").rename(root / "rest"),
         ("has one class only (blue): a classifier needs at least two",)),
    Case("an image in no class",
         lambda root: (root / "labeled/blue/0000.png").rename(root / "labeled/x.png"),
         ("1 image in", "in no class folder, for example labeled/x.png: move to labeled/<class>/")),
    Case("labeled is empty", lambda root: _emptied(root / "labeled"),
         ("labeled holds no image: give every class a folder there",)),
    Case("a link out", _link_out, ("unlabeled/link leaves the data folder",)),
    Case("a link to a file outside",
         lambda root: (root / "unlabeled/x.png").symlink_to("/etc/hostname"),
         ("unlabeled/x.png leaves the data folder",)),
    Case("a link to nothing",
         lambda root: (root / "unlabeled/x.png").symlink_to(root / "absent.png"),
         ("x.png leads to no file: remove it or restore its target",)),
    Case("a link in a circle", lambda root: (root / "unlabeled" / "again").symlink_to(root),
         ("unlabeled/again leads back to a folder that holds it: remove it",)),
    Case("a link to itself",
         lambda root: (root / "unlabeled" / "x.png").symlink_to(root / "unlabeled" / "x.png"),
         ("unlabeled",)),
    Case("unreadable images", _unreadable,
         ("2 of 14 images cannot be read (labeled/blue/0002.png, unlabeled/blue1.png)",
          "bad_images=skip")),
    Case("classes that look the same", _twins, ("look the same", "merge them")),
    Case("files that look the same", _twin_files, ("look the same", "rename one")),
    Case("a file name that is not UTF-8", _not_utf8, ("is not valid UTF-8: rename it",)),
    Case("a class name that is not UTF-8", _class_not_utf8, ("is not valid UTF-8: rename it",)),
    Case("several sets", _several_sets, ("is not known", "perhaps you mean", "first")),
    Case("loose images only", lambda root: _loose(root), ("is not known", "images in no folder")),
    Case("one plain folder", lambda root: _plain(root, 1), ("is not known", "at least two")),
    Case("plain folders and loose images", lambda root: _plain(root, 2, "x.png"),
         ("1 image in", "in no class folder, for example x.png")),
)  # fmt: skip


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _loose(root: Path) -> None:
    for path in sorted((root / "unlabeled").iterdir()):
        path.rename(root / path.name)
    for name in ("labeled", "unlabeled"):
        shutil.rmtree(root / name)


def _plain(root: Path, num: int, *loose: str) -> None:
    for name in sorted(os.listdir(root / "labeled"))[:num]:
        (root / "labeled" / name).rename(root / name)
    for name in loose:
        shutil.copy(root / "unlabeled" / "blue0.png", root / name)
    for name in ("labeled", "unlabeled"):
        shutil.rmtree(root / name)


@pytest.mark.parametrize("case", REFUSED, ids=named)
def test_it_is_refused(case: Case, photos: Path, here: Path) -> None:
    """With the same sentence by check and by train, which leaves no folder behind."""
    case.spoil(photos)
    sentence = refused_untouched("train", [photos, *TINY, "out=run"], *case.parts, beside=photos)
    cures = ("bad_images=skip", "is not valid UTF-8: rename it")
    assert str(photos) in sentence or any(cure in sentence for cure in cures)
    if "bad_images=skip" not in sentence:  # which check lists as problems
        assert refused("check", [photos]) == sentence


class Told(NamedTuple):
    """What is done to whole class folders, and the problem that check then tells."""

    name: str
    spoil: Callable[[Path], object]
    kind: str
    part: str


TOLD = (
    Told("an empty class in val", lambda root: (root / "val" / "blue").mkdir(parents=True),
         "empty-class", "val/blue holds no image"),
    Told("val lacks a class",
         lambda root: _write(root / "val/blue/x.png", _png(root)),
         "missing-class", "val/ has no images of class green"),
    Told("an image directly in test",
         lambda root: [_write(root / f"test/{name}", _png(root))
                       for name in ("blue/x.png", "green/y.png", "z.png")],
         "no-class", "1 image directly in test/"),
    Told("other files", lambda root: _write(root / "unlabeled" / "notes.txt", b"x"),
         "ignored-files", "1 file is no image by suffix (.txt: 1)"),
    Told("a file without suffix", lambda root: _write(root / "unlabeled" / "README", b"x"),
         "ignored-files", "(no suffix: 1)"),
    Told("another folder", lambda root: _write(root / "old" / "x.png", _png(root)),
         "ignored-folder", "the folder old/ is not used"),
    Told("no unlabeled images", lambda root: shutil.rmtree(root / "unlabeled"),
         "no-unlabeled", "there are no unlabeled images"),
    Told("an unreadable image", lambda root: _write(root / "unlabeled" / "x.png", b"x"),
         "unreadable", "is not an image that can be read here"),
    Told("a pipe", lambda root: os.mkfifo(root / "unlabeled" / "x.png"),
         "ignored-files", "1 file is no image"),
    Told("a socket", lambda root: _socket(root / "unlabeled" / "x.png"),
         "ignored-files", "1 file is no image"),
)  # fmt: skip


def _png(root: Path) -> bytes:
    return (root / "unlabeled" / "blue0.png").read_bytes()


def _socket(path: Path) -> None:
    before = os.getcwd()
    os.chdir(path.parent)  # a socket's path may be no longer than 107 letters
    try:
        with socket.socket(socket.AF_UNIX) as each:
            each.bind(path.name)
    finally:
        os.chdir(before)


@pytest.mark.parametrize("case", TOLD, ids=named)
def test_it_is_told(case: Told, photos: Path) -> None:
    before = problems_of(photos)
    assert before == []
    case.spoil(photos)
    unchanged = tree(photos)
    found = [each for each in problems_of(photos) if each["kind"] == case.kind]
    assert len(found) == 1
    assert case.part in found[0]["message"]
    assert tree(photos) == unchanged


def test_a_folder_named_like_an_image(photos: Path) -> None:
    """It is a folder: of a class, or of images; in check, train and predict alike."""
    (photos / "labeled" / "blue").rename(photos / "labeled" / "blue.jpg")
    (photos / "unlabeled" / "x.jpg").mkdir()
    moved = photos / "unlabeled" / "blue0.png"
    moved.rename(photos / "unlabeled" / "x.jpg" / "y.png")
    (photos / "unlabeled" / "empty.png").mkdir()
    found = call("check", photos, "--json").value
    assert found["unlabeled"] == 8
    assert [each["name"] for each in found["classes"]] == ["blue.jpg", "green"]
    assert found["problems"] == []


class Data(NamedTuple):
    """DATA that is none, made in an empty folder, and what the sentence holds."""

    name: str
    make: Callable[[Path], object]
    parts: tuple[str, ...]


NO_DATA = (
    Data("absent", lambda folder: folder / "absent", ("there is no", "absent")),
    Data("an empty folder", lambda folder: folder, ("holds no image",)),
    Data("an archive", lambda folder: _file(folder / "photos.zip"), ("unpack an archive first",)),
    Data("an image", lambda folder: _file(folder / "photo.png"), ("neither a folder nor a CSV",)),
    Data("no name", lambda folder: "", ("no data was named",)),
    Data("a name too long", lambda folder: "x" * 5000, ("there is no",)),
    Data("a zero byte", lambda folder: "a\0b", ("there is no",)),
    Data("a name that is not UTF-8", lambda folder: _odd_folder(folder),
         ("is not valid UTF-8: rename it",)),
    Data("a line break", lambda folder: "a\nb", ("there is no",)),
    Data("a pipe", lambda folder: _pipe(folder / "x.csv"), ("there is no", "x.csv")),
    Data("a device", lambda folder: "/dev/null", ("there is no /dev/null",)),
    Data("below a file", lambda folder: f"{_file(folder / 'x')}/y", ("there is no",)),
    Data("cifar10 elsewhere", lambda folder: f"cifar10:{folder}", ("CIFAR-10 was not found",)),
    Data("shapes of no size", lambda folder: "shapes:big", ("shapes:big",)),
    Data("shapes too small", lambda folder: "shapes:8", ("32",)),
    Data("shapes too large", lambda folder: "shapes:99999999999999999999x64", ("1024",)),
    Data("shapes of three sides", lambda folder: "shapes:32x32x32", ("shapes:32x32x32",)),
    Data("VOC without masks", lambda folder: _without(write_voc(folder, 2, 0, 1),
         "SegmentationClass"), ("put masks into SegmentationClass/",)),
    Data("Cityscapes without masks",
         lambda folder: _without(write_cityscapes(folder, 2, label_ids=True), "gtFine"),
         ("put the masks into gtFine/train/<city>/",)),
    Data("an empty JPEGImages", lambda folder: (folder / "JPEGImages").mkdir() or folder,
         ("holds no image",)),
    Data("an empty leftImg8bit", lambda folder: (folder / "leftImg8bit").mkdir() or folder,
         ("holds no image",)),
    Data("images without masks", lambda folder: _only_images(folder), ("masks",)),
)  # fmt: skip


def _odd_folder(folder: Path) -> str:
    name = os.fsdecode(os.fsencode(folder) + b"/\xff")
    os.mkdir(name)
    return name


def _file(path: Path) -> Path:
    path.write_bytes(b"x")
    return path


def _pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _without(root: Path, name: str) -> Path:
    shutil.rmtree(root / name)
    return root


def _only_images(folder: Path) -> Path:
    (folder / "images").mkdir()
    (folder / "images" / "x.png").write_bytes(b"x")
    return folder


@pytest.mark.parametrize("case", NO_DATA, ids=named)
def test_no_such_data(case: Data, tmp_path: Path, here: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    data = case.make(folder)
    for command in ("train", "check"):
        refused_untouched(command, [data], *case.parts, beside=folder)


# What is left out -------------------------------------------------------------------------------


def test_bad_images_are_skipped_and_listed(tmp_photos, here: Path) -> None:
    photos = tmp_photos(labeled=6, unlabeled=10, test=4)
    (photos / "unlabeled" / "0001.png").write_bytes(b"not an image")
    path = photos / "labeled" / "blue" / "0002.png"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    outcome = call("train", photos, *TINY, "bad_images=skip", "out=run")
    assert outcome.code == 0, outcome.err
    told = "left out 2 unreadable images: labeled/blue/0002.png, unlabeled/0001.png\n"
    assert told in outcome.err
    data = json.loads(Path("run/data.json").read_text())
    assert data["bad"] == ["labeled/blue/0002.png", "unlabeled/0001.png"]
    summary = json.loads(Path("run/summary.json").read_text())
    assert (summary["labeled"], summary["unlabeled"]) == (11, 19)


def test_check_names_bad_images(photos: Path) -> None:
    _unreadable(photos)
    bad = {each["path"] for each in problems_of(photos) if "unreadable" in each["kind"]}
    assert bad == {"labeled/blue/0002.png", "unlabeled/blue1.png"}


def test_a_class_all_of_whose_images_are_bad(photos: Path, here: Path) -> None:
    for path in (photos / "labeled" / "green").iterdir():
        path.write_bytes(b"x")
    words = [photos, *TINY, "bad_images=skip", "out=run"]
    refused_untouched("train", words, "class 'green' has no labeled image left", beside=photos)


def test_no_unlabeled_images_equals_supervised(tmp_photos, here: Path) -> None:
    photos = tmp_photos(labeled=6, unlabeled=0, test=4)
    weights = []
    for name, method in (("one", "dmt"), ("two", "supervised")):
        outcome = call("train", photos, *TINY, f"method={method}", f"out={name}")
        assert outcome.code == 0, outcome.err
        assert "there are no unlabeled images" in outcome.err
        summary = json.loads((here / name / "summary.json").read_text())
        assert summary["verdict"] == "none"
        assert summary["interval"] is None
        assert "no unlabeled images" in summary["sentence"]
        weights.append((here / name / "rounds/0/a/model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_nothing_is_held_out(tmp_photos, here: Path) -> None:
    """One labeled image a class leaves none to judge by: said, and no verdict."""
    photos = tmp_photos(labeled=1, unlabeled=4)
    outcome = call("train", photos, *TINY, "labels_per_class=1", "out=run", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.value["verdict"] == "none"
    assert outcome.value["num_held_out"] == 0
    assert outcome.value["peers"] == {"a": None, "b": None}
