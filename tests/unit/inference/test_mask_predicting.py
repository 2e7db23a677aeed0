"""What `dmt predict` leaves in a folder for a segmentation, and what it refuses to touch."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dmt.data.layouts import open_catalog
from dmt.data.masks import read_mask
from dmt.data.pictures import palette
from dmt.errors import DataError, RunError, SettingError
from dmt.inference.mask_predicting import MaskRow, predict_masks
from scene_toys import NAMES, Channels, noise, save, segmenter


def predict(paths: list[Path], out: Path, model: Any = None, **how: Any) -> list[MaskRow]:
    said = how.setdefault("say", lambda text: pytest.fail(text))
    assert callable(said)
    return list(predict_masks(model or segmenter(), [str(path) for path in paths], out=out, **how))


def opened(path: str | Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
    return image


def files_in(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    save(root / "a.png", noise(9, 14, 1))
    save(root / "deep" / "er" / "b.c.png", noise(20, 6, 2))
    save(root / "one.png", noise(1, 1, 3))
    return root


def test_masks_and_overlays_by_default(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "predictions"
    rows = predict([photos], out)
    names = ["a.png", "deep/er/b.c.png", "one.png"]
    assert files_in(out) == sorted(
        [
            "classes.txt",
            "predictions.csv",
            *(f"{kind}/{name}" for kind in ("masks", "overlays") for name in names),
        ]
    )
    assert [row.path for row in rows] == [str(photos / name) for name in names]
    assert [row.mask for row in rows] == [str(out / "masks" / name) for name in names]
    for row in rows:
        image = np.array(opened(row.path))
        mask = opened(row.mask)
        assert mask.mode == "P"
        assert (np.array(mask) == image.argmax(axis=2)).all()
        assert mask.getpalette()[:9] == palette(3).ravel().tolist()
        assert 1 / 3 < row.confidence <= 1
        assert row.agreement is None
        overlay = opened(row.mask.replace("/masks/", "/overlays/"))
        assert (overlay.mode, overlay.size) == ("RGB", mask.size)
    assert (out / "classes.txt").read_text() == "red\ngreen\nblue\n"


def test_folder_becomes_a_data_set_with_its_images(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = predict([photos], out)
    photos.rename(out / "images")
    data = open_catalog(out)
    assert (data.task, data.classes, len(data)) == ("segmentation", NAMES, len(rows))
    for row, path in enumerate(data.paths):
        assert (read_mask(data, row) == np.array(opened(out / path)).argmax(axis=2)).all()


def test_mask_of_a_turned_photo_is_upright(tmp_path: Path) -> None:
    image, exif = Image.fromarray(noise(4, 9)), Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "x.png", exif=exif)
    (row,) = predict([tmp_path / "x.png"], tmp_path / "out")
    upright = np.rot90(np.asarray(image), k=-1).argmax(axis=2)
    assert (np.array(opened(row.mask)) == upright).all()


def test_maps_by_option(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    model = segmenter(Channels(8), Channels(2))
    rows = predict([photos], out, model, overlay=False, confidence=True, disagreement=True)
    assert sorted(p.name for p in out.iterdir() if p.is_dir()) == [
        "confidence", "disagreement", "masks",
    ]  # fmt: skip
    for row in rows:
        scene = model.predict([row.path])[0]
        assert scene.agreement is not None
        assert row.agreement == pytest.approx(scene.agreement.mean())
        assert row.confidence == pytest.approx(scene.confidence.mean())
        for kind, values in (
            ("confidence", scene.confidence),
            ("disagreement", 1 - scene.agreement),
        ):
            grey = np.array(opened(row.mask.replace("/masks/", f"/{kind}/")))
            np.testing.assert_allclose(grey / 255, values, atol=0.51 / 255)


@pytest.mark.parametrize("workers", [0, 2])
def test_many_images_in_order(workers: int, tmp_path: Path) -> None:
    for number in range(20):
        save(tmp_path / "in" / f"{number:02}.png", noise(3 + number, 5, number))
    rows = predict([tmp_path / "in"], tmp_path / "out", segmenter(workers=workers))
    assert [Path(row.path).name for row in rows] == [f"{n:02}.png" for n in range(20)]
    for row in rows:
        assert opened(row.mask).size == opened(row.path).size


def test_table(photos: Path, tmp_path: Path) -> None:
    model = segmenter(Channels(8), Channels(2))
    for number, each in enumerate((model, segmenter())):
        out = tmp_path / f"out{number}"
        rows = predict([photos], out, each)
        with (out / "predictions.csv").open(newline="") as file:
            read = list(csv.DictReader(file))
        assert [row["path"] for row in read] == [row.path for row in rows]
        assert list(read[0]) == ["path", "mask", "confidence", "agreement"]
        assert Path(read[1]["mask"]).is_file()
        assert (read[0]["agreement"] == "") == (number == 1)
        assert len(read[0]["confidence"]) == len("0.123456")


def test_bad_images_stop_or_are_named(photos: Path, tmp_path: Path) -> None:
    (photos / "bad.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"bad\.png is not an image"):
        predict([photos], tmp_path / "stop")
    said: list[str] = []
    rows = predict([photos], tmp_path / "skip", bad_images="skip", say=said.append)
    assert [Path(row.path).name for row in rows] == ["a.png", "b.c.png", "one.png"]
    assert len(said) == 1
    assert said[0].startswith(f"left out: {photos / 'bad.png'} is not an image")
    assert not (tmp_path / "skip/masks/bad.png").exists()
    with pytest.raises(SettingError, match="bad_images=keep"):
        predict([photos], tmp_path / "keep", bad_images="keep")


@pytest.mark.parametrize(
    ("first", "second"), [("x.png", "x.PNG"), ("x.png", "x.bmp"), ("x.png", "X.png")]
)
def test_two_images_of_one_name_are_refused(first: str, second: str, tmp_path: Path) -> None:
    one = save(tmp_path / "one" / first, noise(2, 2))
    two = save(tmp_path / "two" / second, noise(2, 2))
    with pytest.raises(DataError, match="would both be written as") as caught:
        predict([tmp_path / "one", tmp_path / "two"], tmp_path / "out")
    assert str(one) in str(caught.value)
    assert str(two) in str(caught.value)
    assert not (tmp_path / "out").exists()
    with pytest.raises(DataError, match="is named twice"):
        predict([tmp_path / "one", one], tmp_path / "out")


def test_what_is_there_is_not_overwritten_unasked(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    drawn = save(out / "masks" / "a.png", np.zeros((9, 14), np.uint8))
    before = drawn.read_bytes()
    with pytest.raises(SettingError, match=r"masks/a\.png would be overwritten; .*overwrite=true"):
        predict([photos], out)
    assert files_in(out) == ["masks/a.png"]
    assert drawn.read_bytes() == before
    assert len(predict([photos], out, overwrite=True)) == 3
    assert drawn.read_bytes() != before
    with pytest.raises(SettingError, match="and 6 more would be overwritten"):
        predict([photos], out)


def test_classes_of_another_data_set_are_not_overwritten(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(SettingError, match=r"classes\.txt would be overwritten"):
        predict([photos], out)
    (out / "classes.txt").write_text("".join(f"{name}\n" for name in NAMES))
    assert len(predict([photos], out)) == 3


def test_what_is_refused_before_anything_is_made(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(SettingError, match="disagreement=true needs a run of two models"):
        predict([photos], out, disagreement=True)
    with pytest.raises(DataError, match=r"there is no .*absent"):
        predict([tmp_path / "absent"], out)
    with pytest.raises(DataError, match="no image or folder was named"):
        predict([], out)
    assert not out.exists()
    out.write_text("a file")
    with pytest.raises(RunError, match=r"out cannot be written to .*out="):
        predict([photos], out)
