"""What a user can get wrong in a segmentation: one sentence on stderr, exit code 2, nothing left.

Settings are in `test_segmentation_settings`, what classification shares in `test_bad_input`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_scenes import SIZE, WORDS, pixels_of, refused, value_of, write_pairs

from trees import save_index, write_image_masks, write_voc


@pytest.fixture
def here(tmp_path: Path, monkeypatch) -> Path:
    """An empty working folder; a run's folder would be made in it."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


# Data -------------------------------------------------------------------------------------------


def shrink(root: Path) -> None:
    for stem in "ac":
        save_index(root / "masks" / f"{stem}.png", np.zeros((10, 20), np.uint8))


def strange_values(root: Path) -> None:
    for value, stem in zip((77, 78, 9, 10), "abcd", strict=True):
        mask = pixels_of(root / "masks" / f"{stem}.png")
        mask[:3] = value
        save_index(root / "masks" / f"{stem}.png", mask)


def deep_values(root: Path) -> None:
    mask = pixels_of(root / "masks" / "a.png").astype(np.uint16)
    mask[0, :5] = (3, 256, 700, 65535, 0)
    Image.fromarray(mask).save(root / "masks" / "a.png")


def unnamed_color(root: Path) -> None:
    colors = np.array([[0, 0, 0], [9, 8, 7], [1, 2, 3]], dtype=np.uint8)
    for stem in "abcd":
        mask = np.where((mask := pixels_of(root / "masks" / f"{stem}.png")) == 255, 0, mask)
        Image.fromarray(colors[mask]).save(root / "masks" / f"{stem}.png")
    (root / "classes.txt").write_text("ground 0 0 0\nred 9 8 7\ngreen 4 5 6\n")


def remove_image(root: Path) -> None:
    (root / "images" / "b.png").unlink()


def double_image(root: Path) -> None:
    shutil.copy(root / "images" / "b.png", root / "images" / "b.jpg")


def double_mask(root: Path) -> None:
    shutil.copy(root / "masks" / "b.png", root / "masks" / "b.tif")


def lossy_mask(root: Path) -> None:
    Image.fromarray(np.zeros(SIZE, np.uint8)).save(root / "masks" / "a.jpg")
    (root / "masks" / "a.png").unlink()


def half_a_mask(root: Path) -> None:
    path = root / "masks" / "a.png"
    path.write_bytes(path.read_bytes()[:60])


def no_masks(root: Path) -> None:
    shutil.rmtree(root / "masks")


def empty_masks(root: Path) -> None:
    for path in (root / "masks").iterdir():
        path.unlink()


def classes(text: str) -> Callable[[Path], None]:
    return lambda root: (root / "classes.txt").write_text(text) and None


def half_an_image(root: Path) -> None:
    path = root / "images" / "e.png"
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        (shrink, ("masks/a.png (20×10 instead of 48×40), masks/c.png (20×10 instead of 48×40)",)),
        (strange_values, ("the values 9, 10, 77, 78",
                          "masks/a.png, masks/b.png, masks/c.png and 1 more",
                          "classes.txt names 3 classes")),
        (deep_values, ("the values 3, 256, 700, for example in masks/a.png",)),
        (unnamed_color, ("#010203", "masks/")),
        (remove_image, ("masks/b.png has no image of the same name",)),
        (double_image, ("images/b.jpg and images/b.png differ by suffix alone",)),
        (double_mask, ("masks/b.png and masks/b.tif differ by suffix alone",)),
        (lossy_mask, ("the mask", "a.jpg is a JPEG file", "save masks as PNG")),
        (half_a_mask, ("masks/a.png",)),
        (half_an_image, ("images/e.png",)),
        (no_masks, ("masks/",)),
        (empty_masks, ("masks/",)),
        (classes("ground\nred\nred\n"), ("classes.txt has the name red on the lines 2 and 3",)),
        (classes("ground\nred\n"), ("classes.txt names 2 classes but masks hold the value 2",)),
        (classes("ground\n"), ("classes.txt names one class only (ground)",)),
        (classes("\n# none\n"), ("classes.txt names no class",)),
        (classes("ground 1 2 3\nred 1 2 3\ngreen 3 4 5\n"), ("the colour (1, 2, 3)",)),
        (classes("ground\nred\ngreen\nblue\n"), ("class 'blue' is in none of the masks",
                                                 "allow_unlabeled_classes=true")),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_data_that_cannot_be_used(
    spoil: Callable[[Path], None], parts: tuple[str, ...], here: Path, tmp_path: Path, dmt, snapshot
) -> None:
    root = write_pairs(tmp_path / "set", "abcdef", num_labeled=4)
    spoil(root)
    before = snapshot(root)
    refused(dmt, [root, *WORDS], *parts)
    assert list(here.iterdir()) == [], "no run folder with half a run"
    assert snapshot(root) == before


@pytest.mark.parametrize("spoil", [shrink, strange_values, half_a_mask])
def test_check_finds_what_train_would(
    spoil: Callable[[Path], None], here: Path, tmp_path: Path, dmt
) -> None:
    root = write_pairs(tmp_path / "set", "abcdef", num_labeled=4)
    spoil(root)
    assert refused(dmt, [root], command="check") == refused(dmt, [root, *WORDS])


def test_spoilt_image_can_be_skipped(tmp_path: Path, dmt) -> None:
    root = write_pairs(tmp_path / "set", "abcdef", num_labeled=4)
    half_an_image(root)
    outcome = dmt("train", root, *WORDS, "bad_images=skip", f"out={tmp_path / 'run'}")
    assert outcome.code == 0, outcome.err
    assert "left out 1 unreadable image: images/e.png" in outcome.err
    assert value_of(tmp_path / "run" / "summary.json")["unlabeled"] == 1


def test_class_never_labeled_is_marked(here: Path, tmp_path: Path, dmt) -> None:
    root = write_pairs(tmp_path / "set", "abcdef", num_labeled=4)
    (root / "classes.txt").write_text("ground\nred\ngreen\nblue\n")
    words = [root, *WORDS, "allow_unlabeled_classes=true", "out=run"]
    assert dmt("train", *words).code == 0
    assert value_of(here / "run" / "summary.json")["unlabeled_classes"] == ["blue"]
    report = (here / "run" / "report.html").read_text()
    assert "blue *" in report or "blue*" in report
    assert "Not one labeled pixel (allow_unlabeled_classes=true)" in report
    found = dmt("check", root, "--json").value["problems"]
    assert any(each["kind"] == "never-labeled" and "'blue'" in each["message"] for each in found)


def test_held_out_masks_that_say_nothing(here: Path, tmp_path: Path, dmt) -> None:
    root = write_image_masks(tmp_path / "set", 4, 1, num_test=2, size=SIZE)
    for path in (root / "test" / "masks").iterdir():
        save_index(path, np.full_like(pixels_of(path), 255))
    refused(dmt, [root, *WORDS], "the held-out masks hold no labeled pixel")
    assert list(here.iterdir()) == []


def test_voc_list_that_names_no_image(here: Path, tmp_path: Path, dmt) -> None:
    root = write_voc(tmp_path / "voc", 3, 2, 1, size=SIZE)
    with (root / "ImageSets" / "Segmentation" / "trainaug.txt").open("a") as names:
        names.write("2008_000001\n")
    words = [root, "recipe=voc-1464", "weights=none", "peers.a.weights=none", *WORDS]
    refused(dmt, words, "trainaug.txt", "2008_000001")
    assert list(here.iterdir()) == []
