"""Tests of `open_catalog`: which source a word means, and the built-in `digits`."""

from pathlib import Path

import numpy as np
import pytest

from dmt.data.catalog import Part
from dmt.data.layouts import open_catalog
from dmt.errors import DataError


def test_digits_are_real_and_complete() -> None:
    from sklearn.datasets import load_digits

    catalog = open_catalog("digits")
    source = load_digits()
    assert (catalog.name, catalog.layout, catalog.root) == ("digits", "digits", None)
    assert catalog.classes == tuple("0123456789")
    assert catalog.images is not None
    assert catalog.images.shape == (1797, 8, 8, 3)
    assert catalog.images.dtype == np.uint8
    assert (catalog.images == catalog.images[..., :1]).all()
    np.testing.assert_array_equal(catalog.images[..., 0], np.rint(source.images * 15.9375))
    np.testing.assert_array_equal(catalog.labels, source.target)
    assert catalog.paths[1] == "digits/0001"
    assert list(catalog.paths) == sorted(set(catalog.paths))


def test_digits_hold_out_is_fixed_and_stratified() -> None:
    catalog = open_catalog("digits")
    test = catalog.parts == Part.TEST
    assert test.sum() == 357
    assert (catalog.parts == Part.TRAIN).sum() == 1440
    share = np.bincount(catalog.labels) * 357 / 1797
    assert np.abs(np.bincount(catalog.labels[test]) - share).max() < 1
    # The first few, written down: published figures hold only while these stay.
    assert np.flatnonzero(test)[:8].tolist() == [8, 10, 11, 16, 19, 22, 25, 31]
    assert 800 < np.flatnonzero(test).mean() < 1000  # spread over the whole set


def test_a_folder_called_digits_is_reached_by_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / "digits" / name).mkdir(parents=True)
        (tmp_path / "digits" / name / "1.png").touch()
    monkeypatch.chdir(tmp_path)
    assert open_catalog("digits").layout == "digits"
    for data in ("./digits", Path("digits")):
        catalog = open_catalog(data)
        assert (catalog.layout, catalog.name) == ("class-folders", "digits")
        assert catalog.root == tmp_path / "digits"


def test_the_current_folder_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "1.png").touch()
    monkeypatch.chdir(tmp_path / "photos")
    assert open_catalog(".").name == "photos"


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ("nowhere", "there is no nowhere: give a folder"),
        ("", "no data was named"),
        ("photos.zip", r"photos\.zip is neither a folder nor a CSV: .*unpack"),
        ("x" * 5000, "there is no x"),
        ("a\0b", "there is no "),
    ],
)
def test_data_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str, match: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos.zip").touch()
    with pytest.raises(DataError, match=match):
        open_catalog(data)


def test_a_csv_is_known_by_its_suffix_in_any_case(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    (tmp_path / "List.CSV").write_text("path,label\na.png,x\nb.png,y\n")
    assert open_catalog(tmp_path / "List.CSV").layout == "csv"
