"""Names of files and classes: any that a file system allows is used as it is, or refused."""

from __future__ import annotations

import csv
import os
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from many import hold, some_and_many, tried
from PIL import Image

from commands import call, is_harmless
from dmt.data.layouts import open_catalog
from dmt.data.layouts.class_names import read_class_list
from dmt.inference.predicting import write_csv

_AWKWARD = (
    "\n\r\t\x1b\x7f \"'`,;:=&<>|\\$%*?#[]{}()~-+@\u00a0\u200b\u200d\u202e\u2028\ufeffe\u0301é"
)
_LETTERS = st.one_of(
    st.characters(exclude_categories=(), exclude_characters="/\0"),
    st.sampled_from([*_AWKWARD, "\udc80", "\udcff", "\ud800"]),
)


def _fits(name: str) -> bool:
    """Whether a file can be called so, in a file system that takes any bytes."""
    try:
        return len(os.fsencode(name)) <= 200 and not name.startswith(".")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return False


NAMES = st.text(_LETTERS, min_size=1, max_size=30).filter(_fits)


def is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _put(path: Path, grey: int = 0) -> None:
    """An image of one grey: images that differ are no duplicates of each other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((2, 2), grey, np.uint8)).save(path, "PNG")


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@some_and_many
def test_class_folders(num_examples: int) -> None:
    """Any two names that differ can be classes, and any can be a file's."""

    def check(classes: list[str], file: str) -> None:
        with _folder() as root:
            for grey, name in enumerate(classes):
                _put(root / "labeled" / name / f"{file}.png", grey)
            _put(root / "unlabeled" / f"{file}.png", 2)
            outcome = call("check", root, "--json")
            distinct = len({normal(name) for name in classes}) == 2
            if all(map(is_utf8, [*classes, file])) and distinct:
                assert outcome.code == 0, outcome.err
                assert {each["name"] for each in outcome.value["classes"]} == set(classes)
                assert outcome.value["problems"] == []
                assert call("check", root).out.count("\n") == 4
            else:
                assert outcome.code == 2
                assert outcome.sentence.startswith("dmt: ")
                assert is_harmless(outcome.sentence)

    hold(check, num_examples, classes=st.lists(NAMES, min_size=2, max_size=2, unique=True),
         file=NAMES)  # fmt: skip


@some_and_many
def test_tables_hold_any_name(num_examples: int) -> None:
    """What a program writes as CSV is read back: the paths to the letter, the classes trimmed."""

    def check(files: list[str], classes: list[str]) -> None:
        assume(all(map(is_utf8, [*files, *classes])))
        assume(len({normal(name) for name in files}) == len(files))
        with _folder() as root:
            for name in files:
                _put(root / "in" / name)
            pairs = [(f"in/{name}", label) for name, label in zip(files, classes, strict=True)]
            with (root / "list.csv").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([("path", "label"), *pairs])
            expected = {path: normal(label.strip()) for path, label in pairs}
            if len({label for label in expected.values() if label}) < 2:
                return
            catalog = open_catalog(root / "list.csv")
        found = dict(zip(catalog.paths, catalog.labels.tolist(), strict=True))
        assert {
            path: "" if label < 0 else catalog.classes[label] for path, label in found.items()
        } == expected

    # csv.writer leaves a lone carriage return unquoted in some versions, which no reader forgives.
    labels = st.text(_LETTERS, max_size=20).filter(lambda name: "\r" not in name)
    files = NAMES.filter(lambda name: "\r" not in name)
    hold(check, num_examples, files=st.lists(files, min_size=4, max_size=4, unique=True),
         classes=st.lists(labels, min_size=4, max_size=4))  # fmt: skip


@some_and_many
def test_lists_hold_any_name_that_a_line_can(num_examples: int) -> None:
    def check(name: str, quote: str) -> None:
        assume(is_utf8(name) and not set(name) & set("\n\t\"'"))
        with _folder() as root:
            _put(root / "images" / name)
            _put(root / "masks" / name)
            (root / "classes.txt").write_text("a\nb\n")
            line = f"{quote}images/{name}{quote} {quote}masks/{name}{quote}"
            if quote == "\t":
                assume(name == name.strip())
                line = f"images/{name}\tmasks/{name}"
            (root / "labeled.txt").write_text(f"{line}\n", encoding="utf-8", newline="")
            catalog = open_catalog(root)
            assert catalog.paths == (f"images/{name}",)
            assert catalog.masks is not None
            assert catalog.masks.paths == (f"masks/{name}",)

    hold(check, num_examples, name=NAMES, quote=st.sampled_from("\"'\t"))


@some_and_many
def test_class_lists_hold_any_name_that_a_line_can(num_examples: int) -> None:
    """But for comments, and for what reads as a colour."""

    def check(names: list[str]) -> None:
        lines = [normal(name.strip()) for name in names]
        assume(all(map(is_utf8, names)) and all(lines) and len(set(lines)) == len(lines))
        assume(not any("#" in line or line[-1].isdigit() for line in lines))
        assume(not any(len(name.splitlines()) > 1 for name in names))
        with _folder() as root:
            (root / "classes.txt").write_text(
                "".join(f"{name}\n" for name in names), encoding="utf-8", newline=""
            )
            listed, sentence = tried(read_class_list, root)
        if sentence is not None:
            assert "one class only" in sentence
            return
        void = {"void", "ignore", "ignored", "unlabeled", "unlabelled"}
        assert list(listed.names) == [name for name in lines if name.casefold() not in void]

    texts = st.text(_LETTERS, max_size=20)
    hold(check, num_examples, names=st.lists(texts, min_size=2, max_size=5))


@some_and_many
def test_a_table_that_is_written_can_be_read(num_examples: int) -> None:
    def check(rows: list[tuple[str, str]]) -> None:
        assume(all(is_utf8(cell) for row in rows for cell in row))
        with _folder() as root:
            write_csv(rows, str(root / "x.csv"), ("path", "label"))
            with (root / "x.csv").open(newline="", encoding="utf-8") as file:
                found = list(csv.reader(file))
        assert found == [["path", "label"], *map(list, rows)]

    hold(check, num_examples, rows=st.lists(st.tuples(NAMES, NAMES), max_size=4))
