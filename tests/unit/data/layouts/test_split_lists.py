"""Tests of `labeled.txt` and its siblings: how lines are read, what is told and refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmt.data.catalog import Part
from dmt.data.layouts import open_catalog
from dmt.data.masks import read_mask
from dmt.errors import DataError
from trees import save_image, save_index, scene


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six photos a0 … a5, with masks, and one of each with a blank in its name."""
    folder = tmp_path / "data"
    for name in [f"a{index}" for index in range(6)] + ["with blank", "it's"]:
        image, mask = scene(len(name), (8, 8), 3)
        save_image(folder / "pics" / f"{name}.png", image)
        save_index(folder / "truth" / f"{name}.png", mask)
    (folder / "classes.txt").write_text("ground\nred\ngreen\n")
    return folder


def write(root: Path, **lists: str) -> Path:
    for name, text in lists.items():
        (root / f"{name}.txt").write_text(text)
    return root


def test_all_four_lists(root: Path) -> None:
    write(
        root,
        labeled="# mine\n\n  pics/a0.png   truth/a0.png \r\n/pics/a1.png /truth/a1.png\n",
        unlabeled="pics/a2.png\npics/a3.png truth/a3.png\npics/a0.png\n",
        val="pics/a4.png truth/a4.png",
        test="./pics/a5.png truth//a5.png\n",
    )
    catalog = open_catalog(root)
    assert (catalog.layout, catalog.name) == ("split-lists", "data")
    assert catalog.paths == tuple(f"pics/a{index}.png" for index in range(6))
    assert catalog.labels.tolist() == [0, 0, -1, -1, 0, 0]
    assert catalog.parts.tolist() == [Part.TRAIN] * 4 + [Part.VAL, Part.TEST]
    assert catalog.masks is not None
    assert catalog.masks.paths[0] == "truth/a0.png"
    assert catalog.masks.paths[3] == ""
    assert [(p.kind, p.path) for p in catalog.problems] == [
        ("listed-twice", "unlabeled.txt"), ("ignored-files", "unlabeled.txt"),
    ]  # fmt: skip
    assert read_mask(catalog, 0).shape == (8, 8)


@pytest.mark.parametrize(
    "line",
    [
        '"pics/with blank.png" "truth/with blank.png"',
        "'pics/with blank.png' 'truth/with blank.png'",
        "pics/with blank.png\ttruth/with blank.png",
        "pics/it's.png truth/it's.png",
    ],
)
def test_names_with_blanks_and_quotes(root: Path, line: str) -> None:
    catalog = open_catalog(write(root, labeled=line + "\n"))
    assert catalog.masks is not None
    assert catalog.masks.paths[0] == catalog.paths[0].replace("pics", "truth")
    assert [problem.kind for problem in catalog.problems] == ["no-unlabeled"]


@pytest.mark.parametrize(
    ("lists", "match"),
    [
        ({"labeled": ""}, "holds no image"),
        ({"labeled": "", "unlabeled": "pics/a1.png"}, "write lines 'image mask' into labeled.txt"),
        ({"labeled": "pics/a0.png truth/a0.png\npics/a9.png truth/a1.png"},
         r"labeled.txt, line 2: there is no file pics/a9.png"),
        ({"labeled": "pics/a0.png truth/a9.png"}, "line 1: there is no file truth/a9.png"),
        ({"labeled": "pics\\a0.png truth/a0.png"}, r"write / instead of \\"),
        ({"labeled": "#\npics/a0.png"}, "line 2: pics/a0.png comes without a mask"),
        ({"labeled": "pics/with blank.png truth/with blank.png"}, "line 1: 4 paths instead of"),
        ({"labeled": "../a.png truth/a0.png"}, "line 1: ../a.png is no file in the data folder"),
        ({"labeled": "pics/a0.png truth/a0.png\npics/a0.png truth/a0.png"},
         "line 2: pics/a0.png is already on line 1 of labeled.txt"),
        ({"labeled": "pics/a0.png truth/a0.png", "val": "pics/a0.png truth/a0.png"},
         "val.txt, line 1: pics/a0.png is already on line 1 of labeled.txt"),
        ({"labeled": "pics/a0.png truth/a0.png", "val": "pics/a1.png truth/a1.png",
          "unlabeled": "pics/a1.png"}, "unlabeled.txt, line 1: .* on line 1 of val.txt"),
    ],
)  # fmt: skip
def test_lines_that_cannot_be_used(root: Path, lists: dict[str, str], match: str) -> None:
    with pytest.raises(DataError, match=match) as caught:
        open_catalog(write(root, **lists))
    assert "\n" not in str(caught.value)


def test_a_link_out_of_the_data_folder_is_refused(root: Path, tmp_path: Path) -> None:
    save_image(tmp_path / "secret.png", scene(0, (8, 8))[0])
    (root / "pics" / "link.png").symlink_to(tmp_path / "secret.png")
    write(root, labeled="pics/a0.png truth/a0.png\npics/link.png truth/a1.png\n")
    with pytest.raises(DataError, match=r"line 2: the link .*/pics/link.png leaves"):
        open_catalog(root)


def test_a_list_that_is_no_text(root: Path) -> None:
    (root / "labeled.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not UTF-8"):
        open_catalog(root)
