"""CSVs that cannot be used: the sentence names the file, the line and the cure."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from spoiling import TINY, named, refused_untouched

from commands import call, refused

_BLUE, _GREEN = "labeled/blue/0000.png,blue\n", "labeled/green/0000.png,green\n"
_HEAD = "path,label\n"


class Case(NamedTuple):
    """What a CSV beside class folders holds, and what the sentence then holds."""

    name: str
    content: str | bytes
    parts: tuple[str, ...]


CASES = (
    Case("no such file", f"{_HEAD}{_BLUE}labeled/green/9999.png,green\n",
         ("line 3: there is no file labeled/green/9999.png",)),
    Case("above the folder", f"{_HEAD}../secret.png,blue\n",
         ("line 2: ../secret.png leaves the CSV's folder",)),
    Case("absolute", f"{_HEAD}/etc/passwd,blue\n", ("leaves the CSV's folder",)),
    Case("above by detours", f"{_HEAD}labeled/../../x.png,blue\n", ("leaves the CSV's folder",)),
    Case("a drive", f"{_HEAD}C:\\photos\\x.png,blue\n", ("write / instead of \\",)),
    Case("backslashes", f"{_HEAD}labeled\\blue\\0000.png,blue\n", ("write / instead of \\",)),
    Case("twice", f"{_HEAD}{_BLUE}labeled/blue/../blue/0000.png,green\n",
         ("line 3: labeled/blue/0000.png is already on line 2",)),
    Case("other columns", f"file,class\n{_BLUE}", ("must be path,label or path,label,split",)),
    Case("no header", _BLUE + _GREEN, ("its first line must be path,label",)),
    Case("columns turned", f"label,path\n{_BLUE}", ("must be path,label",)),
    Case("semicolons", "path;label\nlabeled/blue/0000.png;blue\n", ("with commas",)),
    Case("tabs", "path\tlabel\nlabeled/blue/0000.png\tblue\n", ("with commas",)),
    Case("a word for spreadsheets", f"sep=,\n{_HEAD}{_BLUE}", ("starts with sep=",)),
    Case("nothing", "", ("starts with nothing",)),
    Case("a byte order mark alone", b"\xef\xbb\xbf", ("starts with nothing",)),
    Case("line breaks alone", "\n\n\n", ("starts with nothing",)),
    Case("a header alone", _HEAD, ("lists no image",)),
    Case("no label", f"{_HEAD}labeled/blue/0000.png,\n", ("labels no train image",)),
    Case("blank labels", f"{_HEAD}labeled/blue/0000.png,  \n", ("labels no train image",)),
    Case("one class", _HEAD + _BLUE, ("has one class only (blue)",)),
    Case("three columns", f"{_HEAD}labeled/blue/0000.png,blue,x\n",
         ("line 2: 3 columns instead of 2",)),
    Case("one column", f"{_HEAD}labeled/blue/0000.png\n", ("line 2: 1 columns instead of 2",)),
    Case("another split", "path,label,split\nlabeled/blue/0000.png,blue,dev\n",
         ("line 2: the split dev is not one of",)),
    Case("a class of val alone", "path,label,split\nlabeled/blue/0000.png,blue,val\n",
         ("no train image has the class blue",)),
    Case("val without a label", "path,label,split\nlabeled/blue/0000.png,,val\n",
         ("line 2: a val image needs a label",)),
    Case("a quote that stays open", f'{_HEAD}"labeled/blue/0000.png,blue\n',
         ("line 2: not a line of a CSV",)),
    Case("words behind a quote", f'{_HEAD}"labeled/blue/0000.png"x,blue\n',
         ("line 2: not a line of a CSV",)),
    Case("a field without end", f"{_HEAD}{'x' * 200_000},blue\n", ("line 2: not a line of a CSV",)),
    Case("a name without end", f"{_HEAD}{'x' * 5_000},blue\n", ("line 2: there is no file",)),
    Case("a folder", f"{_HEAD}labeled/blue,blue\n", ("line 2: there is no file labeled/blue",)),
    Case("the folder itself", f"{_HEAD}.,blue\n", ("line 2: there is no file .",)),
    Case("no path", f"{_HEAD},blue\n", ("line 2: the path is empty: name an image file",)),
    Case("a zero byte", f"{_HEAD}a\0b.png,blue\n", ("line 2: the path holds a zero byte",)),
    Case("a line break in a name", f'{_HEAD}"a\nb.png",blue\n', ("there is no file 'a\\nb.png'",)),
    Case("a terminal's code", f"{_HEAD}\x1b[31mx.png,blue\n",
         ("there is no file '\\x1b[31mx.png'",)),
    Case("latin-1", "path,label\nlabeled/blue/0000.png,gr\u00fcn\n".encode("latin-1"),
         ("is not UTF-8 text: save it as CSV UTF-8",)),
    Case("UTF-16", (_HEAD + _BLUE + _GREEN).encode("utf-16"),
         ("is not UTF-8 text: save it as CSV UTF-8",)),
    Case("UTF-16 without a mark", (_HEAD + _BLUE).encode("utf-16-le"), ("must be path,label",)),
    Case("a workbook", b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00\xff", ("is not UTF-8",)),
    Case("JSON", '[{"path": "x.png", "label": "blue"}]', ("must be path,label",)),
    Case("many faults", f"{_HEAD}{_BLUE}a,b\nc,d\ne,f\n",
         ("line 3: there is no file a", "(2 more lines have faults)")),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=named)
def test_it_is_refused(case: Case, photos: Path, here: Path) -> None:
    table = photos / "list.csv"
    content = case.content
    table.write_bytes(content if isinstance(content, bytes) else content.encode())
    words = [table, *TINY, "out=run"]
    sentence = refused_untouched("train", words, *case.parts, "list.csv", beside=photos)
    assert refused("check", [table]) == sentence


ACCEPTED = (
    Case("Windows line ends", (_HEAD + _BLUE + _GREEN).replace("\n", "\r\n"), ()),
    Case("old line ends", (_HEAD + _BLUE + _GREEN).replace("\n", "\r"), ()),
    Case("a byte order mark", b"\xef\xbb\xbf" + (_HEAD + _BLUE + _GREEN).encode(), ()),
    Case("no last line end", (_HEAD + _BLUE + _GREEN).rstrip(), ()),
    Case("blank lines", f"\n{_HEAD}\n{_BLUE}\n\n{_GREEN}\n", ()),
    Case("quotes", _HEAD + '"labeled/blue/0000.png","blue"\n' + _GREEN, ()),
    Case("a loud header", " PATH , Label\n" + _BLUE + _GREEN, ()),
    Case("detours", _HEAD + "./labeled/blue//../blue/0000.png,blue\n" + _GREEN, ()),
    Case("splits", "path,label,split\nlabeled/blue/0000.png,blue,Train\n"
         "labeled/green/0000.png,green,\n", ()),
)  # fmt: skip


@pytest.mark.parametrize("case", ACCEPTED, ids=named)
def test_it_is_accepted(case: Case, photos: Path) -> None:
    table = photos / "list.csv"
    content = case.content
    table.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = call("check", table, "--json").value
    assert found["layout"] == "csv"
    assert found["classes"] == [{"name": "blue", "count": 1}, {"name": "green", "count": 1}]
