"""An index of names: any length, any text, read by position; what is damaged is refused."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from dmt.data.pools import path_index
from dmt.data.pools.path_index import ENDS, MANIFEST, NAMES, PathIndex, write_index
from dmt.errors import RunError


def names(num: int) -> list[str]:
    draw = random.Random(num)
    return ["ä" * draw.randrange(4) + f"/{number}\n.jpg" for number in range(num)]


@pytest.mark.parametrize("num", [0, 1, 7, 40])
def test_what_was_written_is_read(num: int, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(path_index, "_AT_ONCE", 7)
    write_index(tmp_path / "index", iter(names(num)))
    index = PathIndex(tmp_path / "index")
    assert len(index) == num
    assert list(index) == names(num)
    for start in range(num + 1):
        assert index[start : start + 3] == names(num)[start : start + 3]
    if num:
        assert index[-1] == names(num)[-1]
    with pytest.raises(IndexError):
        index[num]


def test_the_hash_is_of_names_and_their_ends(tmp_path: Path) -> None:
    hashes = set()
    for number, each in enumerate((["ab", "c"], ["a", "bc"], ["c", "ab"], ["ab", "c", ""])):
        write_index(tmp_path / str(number), each)
        hashes.add(PathIndex(tmp_path / str(number)).sha256)
    assert len(hashes) == 4


def test_the_first_to_be_ready_keeps_the_place(tmp_path: Path) -> None:
    write_index(tmp_path / "index", ["a"])
    write_index(tmp_path / "index", ["b"])
    assert list(PathIndex(tmp_path / "index")) == ["a"]
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_what_fails_on_the_way_leaves_nothing(tmp_path: Path) -> None:
    def broken():
        yield "a"
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_index(tmp_path / "index", broken())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("file", [NAMES, ENDS, MANIFEST])
def test_damage_is_refused(file: str, tmp_path: Path) -> None:
    write_index(tmp_path / "index", names(5))
    path = tmp_path / "index" / file
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(RunError, match="delete it"):
        PathIndex(tmp_path / "index")
    path.unlink()
    with pytest.raises(RunError, match="delete it"):
        PathIndex(tmp_path / "index")
