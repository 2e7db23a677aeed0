"""`dmt predict` on files as people have them: the CSV, image modes and sizes, odd names."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dmt.api import train

MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F")


def rows_of(text: str) -> list[dict[str, str]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    rows = list(reader)
    assert reader.fieldnames == ["path", "label", "confidence", "agreement"]
    return rows


def digit(mode: str = "L", size: tuple[int, int] = (8, 8)) -> Image.Image:
    """A bright vertical bar, something like a 1."""
    grey = np.zeros((size[1], size[0]), dtype=np.uint8)
    grey[:, 3 * size[0] // 8 : 5 * size[0] // 8] = 255
    if mode == "I;16":
        return Image.fromarray(grey.astype(np.uint16) * 257)
    if mode == "I":
        return Image.fromarray(grey.astype(np.int32) * 257)
    return Image.fromarray(grey).convert(mode)


def suffix_for(mode: str) -> str:
    return {"CMYK": ".jpg", "YCbCr": ".jpg", "F": ".tif", "I": ".tif"}.get(mode, ".png")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "inner").mkdir(parents=True)
    for number, mode in enumerate(MODES):
        digit(mode).save(folder / f"{number}{suffix_for(mode)}")
    return folder


def test_folder_in_order_with_every_mode(digits_run: Path, images: Path, dmt) -> None:
    digit().save(images / "inner" / "a.PNG")
    (images / "notes.txt").write_text("no image")
    outcome = dmt("predict", digits_run, images, "device=cpu")
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    rows = rows_of(outcome.out)
    names = sorted([f"{n}{suffix_for(mode)}" for n, mode in enumerate(MODES)] + ["inner/a.PNG"])
    assert [row["path"] for row in rows] == [str(images / name) for name in names]
    assert {row["label"] for row in rows} <= set("0123456789")
    for row in rows:
        assert 0 <= float(row["confidence"]) <= 1
        assert 0 <= float(row["agreement"]) <= 1
    # The lossless ones without palette or dither are the same picture, so they get the same answer.
    same = [row for row in rows if Path(row["path"]).name in {"1.png", "4.png", "8.png", "a.PNG"}]
    assert len({tuple(row.values())[1:] for row in same}) == 1


def test_agreement_is_what_the_two_peers_share(digits_run: Path, images: Path, dmt) -> None:
    import torch

    from dmt.models.weights import restore

    (row,) = rows_of(dmt("predict", digits_run, images / "1.png").out)
    image = torch.from_numpy(np.array(digit().convert("RGB"))).permute(2, 0, 1)[None]
    with torch.no_grad():
        a, b = (
            restore(digits_run / f"rounds/2/{peer}/model.safetensors").eval()(image).softmax(1)
            for peer in "ab"
        )
    assert float(row["agreement"]) == pytest.approx(torch.minimum(a, b).sum().item(), abs=1e-5)
    assert float(row["confidence"]) == pytest.approx(((a + b) / 2).max().item(), abs=1e-5)
    assert row["label"] == str(int((a + b).argmax()))


@pytest.mark.parametrize("size", [(1, 1), (8, 3), (3, 40), (500, 333), (2000, 7)])
def test_any_size(digits_run: Path, size: tuple[int, int], tmp_path: Path, dmt) -> None:
    digit("RGB", size).save(tmp_path / "x.png")
    outcome = dmt("predict", digits_run, tmp_path / "x.png", "--json")
    assert outcome.code == 0, outcome.err
    (found,) = outcome.value["predictions"]
    assert set(found) == {"path", "label", "confidence", "agreement"}


@pytest.mark.parametrize(
    ("settings", "has_agreement"),
    # One lasting model's earlier self is no second opinion, unless the schedule makes it one.
    [({"schedule": "chain"}, True), ({"method": "dst"}, False), ({"method": "supervised"}, False)],
)
def test_agreement_by_kind_of_run(
    settings: dict[str, str], has_agreement: bool, tmp_path: Path, dmt
) -> None:
    digit().save(tmp_path / "x.png")
    train("digits", out=str(tmp_path / "run"), steps=3, rounds=1, model="wrn_10_1", batch_size=16,
          baseline="none", **settings)  # fmt: skip
    (row,) = rows_of(dmt("predict", tmp_path / "run", tmp_path / "x.png").out)
    assert (row["agreement"] != "") == has_agreement


def test_out_file_is_written_whole_or_not_at_all(digits_run: Path, images: Path, dmt) -> None:
    out = images.parent / "found.csv"
    outcome = dmt("predict", digits_run, images, f"out={out}")
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err == f"{len(MODES)} predictions in {out}\n"
    before = out.read_bytes()
    assert len(rows_of(before.decode())) == len(MODES)
    (images / "bad.png").write_bytes(b"no image")
    assert dmt("predict", digits_run, images, f"out={out}").code == 2
    assert out.read_bytes() == before
    assert [path.name for path in images.parent.iterdir() if path.is_file()] == ["found.csv"]
    missing = images / "absent" / "x.csv"
    outcome = dmt("predict", digits_run, images / "1.png", f"out={missing}")
    assert outcome.code == 2
    assert str(missing) in outcome.sentence


def test_out_replaces_no_other_file(digits_run: Path, images: Path, dmt) -> None:
    out = images.parent / "labels.csv"
    out.write_text("path,label\n0.png,7\n")
    outcome = dmt("predict", digits_run, images / "1.png", f"out={out}")
    assert outcome.code == 2
    assert "holds something else than predictions" in outcome.sentence
    assert out.read_text() == "path,label\n0.png,7\n"
    link = images.parent / "link.csv"
    link.symlink_to(out)
    words = ("predict", digits_run, images / "1.png", f"out={link}")
    assert dmt(*words, "overwrite=true").code == 0
    assert link.is_symlink()
    assert len(rows_of(out.read_text())) == 1
    assert dmt(*words).code == 0  # over predictions, unasked
    outcome = dmt("predict", digits_run, images / "1.png", f"out={images}")
    assert "is a folder; name a file in it" in outcome.sentence


def test_out_may_be_a_pipe(digits_run: Path, images: Path, dmt) -> None:
    pipe = images.parent / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert dmt("predict", digits_run, images / "1.png", f"out={pipe}").code == 0
    assert os.read(reader, 10_000).startswith(b"path,label,confidence,agreement\n")
    os.close(reader)
    assert pipe.is_fifo()


def test_bad_images_are_named_and_skipped_if_asked(digits_run: Path, images: Path, dmt) -> None:
    (images / "bad.png").write_bytes(b"no image")
    whole = (images / "6.jpg").read_bytes()
    (images / "half.jpg").write_bytes(whole[: len(whole) // 2])
    outcome = dmt("predict", digits_run, images)
    assert outcome.code == 2
    assert str(images / "bad.png") in outcome.sentence or str(images / "half.jpg") in outcome.err
    outcome = dmt("predict", digits_run, images, "bad_images=skip")
    assert outcome.code == 0
    assert len(rows_of(outcome.out)) == len(MODES)
    assert f"left out: {images / 'bad.png'} is not an image" in outcome.err
    assert f"the image {images / 'half.jpg'} is truncated" in outcome.err
    outcome = dmt("predict", digits_run, images / "bad.png", "bad_images=skip")
    assert (outcome.code, rows_of(outcome.out)) == (0, [])


def test_odd_names_survive_the_csv(digits_run: Path, tmp_path: Path, dmt) -> None:
    names = ["a,b.png", 'say "x".png', "two\nlines.png", "red\x1b[31m.png", "key=value.png",
             "Ärger-猫.png", " space .png"]  # fmt: skip
    for name in names:
        digit().save(tmp_path / name)
    rows = rows_of(dmt("predict", digits_run, tmp_path).out)
    assert sorted(row["path"] for row in rows) == sorted(str(tmp_path / name) for name in names)
    (tmp_path / "broken\x1b[2J\n.png").write_bytes(b"x")
    outcome = dmt("predict", digits_run, tmp_path)
    assert outcome.code == 2
    assert "\x1b" not in outcome.err
    assert outcome.err.count("\n") == 1


def test_file_with_an_equals_sign_is_a_file(digits_run: Path, tmp_path: Path, dmt) -> None:
    path = tmp_path / "device=x.png"
    digit().save(path)
    (row,) = rows_of(dmt("predict", digits_run, path).out)
    assert row["path"] == str(path)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["absent.png"], "there is no absent.png; give image files or folders"),
        (["empty"], "there is no image in empty"),
        (["out=x.csv"], "no image or folder was named to predict"),
        (["x.png", "devic=cpu"], "unknown setting 'devic'; did you mean device?"),
        (["x.png", "bad_images=keep"], "bad_images=keep does not work; use stop or skip"),
        (["x.png", "device=tpu"], "device=tpu"),
        (["x.png", "trust_code=maybe"], "trust_code"),
    ],
)
def test_what_is_refused(words: list[str], part: str, digits_run, tmp_path, dmt, monkeypatch):
    monkeypatch.chdir(tmp_path)
    digit().save("x.png")
    Path("empty").mkdir()
    outcome = dmt("predict", digits_run, *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert part in outcome.sentence
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "x.png"]
