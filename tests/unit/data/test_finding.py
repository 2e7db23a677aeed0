"""Tests of `dmt.data.finding`: what lies below a folder, and where links may lead."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dmt.data.finding import image_paths, walk
from dmt.errors import DataError


def test_hidden_folders_are_named_where_they_hold_images_and_not_entered(tmp_path: Path) -> None:
    for name in [".git/objects/x", ".thumbs/x.PNG", "a/..x/1.jpg", "a/y.png", ".cache/deep/x.png"]:
        place = tmp_path / "data" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.png").touch()
    (tmp_path / "data" / ".linked").symlink_to(tmp_path / "other")
    (tmp_path / "data" / ".thumbs" / "out").symlink_to(tmp_path / "other")
    found = walk(tmp_path / "data")
    assert found.hidden == [".thumbs", "a/..x"]
    assert (found.images, found.others) == (["a/y.png"], [])


def test_walk_sorts_files_by_suffix_and_skips_hidden_names(tmp_path: Path) -> None:
    for name in ["b/x.PNG", 'a/it\'s "ü"\n1.jpeg', "a/notes.txt", ".hidden/x.png", "a/.x.png"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "looks.png").mkdir()
    found = walk(tmp_path)
    assert found.images == ['a/it\'s "ü"\n1.jpeg', "b/x.PNG"]
    assert found.others == ["a/notes.txt"]
    assert found.folders == ["a", "a/looks.png", "b"]


def test_paths_can_be_relative_to_a_folder_above(tmp_path: Path) -> None:
    (tmp_path / "unlabeled" / "deep").mkdir(parents=True)
    (tmp_path / "unlabeled" / "deep" / "1.tif").touch()
    assert image_paths(tmp_path / "unlabeled", tmp_path) == ["unlabeled/deep/1.tif"]
    assert image_paths(str(tmp_path / "unlabeled")) == ["deep/1.tif"]


def test_links_inside_are_followed_also_through_a_linked_root(tmp_path: Path) -> None:
    real = tmp_path / "real"
    (real / "a").mkdir(parents=True)
    (real / "a" / "1.png").touch()
    (real / "b").symlink_to(real / "a")
    (real / "2.png").symlink_to("a/1.png")
    (tmp_path / "link").symlink_to(real)
    assert image_paths(tmp_path / "link") == ["2.png", "a/1.png", "b/1.png"]


@pytest.mark.parametrize(
    ("link", "target", "match"),
    [
        ("data/x.png", "outside/1.png", "leaves the data folder"),
        ("data/sub", "outside", "leaves the data folder"),
        ("data/sub", "data", "leads back to a folder that holds it"),
        ("data/x.png", "data/missing.png", "leads to no file"),
        ("data/sub", "data-more", "leaves the data folder"),
    ],
)
def test_links_that_cannot_be_followed(tmp_path: Path, link: str, target: str, match: str) -> None:
    for folder in ("data", "data-more", "outside"):
        (tmp_path / folder).mkdir()
    (tmp_path / "outside" / "1.png").touch()
    (tmp_path / link).symlink_to(tmp_path / target)
    with pytest.raises(DataError, match=match):
        walk(tmp_path / "data")


def test_a_linked_part_may_not_leave_its_root(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "data" / "labeled").symlink_to(tmp_path / "outside")
    with pytest.raises(DataError, match="leaves the data folder"):
        walk(tmp_path / "data" / "labeled", tmp_path / "data")


def test_a_circle_over_two_links_is_found(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "to_b").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "to_a").symlink_to(tmp_path / "a")
    with pytest.raises(DataError, match="leads back"):
        walk(tmp_path)


def test_a_missing_folder_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere cannot be read"):
        walk(tmp_path / "nowhere")


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")).touch()
    except OSError:
        pytest.skip("this file system refuses such names itself")
    with pytest.raises(DataError, match="not valid UTF-8"):
        walk(tmp_path)


def test_a_link_that_leaves_can_be_allowed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "1.png").touch()
    (tmp_path / "data" / "sub").symlink_to(tmp_path / "outside")
    with pytest.raises(DataError, match=r"allow it with data\.follow_links=true"):
        walk(tmp_path / "data")
    assert walk(tmp_path / "data", follow_links=True).images == ["sub/1.png"]


def test_a_link_to_itself_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "round").symlink_to(tmp_path / "round")
    (tmp_path / "a.png").touch()
    found = walk(tmp_path)
    assert (found.images, found.others) == (["a.png"], ["round"])
    (tmp_path / "b.png").symlink_to(tmp_path / "b.png")
    with pytest.raises(DataError, match="leads to no file"):
        walk(tmp_path)


@pytest.mark.parametrize("follow_links", [False, True])
def test_links_that_double_the_ways_at_every_level_end(tmp_path: Path, follow_links: bool) -> None:
    for level in range(40):
        (tmp_path / f"{level}").mkdir()
        for name in "ab":
            (tmp_path / f"{level}" / name).symlink_to(tmp_path / f"{level + 1}")
    (tmp_path / "40").mkdir()
    with pytest.raises(DataError, match="over more than 16 ways: remove some"):
        walk(tmp_path, follow_links=follow_links)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in folders there")
def test_a_pipe_with_an_images_name_is_no_image(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    assert walk(tmp_path).images == []
