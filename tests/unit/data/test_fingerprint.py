"""The fingerprint of a data set, and the sentence that tells what changed since."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dmt.data.catalog import Catalog
from dmt.data.fingerprint import changed, fingerprint
from dmt.data.splits import Split, make_split
from dmt.errors import DataError

NAMES = ["labeled/cat/a.png", "labeled/cat/b.png", "labeled/dog/c.png", "labeled/dog/d.png"]
NAMES += ["test/cat/e.png", "unlabeled/f.png", 'unlabeled/ü "\n.png', "val/dog/h.png"]
PARTS = [0, 0, 0, 0, 2, 0, 0, 1]
LABELS = [0, 0, 1, 1, 0, -1, -1, 1]


@pytest.fixture
def photos(tmp_path: Path) -> Catalog:
    for name in NAMES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content of " + name.encode())
    return catalog_of(tmp_path)


def catalog_of(root: Path | None, names: list[str] = NAMES, **fields) -> Catalog:
    rows = [NAMES.index(name) for name in names]
    catalog = Catalog(
        name="photos",
        layout="class-folders",
        root=root,
        classes=("cat", "dog"),
        paths=tuple(names),
        labels=np.array(LABELS, dtype=np.int64)[rows],
        parts=np.array(PARTS, dtype=np.uint8)[rows],
        images=None if root else np.zeros((len(names), 2, 2, 3), dtype=np.uint8),
        problems=(),
    )
    return replace(catalog, **fields)


def split_of(catalog: Catalog) -> Split:
    return make_split(catalog, seed=0, labels_per_class=None, labels=None)


def print_of(catalog: Catalog) -> dict:
    return fingerprint(catalog, split_of(catalog))


def test_it_lists_every_file_with_size_hash_and_part(photos: Catalog) -> None:
    data = print_of(photos)
    assert list(data) == ["name", "layout", "classes", "num", "sha256", "labels", "files"]
    assert (data["name"], data["layout"], data["num"]) == ("photos", "class-folders", 8)
    assert data["classes"] == ["cat", "dog"]
    assert len(data["sha256"]) == 64
    parts = ["labeled"] * 4 + ["test", "unlabeled", "unlabeled", "val"]
    for name, part, entry in zip(NAMES, parts, data["files"], strict=True):
        content = b"content of " + name.encode()
        assert entry == [name, len(content), hashlib.sha256(content).hexdigest()[:16], part]
    assert json.loads(json.dumps(data, ensure_ascii=False)) == data


def test_images_outside_the_split_are_unused(photos: Catalog) -> None:
    split = make_split(photos, seed=0, labels_per_class=None, labels=None, skip=[NAMES[5]])
    assert fingerprint(photos, split)["files"][5][3] == "unused"


def test_images_in_memory_are_hashed_as_arrays() -> None:
    catalog = catalog_of(None)
    data = print_of(catalog)
    digest = hashlib.sha256(bytes(12)).hexdigest()[:16]
    assert data["files"][0] == [NAMES[0], 12, digest, "labeled"]
    other = np.zeros((8, 2, 2, 3), dtype=np.uint8)
    other[3, 1, 1, 1] = 1
    sentence = changed(data, print_of(replace(catalog, images=other)))
    assert sentence == f"the image {NAMES[3]} has another content"


def test_the_same_data_are_unchanged_even_elsewhere_and_renamed(
    photos: Catalog, tmp_path: Path
) -> None:
    before = print_of(photos)
    moved = tmp_path.with_name("elsewhere")
    tmp_path.rename(moved)
    assert changed(before, print_of(replace(photos, root=moved, name="elsewhere"))) is None


def rewrite(root: Path, name: str) -> Catalog:
    (root / name).write_bytes(b"CONTENT of " + name.encode())  # the same number of bytes
    return catalog_of(root)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda root: catalog_of(root, NAMES[:5] + NAMES[6:]), f"the image {NAMES[5]} is missing"),
        (lambda root: rewrite(root, NAMES[2]), f"the image {NAMES[2]} has another content"),
        (
            lambda root: catalog_of(root, classes=("cat", "fox")),
            "the classes of the data changed: cat, dog before, cat, fox now",
        ),
        (
            lambda root: catalog_of(root, layout="csv"),
            "the layout of the data changed: class-folders before, csv now",
        ),
        (
            lambda root: catalog_of(root, labels=np.array([1, *LABELS[1:]])),
            "the labels of the data changed, though the images did not",
        ),
        (
            lambda root: catalog_of(root, parts=np.array([*PARTS[:7], 0], dtype=np.uint8)),
            f"the image {NAMES[7]} was val and is labeled by the split",
        ),
    ],
)
def test_a_change_is_one_sentence_that_names_it(
    photos: Catalog, change: Callable[[Path], Catalog], sentence: str
) -> None:
    before = print_of(photos)
    assert changed(before, print_of(change(photos.root))) == sentence


def test_new_files_are_named_with_the_count_of_the_others(photos: Catalog) -> None:
    few = catalog_of(photos.root, [name for name in NAMES if "unlabeled" not in name])
    assert changed(print_of(few), print_of(photos)) == (
        f"the image {NAMES[5]} is new, and so for 1 more"
    )


def test_a_name_with_a_line_end_stays_in_one_line(photos: Catalog) -> None:
    before = print_of(photos)
    sentence = changed(before, print_of(rewrite(photos.root, NAMES[6])))
    assert sentence is not None
    assert "\n" not in sentence
    assert "has another content" in sentence


def test_a_record_edited_by_hand_is_told(photos: Catalog) -> None:
    data = print_of(photos)
    assert "edited" in str(changed(data | {"sha256": "0" * 64}, data))


def test_a_vanished_file_is_one_sentence(photos: Catalog) -> None:
    (photos.root / NAMES[3]).unlink()
    with pytest.raises(DataError, match=r"d\.png cannot be read .*run the command again"):
        print_of(photos)
