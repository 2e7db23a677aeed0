"""Lists of files that cannot be used: `labeled.txt` and its like, VOC's, `data.labeled_list`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from spoiling import named, refused_untouched

from commands import call, refused
from tiny_scenes import SIZE, WORDS, words_with
from trees import write_voc

_A, _B = "images/a.png masks/a.png\n", "images/b.png masks/b.png\n"


class Case(NamedTuple):
    """What the lists hold, by name without suffix, and what the sentence then holds."""

    name: str
    lists: dict[str, str | bytes]
    parts: tuple[str, ...]


CASES = (
    Case("no such image", {"labeled": _A + "images/x.png masks/a.png\n"},
         ("labeled.txt, line 2: there is no file images/x.png",)),
    Case("no such mask", {"labeled": "images/a.png masks/x.png\n"},
         ("line 1: there is no file masks/x.png",)),
    Case("no mask", {"labeled": "images/a.png\n"},
         ("line 1: images/a.png comes without a mask", "move the line to unlabeled.txt")),
    Case("three paths", {"labeled": "images/a.png masks/a.png masks/b.png\n"},
         ("line 1: 3 paths instead of an image and its mask",)),
    Case("blanks without quotes", {"labeled": "my images/a.png my masks/a.png\n"},
         ("line 1: 4 paths", "quote paths that hold blanks")),
    Case("twice", {"labeled": _A + _B + _A}, ("line 3: images/a.png is already on line 1",)),
    Case("train and val", {"labeled": _A + _B, "val": _B},
         ("val.txt, line 1: images/b.png is already on line 2 of labeled.txt",)),
    Case("above the folder", {"labeled": "../x.png masks/a.png\n"},
         ("line 1: ../x.png is no file in the data folder",)),
    Case("above by detours", {"labeled": "images/../../x.png masks/a.png\n"},
         ("is no file in the data folder",)),
    Case("absolute", {"labeled": "/etc/passwd masks/a.png\n"},
         ("there is no file etc/passwd",)),
    Case("backslashes", {"labeled": "images\\a.png masks\\a.png\n"}, ("write / instead of \\",)),
    Case("a folder", {"labeled": "images masks\n"}, ("there is no file images",)),
    Case("a zero byte", {"labeled": "a\0b.png masks/a.png\n"}, ("is no file in the data folder",)),
    Case("a terminal's code", {"labeled": "\x1b[31m masks/a.png\n"}, ("'\\x1b[31m'",)),
    Case("nothing", {"labeled": ""}, ("holds no image",)),
    Case("comments alone", {"labeled": "# images/a.png masks/a.png\n"}, ("holds no image",)),
    Case("unlabeled alone", {"labeled": "", "unlabeled": "images/a.png\n"},
         ("no image to train on", "write lines 'image mask' into labeled.txt")),
    Case("val alone", {"labeled": "", "val": _A}, ("no image to train on",)),
    Case("latin-1", {"labeled": b"images/\xfc.png masks/a.png\n"}, ("labeled.txt is not UTF-8",)),
    Case("UTF-16", {"labeled": _A.encode("utf-16")}, ("labeled.txt is not UTF-8 text",)),
    Case("a mask for an image", {"labeled": "masks/a.png images/a.png\n"}, ("images/a.png",)),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=named)
def test_a_list_is_refused(case: Case, scenes: Path, here: Path) -> None:
    for name, content in case.lists.items():
        held = content if isinstance(content, bytes) else content.encode()
        (scenes / f"{name}.txt").write_bytes(held)
    words = [scenes, *WORDS, "out=run"]
    sentence = refused_untouched("train", words, *case.parts, beside=scenes)
    assert refused("check", [scenes]) == sentence


def test_lists_of_many_sorts_are_read(scenes: Path) -> None:
    lines = "\ufeff# ours\r\n\r\n  images/a.png\tmasks/a.png  \r\n"
    lines += "\"images/b.png\" 'masks/b.png'\r\n"
    (scenes / "labeled.txt").write_bytes(lines.encode())
    (scenes / "unlabeled.txt").write_text("/images/e.png\n./images/f.png\nimages/a.png")
    found = call("check", scenes, "--json").value
    assert (found["layout"], found["labeled"], found["unlabeled"]) == ("split-lists", 2, 2)


class VocCase(NamedTuple):
    """What one of VOC's lists holds at its end, and what the sentence then holds."""

    name: str
    file: str
    content: str
    parts: tuple[str, ...]


VOC = (
    VocCase("no such image", "trainaug", "2008_000001\n", ("trainaug.txt", "2008_000001")),
    VocCase("train and val", "trainaug", "2007_000005\n",
            ("trainaug.txt and val.txt both name", "results would rest on images that were")),
    VocCase("no such val image", "val", "2009_000001\n", ("val.txt", "2009_000001")),
    VocCase("no such mask", "trainaug",
            "/JPEGImages/2007_000001.jpg /SegmentationClassAug/absent.png\n",
            ("there is no file SegmentationClassAug/absent.png",)),
    VocCase("three words", "trainaug", "2007_000001 1 -1\n", ("3 paths instead of an image",)),
    VocCase("above the folder", "trainaug", "../../x.jpg\n", ("is no file in the data folder",)),
)  # fmt: skip


@pytest.mark.parametrize("case", VOC, ids=named)
def test_a_list_of_voc_is_refused(case: VocCase, here: Path, tmp_path: Path) -> None:
    root = write_voc(tmp_path / "voc", 3, 2, 1, size=SIZE)
    with (root / "ImageSets" / "Segmentation" / f"{case.file}.txt").open("a") as names:
        names.write(case.content)
    words = [root, "recipe=voc-1464", "weights=none", "peers.a.weights=none", *WORDS, "out=run"]
    refused_untouched("train", words, *case.parts, beside=root)


class ListCase(NamedTuple):
    """What is given as `data.labeled_list`, and what the sentence then holds."""

    name: str
    make: Callable[[Path], object]
    parts: tuple[str, ...]


LABELED_LISTS = (
    ListCase("absent", lambda path: None, ("labeled_list", "mine.txt")),
    ListCase("empty", lambda path: path.write_bytes(b""), ("data.labeled_list",)),
    ListCase("a folder", lambda path: path.mkdir(), ("mine.txt",)),
    ListCase("no such image", lambda path: path.write_text("images/zzz\n"), ("zzz",)),
    ListCase("no text", lambda path: path.write_bytes(b"\xff\xfe\x00"), ("mine.txt", "UTF-8")),
)  # fmt: skip


@pytest.mark.parametrize("case", LABELED_LISTS, ids=named)
def test_a_labeled_list_is_refused(
    case: ListCase, scenes: Path, here: Path, tmp_path: Path
) -> None:
    case.make(tmp_path / "mine.txt")
    words = [scenes, *words_with(f"data.labeled_list={tmp_path / 'mine.txt'}"), "out=run"]
    refused_untouched("train", words, *case.parts, beside=scenes)
