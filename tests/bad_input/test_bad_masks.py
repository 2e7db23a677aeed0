"""Masks of every kind through the command: which are read, which are refused and in what words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from odd_images import unreadable, written
from PIL import Image
from spoiling import named, refused_untouched

from commands import call, refused, tree
from tiny_scenes import SIZE, WORDS, pixels_of
from trees import save_index, write_image_masks

_COLORS = np.array([[0, 0, 0], [9, 8, 7], [1, 2, 3]], dtype=np.uint8)
_WITH_COLORS = "ground 0 0 0\nred 9 8 7\ngreen #010203\n"


class Case(NamedTuple):
    """What is done to whole scenes; what the sentence then holds, or nothing where it is right."""

    name: str
    spoil: Callable[[Path], object]
    parts: tuple[str, ...] = ()


def _mask(root: Path, stem: str) -> NDArray[np.uint8]:
    return pixels_of(root / "masks" / f"{stem}.png")


def _each(change: Callable[[NDArray[np.uint8]], Any], suffix: str = "png", **options: Any) -> Any:
    """Save every mask anew as what `change` makes of it."""

    def spoil(root: Path) -> None:
        for path in sorted((root / "masks").glob("*.png")):
            picture = change(pixels_of(path))
            path.unlink()
            if not isinstance(picture, Image.Image):
                picture = Image.fromarray(picture)
            picture.save(path.with_suffix(f".{suffix}"), **options)

    return spoil


def _no_border(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.where(mask == 255, 0, mask)


def _in_palette(mask: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(mask)
    image.putpalette([value * 37 % 256 for value in range(768)])
    return image


def _with_alpha(mask: NDArray[np.uint8]) -> Image.Image:
    solid = Image.fromarray(np.full_like(mask, 255))
    return Image.merge("LA", [Image.fromarray(mask), solid])


def _deep(mask: NDArray[np.uint8]) -> NDArray[np.uint16]:
    return np.where(mask == 255, 65535, mask.astype(np.uint16))


def _in_colors(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return _COLORS[_no_border(mask)]


def _colored(change: Callable[[NDArray[np.uint8]], Any], **options: Any) -> Any:
    def spoil(root: Path) -> None:
        _each(change, **options)(root)
        (root / "classes.txt").write_text(_WITH_COLORS)

    return spoil


# Masks that mean the same ------------------------------------------------------------------------

SAME = (
    Case("as they are", lambda root: None),
    Case("palette", _each(_in_palette)),
    Case("grey and alpha", _each(_with_alpha)),
    Case("16 bits", _each(_deep)),
    Case("32 bits", _each(lambda mask: _deep(mask).astype(np.int32), "tif")),
    Case("equal channels", _each(lambda mask: np.repeat(mask[..., None], 3, axis=2))),
    Case("equal channels and alpha", _each(lambda mask: np.dstack([mask] * 3 + [mask * 0 + 255]))),
    Case("tif", _each(lambda mask: mask, "tif")),
    Case("bmp", _each(lambda mask: mask, "bmp")),
    Case("pgm", _each(lambda mask: mask, "pgm")),
    Case("tga", _each(lambda mask: mask, "tga")),
    Case("loud suffixes", _each(lambda mask: mask, "PNG")),
    Case("see-through class", _each(lambda mask: mask, transparency=0)),
    Case("Windows class list",
         lambda root: (root / "classes.txt").write_bytes(b"ground\r\nred\r\ngreen\r\n")),
    Case("class list with a mark and comments",
         lambda root: (root / "classes.txt").write_bytes(b"\xef\xbb\xbf#\nground\n\nred\ngreen")),
)  # fmt: skip


def _classes_of(root: Path) -> Any:
    found = call("check", root, "--json")
    assert found.code == 0, found.err
    return found.value["classes"]


@pytest.mark.parametrize("case", SAME, ids=named)
def test_it_means_the_same(case: Case, scenes: Path, whole_scenes: Path) -> None:
    """Every class is in as many images and covers the same share of the pixels."""
    case.spoil(scenes)
    assert _classes_of(scenes) == _classes_of(whole_scenes)


COLORED = (
    Case("rgb", _colored(_in_colors)),
    Case("rgba", _colored(lambda mask: np.dstack([_in_colors(mask), mask * 0 + 255]))),
    Case("rgb tif", _colored(_in_colors, suffix="tif")),
)


@pytest.mark.parametrize("case", COLORED, ids=named)
def test_colours_mean_their_classes(case: Case, scenes: Path) -> None:
    _each(_no_border)(scenes)
    expected = _classes_of(scenes)
    case.spoil(scenes)
    assert _classes_of(scenes) == expected


# Masks that cannot be used ------------------------------------------------------------------------


def _shrink(root: Path) -> None:
    for stem in "ac":
        save_index(root / "masks" / f"{stem}.png", np.zeros((10, 20), np.uint8))


def _strange_values(root: Path) -> None:
    for value, stem in zip((77, 78, 9, 10), "abcd", strict=True):
        mask = _mask(root, stem)
        mask[:3] = value
        save_index(root / "masks" / f"{stem}.png", mask)


def _deep_values(root: Path) -> None:
    mask = _mask(root, "a").astype(np.uint16)
    mask[0, :5] = (3, 256, 700, 65535, 0)
    Image.fromarray(mask).save(root / "masks" / "a.png")


def _unnamed_color(root: Path) -> None:
    _colored(_in_colors)(root)
    (root / "classes.txt").write_text("ground 0 0 0\nred 9 8 7\ngreen 4 5 6\n")


def _instead_of_a(suffix: str, content: bytes) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        (root / "masks" / "a.png").unlink()
        (root / "masks" / f"a.{suffix}").write_bytes(content)

    return spoil


def _classes(content: str | bytes) -> Callable[[Path], object]:
    held = content.encode() if isinstance(content, str) else content
    return lambda root: (root / "classes.txt").write_bytes(held)


def _empty_masks(root: Path) -> None:
    for path in (root / "masks").iterdir():
        path.unlink()


def _cut(root: Path, name: str, length: int) -> None:
    path = root / name
    path.write_bytes(path.read_bytes()[:length])


def _without_list(value: int | None) -> Callable[[Path], None]:
    """No classes.txt, and masks that hold 0 and 1, or nothing but `value`."""

    def spoil(root: Path) -> None:
        (root / "classes.txt").unlink()
        for stem in "abcd":
            mask = np.zeros(SIZE, np.uint8)
            if value is None:
                mask[:2], mask[2:4] = 1, 7
            else:
                mask[:] = value
            save_index(root / "masks" / f"{stem}.png", mask)

    return spoil


_GREY = np.zeros(SIZE, np.uint8)
_NOISE = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
_MANY = "".join(f"class {number}\n" for number in range(300))
REFUSED = (
    Case("another size", _shrink,
         ("masks/a.png (20×10 instead of 48×40), masks/c.png (20×10 instead of 48×40)",)),
    Case("strange values", _strange_values,
         ("the values 9, 10, 77, 78", "masks/a.png, masks/b.png, masks/c.png and 1 more",
          "classes.txt names 3 classes")),
    Case("values of 16 bits", _deep_values,
         ("the values 3, 256, 700, for example in masks/a.png",)),
    Case("a colour without a name", _unnamed_color, ("#010203", "masks/")),
    Case("a colour picture", _instead_of_a("png", written(_NOISE, "PNG")),
         ("a.png is a colour picture: give every class its colour in classes.txt",)),
    Case("CMYK", _instead_of_a("tif", written(Image.fromarray(_NOISE).convert("CMYK"), "TIFF")),
         ("a.tif is a colour picture",)),
    Case("floating point", _instead_of_a("tif", written(_GREY.astype(np.float32), "TIFF")),
         ("a.tif holds floating-point values: save masks as PNG",)),
    Case("JPEG", _instead_of_a("jpg", written(_GREY, "JPEG")),
         ("the mask", "a.jpg is a JPEG file", "save masks as PNG")),
    Case("JPEG named png", _instead_of_a("png", written(_GREY, "JPEG")),
         ("a.png is a JPEG file", "save masks as PNG")),
    Case("WebP", _instead_of_a("webp", written(_GREY, "WEBP", lossless=True)), ("is a WEBP file",)),
    Case("GIF", _instead_of_a("gif", written(_GREY, "GIF")), ("a.gif is a GIF file",)),
    Case("JPEG 2000", _instead_of_a("jp2", written(_GREY, "JPEG2000")), ("is a JPEG2000 file",)),
    Case("one pixel", _instead_of_a("png", written(_GREY[:1, :1], "PNG")),
         ("masks/a.png (1×1 instead of 48×40)",)),
    Case("lying on its side", _instead_of_a("png", written(_GREY.T, "PNG")),
         ("masks/a.png (40×48 instead of 48×40)",)),
    *(Case(f"mask: {bad.name}", _instead_of_a("png", bad.content), ("a.png", bad.why))
      for bad in unreadable() if bad.name.endswith(".png")),
    Case("half an image", lambda root: _cut(root, "images/e.png", 200), ("images/e.png",)),
    Case("half a labeled image", lambda root: _cut(root, "images/a.png", 200), ("images/a.png",)),
    Case("no image of that name", lambda root: (root / "images" / "b.png").unlink(),
         ("masks/b.png has no image of the same name",)),
    Case("two images of a name",
         lambda root: shutil.copy(root / "images/b.png", root / "images/b.jpg"),
         ("images/b.jpg and images/b.png differ by suffix alone",)),
    Case("two masks of a name",
         lambda root: shutil.copy(root / "masks/b.png", root / "masks/b.tif"),
         ("masks/b.png and masks/b.tif differ by suffix alone",)),
    Case("no folder of masks", lambda root: shutil.rmtree(root / "masks"), ("masks/",)),
    Case("no mask", _empty_masks, ("masks/",)),
    Case("no image", lambda root: shutil.rmtree(root / "images"), ("images/",)),
    Case("a link out", lambda root: (root / "masks" / "e.png").symlink_to("/etc/hostname"),
         ("masks/e.png leaves the data folder",)),
    Case("masks as a file", lambda root: (shutil.rmtree(root / "masks"),
                                          (root / "masks").write_bytes(b"x")), ("masks",)),
    Case("values with gaps", _without_list(None),
         ("hold the values 0, 1, 7 and none between", "classes.txt")),
    Case("one value", _without_list(0), ("hold nothing but the value 0", "classes.txt")),
    Case("nothing but void", _without_list(255), ("hold nothing but pixels left out",)),
    Case("a class twice", _classes("ground\nred\nred\n"),
         ("classes.txt has the name red on the lines 2 and 3",)),
    Case("a class twice in other letters", _classes("ground\ne\u0301\n\u00e9\n"),
         ("on the lines 2 and 3",)),
    Case("too few classes", _classes("ground\nred\n"),
         ("classes.txt names 2 classes but masks hold the value 2",)),
    Case("one class", _classes("ground\n"), ("classes.txt names one class only (ground)",)),
    Case("void and one class", _classes("void\nground\n"), ("names one class only (ground)",)),
    Case("no class", _classes("\n# none\n"), ("classes.txt names no class",)),
    Case("an empty list", _classes(""), ("classes.txt names no class",)),
    Case("too many classes", _classes(_MANY), ("names 300 classes, more than 255: merge some",)),
    Case("a colour twice", _classes("ground 1 2 3\nred 1 2 3\ngreen 3 4 5\n"),
         ("the colour (1, 2, 3)",)),
    Case("a colour above 255", _classes("ground 0 0 256\nred\ngreen\n"),
         ("line 1: a colour is three numbers from 0 to 255",)),
    Case("a colour without a name", _classes(", 0 0 0\nred\ngreen\n"),
         ("line 1: there is no name before the colour",)),
    Case("latin-1", _classes("gr\u00fcn\nred\ngreen\n".encode("latin-1")),
         ("classes.txt is not UTF-8 text: save it as UTF-8",)),
    Case("UTF-16", _classes("ground\nred\ngreen\n".encode("utf-16")), ("is not UTF-8 text",)),
    Case("a class in no mask", _classes("ground\nred\ngreen\nblue\n"),
         ("class 'blue' is in none of the masks", "allow_unlabeled_classes=true")),
)  # fmt: skip


_TOLD_BY_CHECK = {"half an image", "half a labeled image", "a class in no mask"}


@pytest.mark.parametrize("case", REFUSED, ids=named)
def test_it_is_refused(case: Case, scenes: Path, here: Path) -> None:
    """By train and, with the same sentence, by check, unless that lists it as a problem."""
    case.spoil(scenes)
    sentence = refused_untouched("train", [scenes, *WORDS, "out=run"], *case.parts, beside=scenes)
    if case.name not in _TOLD_BY_CHECK:
        assert refused("check", [scenes]) == sentence


def test_spoilt_image_can_be_skipped(scenes: Path, here: Path) -> None:
    _cut(scenes, "images/e.png", 200)
    outcome = call("train", scenes, *WORDS, "bad_images=skip", "out=run")
    assert outcome.code == 0, outcome.err
    assert "left out 1 unreadable image: images/e.png" in outcome.err
    assert json.loads((here / "run" / "summary.json").read_text())["unlabeled"] == 1


def test_class_never_labeled_is_marked(scenes: Path, here: Path) -> None:
    (scenes / "classes.txt").write_text("ground\nred\ngreen\nblue\n")
    words = [scenes, *WORDS, "allow_unlabeled_classes=true", "out=run"]
    assert call("train", *words).code == 0
    summary = json.loads((here / "run" / "summary.json").read_text())
    assert summary["unlabeled_classes"] == ["blue"]
    report = (here / "run" / "report.html").read_text()
    assert "blue *" in report or "blue*" in report
    assert "Not one labeled pixel (allow_unlabeled_classes=true)" in report
    found = call("check", scenes, "--json").value["problems"]
    assert any(each["kind"] == "never-labeled" and "'blue'" in each["message"] for each in found)


def test_held_out_masks_that_say_nothing(here: Path, tmp_path: Path) -> None:
    root = write_image_masks(tmp_path / "set", 4, 1, num_test=2, size=SIZE)
    for path in (root / "test" / "masks").iterdir():
        save_index(path, np.full_like(pixels_of(path), 255))
    words = [root, *WORDS]
    refused_untouched("train", words, "the held-out masks hold no labeled pixel", beside=root)


def test_evaluation_names_a_mask_that_cannot_be_used(scene_run: Path, tmp_path: Path) -> None:
    root = write_image_masks(tmp_path / "set", 2, size=SIZE)
    (root / "masks" / "0001.png").write_bytes(b"")
    before = tree(root)
    refused("evaluate", [scene_run, root], "masks/0001.png", "is empty (0 bytes)")
    assert tree(root) == before
