"""Tests of the folder layouts: labels and parts by name, what is told, and what is refused."""

from pathlib import Path

import pytest

from dmt.data.catalog import Catalog, Part, natural_key
from dmt.data.layouts import open_catalog
from dmt.data.layouts.folders import read_folders
from dmt.errors import DataError


def tree(root: Path, *names: str) -> Path:
    """Make empty files (or folders, for names that end in /); listing opens no image."""
    for name in names:
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return root


def rows(catalog: Catalog) -> dict[str, tuple[str | None, Part]]:
    return {
        path: (catalog.classes[label] if label >= 0 else None, Part(part))
        for path, label, part in zip(catalog.paths, catalog.labels, catalog.parts, strict=True)
    }


def kinds(catalog: Catalog) -> list[str]:
    return [problem.kind for problem in catalog.problems]


def test_labeled_unlabeled_val_test(tmp_path: Path) -> None:
    root = tree(
        tmp_path / "photos",
        "labeled/cat/1.jpg", "labeled/cat/more/2.JPG", "labeled/dog/1.png",
        "unlabeled/x.jpg", "unlabeled/day 1/y.jpg",
        "val/cat/3.jpg", "val/dog/3.jpg", "test/dog/4.jpg", "test/cat/4.jpg",
    )  # fmt: skip
    catalog = open_catalog(root)
    assert (catalog.name, catalog.layout, catalog.root) == ("photos", "class-folders", root)
    assert catalog.classes == ("cat", "dog")
    assert catalog.images is None
    assert catalog.problems == ()
    assert list(catalog.paths) == sorted(catalog.paths)
    assert rows(catalog) == {
        "labeled/cat/1.jpg": ("cat", Part.TRAIN),
        "labeled/cat/more/2.JPG": ("cat", Part.TRAIN),
        "labeled/dog/1.png": ("dog", Part.TRAIN),
        "unlabeled/x.jpg": (None, Part.TRAIN),
        "unlabeled/day 1/y.jpg": (None, Part.TRAIN),
        "val/cat/3.jpg": ("cat", Part.VAL),
        "val/dog/3.jpg": ("dog", Part.VAL),
        "test/dog/4.jpg": ("dog", Part.TEST),
        "test/cat/4.jpg": ("cat", Part.TEST),
    }


def test_train_and_test_folders(tmp_path: Path) -> None:
    root = tree(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "test/a/2.jpg", "unlabeled/3.jpg")
    catalog = open_catalog(str(root))
    assert catalog.layout == "train-test-folders"
    assert rows(catalog)["train/b/1.jpg"] == ("b", Part.TRAIN)
    assert rows(catalog)["unlabeled/3.jpg"] == (None, Part.TRAIN)
    assert kinds(catalog) == ["missing-class"]
    assert "class b" in catalog.problems[0].message


def test_labeled_wins_over_train(tmp_path: Path) -> None:
    root = tree(tmp_path, "labeled/a/1.jpg", "labeled/b/1.jpg", "train/c/1.jpg", "unlabeled/2.jpg")
    catalog = open_catalog(root)
    assert catalog.classes == ("a", "b")
    assert len(catalog) == 3
    assert [(p.kind, p.path) for p in catalog.problems] == [("ignored-folder", "train")]


def test_plain_class_folders_are_all_labeled(tmp_path: Path) -> None:
    root = tree(tmp_path, "10/x.jpg", "9/x.jpg", "2/deep/x.jpg", "empty/", "readme.txt")
    catalog = open_catalog(root)
    assert catalog.layout == "class-folders"
    assert catalog.classes == ("2", "9", "10")
    assert set(catalog.parts) == {Part.TRAIN}
    assert rows(catalog)["2/deep/x.jpg"] == ("2", Part.TRAIN)
    assert kinds(catalog) == ["empty-class", "ignored-files", "no-unlabeled"]


def test_strange_names_survive(tmp_path: Path) -> None:
    strange = ["it's", 'a "quote"', "line\nbreak", "日本 語", "a,b;c", "back\\slash", "🐈"]
    root = tree(tmp_path, *(f"labeled/{name}/{name}.png" for name in strange))
    catalog = open_catalog(root)
    assert set(catalog.classes) == set(strange)
    assert rows(catalog) == {f"labeled/{n}/{n}.png": (n, Part.TRAIN) for n in strange}


def test_problems_are_told_and_do_not_stop(tmp_path: Path) -> None:
    root = tree(
        tmp_path, "labeled/a/1.jpg", "labeled/b/1.jpg", "labeled/b/1.heic", "notes/x.txt",
        "val/a/1.jpg", "val/b/", "test/0001.jpg",
    )  # fmt: skip
    catalog = open_catalog(root)
    assert kinds(catalog) == [
        "ignored-folder", "no-class", "empty-class", "ignored-files", "no-unlabeled",
    ]  # fmt: skip
    told = {problem.kind: problem for problem in catalog.problems}
    assert told["empty-class"].path == "val/b"
    assert ".heic: 1" in told["ignored-files"].message
    assert told["ignored-files"].path == "labeled/b/1.heic"
    assert told["no-class"].message.startswith("1 image directly in test/ is")
    assert "test/0001.jpg" not in catalog.paths


@pytest.mark.parametrize(
    ("names", "match"),
    [
        ([], "holds no image"),
        (["a/", "b/"], "holds no image"),
        (["labeled/"], "labeled holds no image"),
        (["labeled/a/", "labeled/b/"], "labeled holds no image"),
        (["labeled/a/1.jpg", "labeled/b/note.txt"], "labeled/b holds no image"),
        (["train/a/1.jpg", "train/b/"], "train/b holds no image"),
        (["labeled/a/1.jpg", "labeled/2.jpg", "labeled/3.jpg"],
         r"2 images in .*labeled are in no class folder, for example labeled/2.jpg"),
        (["labeled/a/1.jpg", "unlabeled/1.jpg"], r"one class only \(a\)"),
        (["a/1.jpg", "b/"], r"one class only \(a\)"),
        (["labeled/a/1.jpg", "labeled/b/1.jpg", "val/c/1.jpg", "val/d/1.jpg"],
         r"val has the class c \(and 1 more\), which labeled/ lacks"),
        (["train/a/1.jpg", "train/b/1.jpg", "test/A/1.jpg"], "which train/ lacks"),
        (["a/1.jpg", "b/1.jpg", "2.jpg"], "1 image in .* is in no class folder"),
        (["1.jpg"], "images in no folder"),
        (["unlabeled/1.jpg", "a/1.jpg", "b/1.jpg"], "layout .* found a/, b/, unlabeled/"),
        (["images/1.jpg", "labeled/"], "labeled holds no image"),
        (["photos/labeled/a/1.jpg"], r"perhaps you mean .*photos$"),
        (["one/train/a/1.jpg", "two/train/a/1.jpg"], r"perhaps you mean .*one$"),
        (["labeled/\u00e9/1.jpg", "labeled/e\u0301/1.jpg"], "class folders whose names look the"),
        (["labeled/a/\u00e9.jpg", "labeled/a/e\u0301.jpg", "labeled/b/1.jpg"], "two files whose"),
    ],
)  # fmt: skip
def test_what_cannot_be_used(tmp_path: Path, names: list[str], match: str) -> None:
    root = tree(tmp_path / "data", *names)
    root.mkdir(exist_ok=True)
    if len({path.name for path in root.rglob("*")}) < len(set(names)) and "\u0301" in str(names):
        pytest.skip("this file system takes the two names for one")
    with pytest.raises(DataError, match=match) as caught:
        open_catalog(root)
    assert "\n" not in str(caught.value)


def test_a_link_out_of_the_data_folder_is_refused(tmp_path: Path) -> None:
    root = tree(tmp_path / "data", "labeled/a/1.jpg", "labeled/b/1.jpg", "unlabeled/")
    tree(tmp_path, "secret/1.jpg")
    (root / "unlabeled" / "x").symlink_to(tmp_path / "secret")
    with pytest.raises(DataError, match="leaves the data folder"):
        open_catalog(root)


def test_images_in_a_hidden_folder_are_told_and_its_links_stop_nothing(tmp_path: Path) -> None:
    folder = tree(tmp_path / "data", "labeled/a/1.png", "labeled/b/1.png", "labeled/..x/1.png",
                  "unlabeled/1.png", "unlabeled/.venv/readme.txt")  # fmt: skip
    (folder / "unlabeled" / ".venv" / "lib").symlink_to(tmp_path)
    (told,) = read_folders(folder).problems
    assert (told.kind, told.path) == ("ignored-folder", "labeled/..x")
    assert "its name begins with a dot" in told.message


def test_natural_order_takes_numbers_of_any_length() -> None:
    names = ["b", "a10", "a2", "a02", "a", "7" * 5000, "10", "9"]
    ordered = sorted(names, key=natural_key)
    assert ordered == ["9", "10", "7" * 5000, "a", "a02", "a2", "a10", "b"]
