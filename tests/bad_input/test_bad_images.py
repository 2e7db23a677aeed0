"""Image files of every kind through the command: what is read is read right, the rest is named."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from odd_images import Bad, Odd, readable, unreadable, written
from PIL import Image
from spoiling import TINY, named, problems_of, refused_untouched

from commands import call, refused, tree
from dmt.data.decode import decode, shown
from tiny_scenes import WORDS, pixels_of

READABLE = {odd.name: odd for odd in readable()}
UNREADABLE = {bad.name: bad for bad in unreadable()}


def put(folder: Path, file: Odd | Bad) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file.name
    path.write_bytes(file.content)
    return path


# Files that are to be read ----------------------------------------------------------------------


@pytest.mark.parametrize("odd", READABLE.values(), ids=named)
def test_it_is_read(odd: Odd, photos: Path, scenes: Path) -> None:
    """Check finds it, says nothing of it in either task, and its pixels are the right ones."""
    for folder in (photos / "unlabeled", scenes / "images"):
        path = put(folder, odd)
        found = problems_of(folder.parent)
        assert not [each for each in found if each["kind"] == "unreadable"]
        pixels = decode(path)
        if odd.pixels is not None:
            np.testing.assert_array_equal(pixels, odd.pixels)
        else:
            assert pixels.std() > 0 or "lab" in odd.name


def test_a_turned_jpeg_is_seen_upright(tmp_path: Path) -> None:
    """Its pixels are lossy, so they are compared with those of the file that is not turned."""
    upright = decode(put(tmp_path, READABLE["turned 1.jpg"]))
    for orientation, turn in {3: np.rot90(upright, 2), 6: np.rot90(upright, -1),
                              8: np.rot90(upright), 2: upright[:, ::-1]}.items():  # fmt: skip
        found = decode(put(tmp_path, READABLE[f"turned {orientation}.jpg"]))
        np.testing.assert_array_equal(found, turn)


@pytest.fixture
def twins(tmp_path: Path) -> dict[str, Path]:
    """Every readable file and, as a plain RGB PNG, what it shows."""
    files = {}
    for index, odd in enumerate(READABLE.values()):
        odd_path = put(tmp_path / "odd" / f"{index}", odd)
        plain = tmp_path / "plain" / f"{index}" / f"{Path(odd.name).stem}.png"
        plain.parent.mkdir(parents=True)
        plain.write_bytes(written(decode(odd_path), "PNG"))
        files[str(odd_path)] = plain
    return files


def test_predictions_are_those_of_the_plain_file(twins, photo_run: Path, here: Path) -> None:
    outcome = call("predict", photo_run, *twins, "out=odd.csv")
    assert outcome.code == 0, outcome.err
    assert call("predict", photo_run, *twins.values(), "out=plain.csv").code == 0
    with open("odd.csv", newline="") as odd, open("plain.csv", newline="") as plain:
        odd_rows, plain_rows = list(csv.reader(odd)), list(csv.reader(plain))
    assert [row[0] for row in odd_rows[1:]] == list(twins)
    assert [row[1:] for row in odd_rows] == [row[1:] for row in plain_rows]


def test_masks_are_those_of_the_plain_file(scene_run: Path, tmp_path: Path, here: Path) -> None:
    names = [name for name in READABLE if not name.startswith("turned")][:12]
    names += ["turned 6.jpg", "turned 7.png", "one pixel.png", "very wide.png", "moving.webp"]
    for name in names:
        path = put(tmp_path / "odd", READABLE[name])
        (tmp_path / "plain").mkdir(exist_ok=True)
        (tmp_path / "plain" / f"{name}.png").write_bytes(written(decode(path), "PNG"))
        path.rename(tmp_path / "odd" / f"{name}{path.suffix}")
    for kind in ("odd", "plain"):
        outcome = call("predict", scene_run, tmp_path / kind, f"out={kind}", "overlay=false")
        assert outcome.code == 0, outcome.err
    for name in names:
        mask = pixels_of(here / "odd" / "masks" / f"{name}.png")
        np.testing.assert_array_equal(mask, pixels_of(here / "plain" / "masks" / f"{name}.png"))
        assert mask.shape == decode(tmp_path / "plain" / f"{name}.png").shape[:2]


@pytest.mark.slow
def test_all_of_them_can_be_trained_on(photos: Path, scenes: Path, here: Path) -> None:
    for odd in READABLE.values():
        put(photos / "unlabeled", odd)
    put(scenes / "images", READABLE["one pixel.png"])
    put(scenes / "images", READABLE["16 bits.tif"])
    put(scenes / "images", READABLE["very tall.png"])
    outcome = call("train", photos, *TINY, "out=photos", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.value["unlabeled"] == 8 + len(READABLE)
    outcome = call("train", scenes, *WORDS, "out=scenes", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.value["unlabeled"] == 2 + 3


# Files that cannot be read ----------------------------------------------------------------------


@pytest.mark.parametrize("bad", UNREADABLE.values(), ids=named)
def test_it_is_named(bad: Bad, photos: Path, scenes: Path, here: Path) -> None:
    """Check lists it in either task, and training on it stops before anything is written."""
    for path, words in (
        (put(photos / "unlabeled", bad), TINY),
        (put(scenes / "images", bad), WORDS),
    ):
        root = path.parent.parent
        (found,) = [each for each in problems_of(root) if each["kind"] == "unreadable"]
        assert found["path"] == f"{path.parent.name}/{bad.name}"
        assert shown(path) in found["message"]
        assert bad.why in found["message"]
        told = refused_untouched("train", [root, *words, "out=run"], bad.name, beside=root)
        assert "bad_images=skip" in told or "remove it" in told


def test_prediction_names_it_or_leaves_it_out(photo_run: Path, tmp_path: Path, here: Path) -> None:
    files = [put(tmp_path / "bad", bad) for bad in UNREADABLE.values()]
    for path, bad in zip(files, UNREADABLE.values(), strict=True):
        refused("predict", [photo_run, path, "out=x.csv"], str(path), bad.why)
    assert list(here.iterdir()) == []
    good = put(tmp_path / "good", READABLE["grey.png"])
    outcome = call("predict", photo_run, *files, good, "bad_images=skip", "--json")
    assert outcome.code == 0, outcome.err
    assert [each["path"] for each in outcome.value["predictions"]] == [str(good)]
    assert outcome.err.count("dmt: left out: ") == len(files)


def test_masks_are_not_written_of_what_cannot_be_read(
    scene_run: Path, tmp_path: Path, here: Path
) -> None:
    files = [put(tmp_path / str(number), bad) for number, bad in enumerate(UNREADABLE.values())]
    good = put(tmp_path / "good", READABLE["photo.bmp"])
    half = tmp_path / "half.png"
    half.write_bytes(UNREADABLE["half.png"].content)
    refused("predict", [scene_run, half, "out=one"], "half.png is truncated or damaged")
    assert not list((here / "one" / "masks").iterdir())
    renamed = []
    for number, path in enumerate(files):
        renamed.append(path.rename(path.with_name(f"{number}{path.suffix}")))
    outcome = call("predict", scene_run, *renamed, good, "out=all", "bad_images=skip", "--json")
    assert outcome.code == 0, outcome.err
    assert [path.name for path in (here / "all" / "masks").iterdir()] == ["photo.png"]
    assert outcome.err.count("dmt: left out: ") == len(files)


def test_evaluation_names_it(photo_run: Path, photos: Path) -> None:
    path = put(photos / "test" / "blue", UNREADABLE["half.jpg"])
    (photos / "test" / "green").mkdir()
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(photos / "test" / "green" / "x.png")
    before = tree(photos)
    refused("evaluate", [photo_run, photos], str(path), "truncated or damaged")
    assert tree(photos) == before
