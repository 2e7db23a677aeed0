"""Tests of the CSV layout: what a line means, and every way in which one can be wrong."""

from pathlib import Path

import pytest

from dmt.data.catalog import Part
from dmt.data.layouts import open_catalog
from dmt.errors import DataError

GOOD = "a.jpg,cat\nb.jpg,dog\n"


def write(root: Path, text: str | bytes, *names: str) -> Path:
    """A CSV beside empty image files; listing opens no image."""
    for name in ("a.jpg", "b.jpg", "c.jpg", *names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    path = root / "list.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_labels_splits_and_unlabeled(tmp_path: Path) -> None:
    names = ["d/1.jpg", "d/2.jpg", "d/3.jpg"]
    text = (
        "path,label,split\nc.jpg,,\na.jpg,10,train\nb.jpg, 9 ,\nd/1.jpg,9,val\n./d//2.jpg,10,TEST\n"
    )
    catalog = open_catalog(write(tmp_path, text, *names))
    assert (catalog.name, catalog.layout, catalog.root) == ("list", "csv", tmp_path)
    assert catalog.classes == ("9", "10")
    assert catalog.paths == ("a.jpg", "b.jpg", "c.jpg", "d/1.jpg", "d/2.jpg")
    assert catalog.labels.tolist() == [1, 0, -1, 0, 1]
    assert catalog.parts.tolist() == [Part.TRAIN, Part.TRAIN, Part.TRAIN, Part.VAL, Part.TEST]
    assert catalog.problems == ()


def test_strange_names_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    strange = 'it\'s "ü",\n日.jpg'
    quoted = '"' + strange.replace('"', '""') + '"'
    text = f"\ufeffPath,Label\r\n{quoted},cat\r\n\r\nb.jpg,dog\r\n"
    catalog = open_catalog(write(tmp_path, text, strange))
    assert set(catalog.paths) == {strange, "b.jpg"}
    assert [problem.kind for problem in catalog.problems] == ["no-unlabeled"]


def test_an_image_may_have_any_suffix(tmp_path: Path) -> None:
    catalog = open_catalog(write(tmp_path, "path,label\na.jpg,x\nphoto,y\n", "photo"))
    assert catalog.paths == ("a.jpg", "photo")


def test_labels_are_compared_after_normalisation(tmp_path: Path) -> None:
    text = "path,label\na.jpg,\u00e9\nb.jpg,e\u0301\nc.jpg,z\n"
    assert open_catalog(write(tmp_path, text)).classes == ("z", "\u00e9")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "starts with nothing"),
        ("file,class\na.jpg,x\n", "starts with file,class: its first line must be path,label"),
        ("path;label\na.jpg;x\n", "starts with path;label"),
        ("a.jpg,cat\n", "first line must be"),
        ("path,label\n", "lists no image"),
        ("path,label\na.jpg,\n", "labels no train image"),
        ("path,label\na.jpg,x\n", r"one class only \(x\)"),
        ("path,label\na.jpg,caf\xe9\n".encode("latin1"), "not UTF-8 text"),
        ("path,label\na.jpg,x\n".encode("utf-16"), "not UTF-8 text"),
        ("path,label\n" + GOOD + "gone.jpg,cat\n", "line 4: there is no file gone.jpg"),
        ("path,label\n" + GOOD + "sub,cat\n", "line 4: there is no file sub"),
        ("path,label\n" + GOOD + "sub\\d.jpg,cat\n", "line 4: .*: write / instead of"),
        ("path,label\n" + GOOD + "../list.csv,cat\n", "line 4: ../list.csv leaves"),
        ("path,label\n" + GOOD + "sub/../../x.jpg,cat\n", "line 4: .* leaves the CSV's folder"),
        ("path,label\n" + GOOD + "/etc/hostname,cat\n", "line 4: /etc/hostname leaves"),
        ("path,label\n" + GOOD + ",cat\n", "line 4: the path is empty"),
        ("path,label\n" + GOOD + "a\0.jpg,cat\n", "line 4: "),
        ("path,label\n" + GOOD + "a.jpg,dog\n", "line 4: a.jpg is already on line 2"),
        ("path,label\n" + GOOD + "sub/../a.jpg,dog\n", "line 4: a.jpg is already on line 2"),
        ("path,label\n" + GOOD + "c.jpg\n", "line 4: 1 columns instead of 2"),
        ("path,label\n" + GOOD + "c.jpg,cat,train\n", "line 4: 3 columns instead of 2"),
        ('path,label\n' + GOOD + '"c.jpg,cat\n', "line 4: not a line of a CSV"),
        ("path,label,split\na.jpg,x,\nb.jpg,y,valid\n", "line 3: the split valid is not one of"),
        ("path,label,split\na.jpg,x,\nb.jpg,y,\nc.jpg,,test\n", "line 4: a test image needs a la"),
        ("path,label,split\na.jpg,x,\nb.jpg,y,\nc.jpg,z,val\n", "line 4: no train image .* z:"),
        ("path,label\n\n\"gone\n1.jpg\",x\ngone2.jpg,y\na.jpg,y,z\n",
         r"line 3: there is no file 'gone\\n1.jpg'.*\(2 more lines have faults\)"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(
    tmp_path: Path, text: str | bytes, match: str
) -> None:
    with pytest.raises(DataError, match=match) as caught:
        open_catalog(write(tmp_path, text, "sub/d.jpg"))
    assert str(tmp_path / "list.csv") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("linked", ["x.jpg", "folder"])
def test_links_that_leave_the_folder_are_refused(tmp_path: Path, linked: str) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "x.jpg").touch()
    root = tmp_path / "data"
    path = write(
        root, "path,label\na.jpg,x\nb.jpg,y\n" + f"{linked},y\n".replace("er,", "er/x.jpg,")
    )
    target = tmp_path / "secret" / ("x.jpg" if linked == "x.jpg" else "")
    (root / linked).symlink_to(target)
    with pytest.raises(DataError, match=r"line 4: the link .* leaves the data folder"):
        open_catalog(path)


def test_links_within_the_folder_are_followed(tmp_path: Path) -> None:
    path = write(tmp_path, "path,label\na.jpg,x\nlink.jpg,y\n")
    (tmp_path / "link.jpg").symlink_to("b.jpg")
    assert open_catalog(path).paths == ("a.jpg", "link.jpg")
