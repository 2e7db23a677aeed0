"""Tables, lists and class lists of any content: a catalog, or a sentence that names the file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from many import hold, some_and_many, tried
from PIL import Image

from dmt.data.layouts.class_names import read_class_list
from dmt.data.layouts.split_lists import read_split_lists
from dmt.data.layouts.table import read_table

_PATHS = ("a.png", "b.png", "c/d.png", "c d.png", "ü.png")
_CELLS = st.one_of(
    st.sampled_from(
        [*_PATHS, *(f"./{path}" for path in _PATHS), "c/../a.png", "../a.png", "/a.png"]
    ),
    st.sampled_from(
        ["", " ", "path", "label", "split", "train", "val", "test", "void", "#", "1", "2"]
    ),
    st.sampled_from(["cat", "dog", "0 0 0", "#102030", "256 1 1", "\ufeff", "\0", "\x1b", "C:\\x"]),
    st.text(max_size=12),
)
_ROWS = st.lists(st.lists(_CELLS, max_size=5), max_size=8)
_ENCODINGS = ("utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "cp1252")


@st.composite
def _contents(draw: st.DrawFn) -> bytes:
    """Rows put together by some program or other, or any text, or any bytes."""
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(st.binary(max_size=200))
    if kind == 1:
        return draw(st.text(max_size=200)).encode(errors="replace")
    rows = draw(_ROWS)
    if draw(st.booleans()):
        rows = [["path", "label", "split"][: draw(st.integers(2, 3))], *rows]
    separator = draw(st.sampled_from([",", ",", ",", ";", "\t", " ", "|"]))
    quote = draw(st.sampled_from(["", "", '"', "'"]))
    end = draw(st.sampled_from(["\n", "\r\n", "\r", "\n\n"]))
    text = end.join(separator.join(f"{quote}{cell}{quote}" for cell in row) for row in rows) + end
    return text.encode(draw(st.sampled_from(_ENCODINGS)), errors="replace")


def _beside_images(name: str, read: Callable[[Path], Any]) -> Callable[[bytes], None]:
    """A check: `read` gives something, or a DataError, with this content in the file `name`."""

    def check(content: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            (root / "c").mkdir()
            for path in _PATHS:
                Image.fromarray(np.arange(4, dtype=np.uint8).reshape(2, 2) % 2).save(root / path)
            (root / name).write_bytes(content)
            found, sentence = tried(read, root)
            if sentence is None:
                assert found is not None
            else:
                assert folder in sentence
                assert len(sentence) < 1000
            assert (root / name).read_bytes() == content

    return check


@some_and_many
def test_a_table_of_any_content(num_examples: int) -> None:
    check = _beside_images("list.csv", lambda root: read_table(root / "list.csv"))
    hold(check, num_examples, content=_contents())


@some_and_many
@pytest.mark.parametrize("name", ["labeled.txt", "val.txt"])
def test_a_list_of_any_content(num_examples: int, name: str) -> None:
    def read(root: Path) -> Any:
        if name != "labeled.txt":
            (root / "labeled.txt").write_text("b.png c/d.png\n")
        return read_split_lists(root)

    hold(_beside_images(name, read), num_examples, content=_contents())


@some_and_many
def test_a_class_list_of_any_content(num_examples: int) -> None:
    hold(_beside_images("classes.txt", read_class_list), num_examples, content=_contents())


@some_and_many
def test_a_table_says_what_was_written(num_examples: int) -> None:
    """Whatever the quotes, line ends, mark and case of the header: the same catalog."""

    def check(labels: list[str], quote: bool, end: str, mark: bool, header: str) -> None:
        around = '"' if quote else ""
        lines = [header] + [
            f"{around}{path}{around},{around}{label}{around}"
            for path, label in zip(_PATHS, labels, strict=True)
        ]
        text = end.join(lines) + end
        seen = {}

        def read(root: Path) -> Any:
            catalog = read_table(root / "list.csv")
            for path, label in zip(catalog.paths, catalog.labels.tolist(), strict=True):
                seen[path] = "" if label < 0 else catalog.classes[label]
            return catalog

        _beside_images("list.csv", read)(text.encode("utf-8-sig" if mark else "utf-8"))
        is_usable = len(set(labels) - {""}) >= 2
        assert seen == (dict(zip(_PATHS, labels, strict=True)) if is_usable else {})

    hold(
        check,
        num_examples,
        labels=st.lists(st.sampled_from(["", "cat", "dog", "x y"]), min_size=5, max_size=5),
        quote=st.booleans(),
        end=st.sampled_from(["\n", "\r\n", "\r", "\n\n"]),
        mark=st.booleans(),
        header=st.sampled_from(["path,label", "Path,Label", " PATH , label ", '"path","label"']),
    )
