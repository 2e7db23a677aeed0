"""Tests of mask files: every encoding, EXIF on either side, sizes, wrong values, the scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dmt.data.catalog import Catalog, MaskFiles
from dmt.data.decode import decode
from dmt.data.headers import Header, read_header
from dmt.data.layouts import open_catalog
from dmt.data.layouts.mask_coding import find_coding
from dmt.data.mask_files import Coding, decode_mask
from dmt.data.masks import mask_reader, orientation_problems, read_mask, scan_masks
from dmt.errors import DataError
from trees import palette, save_image, save_index, scene, write_image_masks

ORIENTATION = 0x0112
MASK = np.array([[0, 1, 2, 2], [255, 0, 1, 1], [2, 2, 0, 255]], dtype=np.uint8)
COLORS = ((0, 0, 0), (128, 64, 128), (0, 0, 255))


def exif(orientation: int) -> Image.Exif:
    data = Image.Exif()
    data[ORIENTATION] = orientation
    return data


def header(height: int, width: int) -> Header:
    return Header(height, width, height, width, 1)


def decoded(path: Path, coding: Coding) -> NDArray[np.uint8]:
    classes, wrong, counts = decode_mask(path, coding, header(*MASK.shape))
    assert wrong == frozenset()
    assert counts.tolist() == np.bincount(classes.ravel(), minlength=256).tolist()
    assert classes.dtype == np.uint8
    return classes


def write(path: Path, kind: str) -> Path:
    """`MASK` in one of the encodings that need no table."""
    image = Image.fromarray(MASK)
    if kind == "palette":
        image.putpalette(palette())
    elif kind == "16 bit":
        image = Image.fromarray(np.where(MASK == 255, 65535, MASK).astype(np.uint16))
    elif kind == "32 bit":
        image = Image.fromarray(MASK.astype(np.int32))
    elif kind == "grey as RGB":
        image = image.convert("RGB")
    elif kind == "grey and alpha":
        image = Image.merge("LA", [image, Image.new("L", image.size, 7)])
    image.save(path)
    return path


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("index", "m.png"), ("index", "m.bmp"), ("index", "m.tif"), ("index", "m.pgm"),
        ("palette", "m.png"), ("palette", "m.tif"),
        ("16 bit", "m.png"), ("16 bit", "m.tif"), ("32 bit", "m.tif"),
        ("grey as RGB", "m.png"), ("grey and alpha", "m.png"),
    ],
)  # fmt: skip
def test_index_masks_of_every_kind(tmp_path: Path, kind: str, name: str) -> None:
    path = write(tmp_path / name, kind)
    np.testing.assert_array_equal(decoded(path, Coding(3)), MASK)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_png_of_few_bits_holds_what_was_stored(tmp_path: Path, bits: int) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        sum_ = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", sum_)

    stored = [0, 1, 1, 0] if bits == 1 else [0, 1, 2, 3]
    row = sum(value << (8 * max(1, bits // 2) - bits * (i + 1)) for i, value in enumerate(stored))
    content = b"\x89PNG\r\n\x1a\n"
    content += chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, bits, 0, 0, 0, 0))
    content += chunk(b"IDAT", zlib.compress(b"\0" + row.to_bytes(max(1, bits // 2), "big")))
    (tmp_path / "m.png").write_bytes(content + chunk(b"IEND", b""))
    classes, wrong, _ = decode_mask(tmp_path / "m.png", Coding(4), header(1, 4))
    assert classes.tolist() == [stored]
    assert not wrong


def test_values_are_mapped_and_255_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "m.png", "index")
    expected = np.choose(np.minimum(MASK, 3), [255, 0, 1, 255]).astype(np.uint8)
    np.testing.assert_array_equal(decoded(path, Coding(2, values=(255, 0, 1))), expected)


def test_colour_masks(tmp_path: Path) -> None:
    colored = np.array([*COLORS, (224, 224, 192)], dtype=np.uint8)[np.minimum(MASK, 3)]
    coding = Coding(3, colors=COLORS, void_colors=((224, 224, 192),))
    alpha = np.full((*MASK.shape, 1), 255, dtype=np.uint8)
    for name, array in (("a.png", colored), ("b.png", np.concatenate([colored, alpha], 2))):
        Image.fromarray(array).save(tmp_path / name)
        np.testing.assert_array_equal(decoded(tmp_path / name, coding), MASK)
    # With the same coding, a file of indices stays one.
    np.testing.assert_array_equal(decoded(write(tmp_path / "c.png", "palette"), coding), MASK)


def test_unknown_colours_are_named(tmp_path: Path) -> None:
    colored = np.array([*COLORS, (1, 2, 3)], dtype=np.uint8)[np.minimum(MASK, 3)]
    Image.fromarray(colored).save(tmp_path / "m.png")
    classes, wrong, _ = decode_mask(tmp_path / "m.png", Coding(3, colors=COLORS), header(3, 4))
    assert wrong == {(1, 2, 3)}
    np.testing.assert_array_equal(classes, MASK)


@pytest.mark.parametrize(
    ("name", "array", "match"),
    [
        ("m.jpg", MASK, "is a JPEG file, a format that may alter"),
        ("m.webp", np.repeat(MASK[..., None], 3, 2), "is a WEBP file"),
        ("m.gif", MASK, "is a GIF file"),
        ("m.tif", MASK.astype(np.float32), "floating-point"),
        ("m.png", np.arange(36, dtype=np.uint8).reshape(3, 4, 3), "is a colour picture"),
    ],
)
def test_masks_that_cannot_be_exact(
    tmp_path: Path, name: str, array: NDArray[np.uint8], match: str
) -> None:
    Image.fromarray(array).save(tmp_path / name)
    with pytest.raises(DataError, match=match):
        decode_mask(tmp_path / name, Coding(3), header(3, 4))


@pytest.mark.parametrize("deep", [False, True])
def test_all_wrong_values_of_a_mask_are_found(tmp_path: Path, deep: bool) -> None:
    values = MASK.astype(np.uint16)
    values[0] = [7, 300 if deep else 9, 7, 3]
    Image.fromarray(values if deep else values.astype(np.uint8)).save(tmp_path / "m.png")
    classes, wrong, _ = decode_mask(tmp_path / "m.png", Coding(3), header(3, 4))
    assert wrong == {(3,), (7,), (300 if deep else 9,)}
    assert classes[0].tolist() == [255] * 4
    np.testing.assert_array_equal(classes[1:], MASK[1:])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_the_header_tells_the_size_that_decode_gives(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    path = tmp_path / f"photo{suffix}"
    Image.new("RGB", (30, 20)).save(path, exif=exif(orientation))
    found = read_header(path)
    assert decode(path).shape[:2] == (found.height, found.width)
    assert found[2:] == (20, 30, orientation)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_follows_its_photo(tmp_path: Path, orientation: int) -> None:
    """By its own EXIF data, drawn on the upright photo, or drawn on the stored pixels."""
    image, mask = scene(3, (20, 30))
    save_image(tmp_path / "images" / "1.png", image)
    Image.fromarray(image).save(tmp_path / "images" / "1.png", exif=exif(orientation))
    upright = decode(tmp_path / "images" / "1.png")
    stored, turned = Image.fromarray(mask), Image.fromarray(np.stack([mask] * 3, 2))
    turned.save(tmp_path / "turned.png", exif=exif(orientation))
    expected = decode(tmp_path / "turned.png")[..., 0]
    photo = read_header(tmp_path / "images" / "1.png")
    assert expected.shape == upright.shape[:2]
    stored.save(tmp_path / "own.png", exif=exif(orientation))
    save_index(tmp_path / "upright.png", expected)
    for name in ("own", "upright"):
        classes, _, _ = decode_mask(tmp_path / f"{name}.png", Coding(5), photo)
        np.testing.assert_array_equal(classes, expected, err_msg=name)
    stored.save(tmp_path / "stored.png")
    classes, _, _ = decode_mask(tmp_path / "stored.png", Coding(5), photo)
    # The size tells only where a side became the other.
    np.testing.assert_array_equal(classes, expected if orientation >= 5 else mask)


def test_masks_whose_turn_no_size_tells_are_told(tmp_path: Path) -> None:
    write_image_masks(tmp_path, 4)
    for name, orientation, own in (("0000", 3, 1), ("0001", 6, 1), ("0002", 3, 3)):
        path, mask = tmp_path / "images" / f"{name}.jpg", tmp_path / "masks" / f"{name}.png"
        Image.open(path).save(path, exif=exif(orientation))
        Image.open(mask).save(mask, exif=exif(own))
    problems = orientation_problems(open_catalog(tmp_path), workers=2)
    assert [(p.kind, p.path) for p in problems] == [("ambiguous-orientation", "images/0000.jpg")]


def test_read_and_bring_down(tmp_path: Path) -> None:
    catalog = open_catalog(write_image_masks(tmp_path, 3, size=(48, 64)))
    mask = read_mask(catalog, 2)
    np.testing.assert_array_equal(mask, scene(2, (50, 64), 3)[1])
    small = mask_reader(catalog, 32)(2)
    assert (small.shape, small.dtype) == ((25, 32), np.uint8)
    np.testing.assert_array_equal(small, mask[1::2, 1::2])
    np.testing.assert_array_equal(mask_reader(catalog, None)(2), mask)
    np.testing.assert_array_equal(mask_reader(catalog, 64)(2), mask)


@pytest.mark.parametrize("workers", [0, 3])
def test_the_scan_counts_every_mask_it_is_asked_for(tmp_path: Path, workers: int) -> None:
    catalog = open_catalog(write_image_masks(tmp_path, 20, 3))
    told: list[tuple[int, int]] = []
    rows = [row for row in range(23) if row != 4]
    found = scan_masks(catalog, rows, workers, lambda done, num: told.append((done, num)))
    assert found.pixels.shape == (23, 3)
    assert told[-1] == (20 - 1, 20 - 1)
    for row in range(23):
        used = row < 20 and row != 4
        counts = np.bincount(read_mask(catalog, row).ravel(), minlength=256) if used else [0] * 256
        assert found.pixels[row].tolist() == list(counts[:3])
        assert found.ignored[row] == counts[255]


def test_masks_in_memory_are_read_and_scanned() -> None:
    arrays = np.stack([MASK, MASK])
    catalog = Catalog(
        name="x", layout="shapes", root=None, classes=("a", "b", "c"), paths=("0", "1"),
        labels=np.zeros(2, dtype=np.int64), parts=np.zeros(2, dtype=np.uint8),
        images=np.zeros((2, 3, 4, 3), dtype=np.uint8), problems=(),
        masks=MaskFiles(("", ""), Coding(3), arrays),
    )  # fmt: skip
    np.testing.assert_array_equal(read_mask(catalog, 1), MASK)
    found = scan_masks(catalog, [0], 0)
    assert found.pixels.tolist() == [[3, 3, 4], [0, 0, 0]]
    assert found.ignored.tolist() == [2, 0]
    assert orientation_problems(catalog, 0) == []


def test_wrong_values_of_the_whole_set_are_named_with_three_files(tmp_path: Path) -> None:
    write_image_masks(tmp_path, 8)
    for number in range(1, 6):
        mask = np.array(Image.open(tmp_path / "masks" / f"{number:04d}.png"))
        mask[0, :2] = 3 + number, 40
        save_index(tmp_path / "masks" / f"{number:04d}.png", mask)
    catalog = open_catalog(tmp_path)
    with pytest.raises(DataError) as caught:
        scan_masks(catalog, range(8), 2)
    assert str(caught.value) == (
        "classes.txt names 3 classes but masks hold the values 4, 5, 6, 7, 8, 40, for example in "
        "masks/0001.png, masks/0002.png, masks/0003.png and 2 more: name all classes there, or "
        "mend the masks (255 marks pixels to leave out)"
    )
    with pytest.raises(DataError, match=r"the values 4, 40, for example in masks/0001.png:"):
        read_mask(catalog, 1)
    assert scan_masks(catalog, [0, 6, 7], 2).pixels.sum() > 0


def test_sizes_that_differ_are_named(tmp_path: Path) -> None:
    catalog = open_catalog(write_image_masks(tmp_path, 6))
    for number in range(1, 6):
        save_index(tmp_path / "masks" / f"{number:04d}.png", MASK % 3)
    with pytest.raises(DataError, match=r"masks/0001.png \(4×3 instead of 63×49\).* and 2 more$"):
        scan_masks(catalog, range(6), 2)
    with pytest.raises(DataError, match=r"0001.png is 4×3 pixels .* its image 63×49"):
        read_mask(catalog, 1)


def test_unreadable_masks_are_named(tmp_path: Path) -> None:
    catalog = open_catalog(write_image_masks(tmp_path, 6))
    content = (tmp_path / "masks" / "0002.png").read_bytes()
    (tmp_path / "masks" / "0002.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "masks" / "0003.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"0002.png is truncated .*; 1 more mask or its image"):
        scan_masks(catalog, range(6), 2)


def grey_set(root: Path, *masks: list[int]) -> list[str]:
    for number, values in enumerate(masks):
        save_index(root / f"{number}.png", np.array([values], dtype=np.uint8))
    return [f"{number}.png" for number in range(len(masks))]


def test_black_and_white_masks_are_two_classes(tmp_path: Path) -> None:
    masks = grey_set(tmp_path, [0, 0, 255], [0, 0, 0])
    classes, coding, problems = find_coding(tmp_path, masks)
    assert classes == ("background", "foreground")
    assert [problem.kind for problem in problems] == ["no-class-names"]
    assert decode_mask(tmp_path / "0.png", coding, header(1, 3)).classes.tolist() == [[0, 0, 1]]
    (tmp_path / "classes.txt").write_text("wall\ncrack\n")
    classes, named, problems = find_coding(tmp_path, masks)
    assert (classes, problems) == (("wall", "crack"), [])
    assert named.values == coding.values
    grey = np.array([[7]], dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "0.png")
    assert decode_mask(tmp_path / "0.png", named, header(1, 1)).wrong == {(7,)}


def test_255_is_left_out_where_any_mask_of_the_set_holds_more(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("wall\ncrack\n")
    _, coding, _ = find_coding(tmp_path, grey_set(tmp_path, *[[0, 255]] * 40, [0, 1]))
    assert coding.values is None
    (tmp_path / "classes.txt").write_text("wall\ncrack\nrust\n")
    _, coding, _ = find_coding(tmp_path, grey_set(tmp_path, [0, 255]))
    assert coding.values is None


def test_without_names_values_are_the_classes(tmp_path: Path) -> None:
    masks = grey_set(tmp_path, [0, 1, 255], [0, 2, 1])
    classes, coding, problems = find_coding(tmp_path, masks)
    assert classes == ("0", "1", "2")
    assert coding == Coding(3)
    assert "values 0 to 2 are taken" in problems[0].message


def test_without_names_values_with_gaps_are_refused(tmp_path: Path) -> None:
    masks = grey_set(tmp_path, [0, 128], [128, 0])
    with pytest.raises(
        DataError, match="hold the values 0, 128 and none between: name the classes"
    ):
        find_coding(tmp_path, masks)


@pytest.mark.parametrize(
    ("value", "match"), [(0, "nothing but the value 0"), (300, "hold the value 300")]
)
def test_values_that_cannot_be_classes(tmp_path: Path, value: int, match: str) -> None:
    Image.fromarray(np.array([[0, value]], dtype=np.uint16)).save(tmp_path / "m.png")
    with pytest.raises(DataError, match=match):
        find_coding(tmp_path, ["m.png"])
