"""`dmt report` of several runs: what their page says, and what it refuses."""

from __future__ import annotations

import html
from pathlib import Path

import pytest
from sample_examples import write_sample_examples
from sample_run import DIGITS, write_sample_run
from sample_segmentation import write_sample_segmentation

from dmt.errors import RunError
from dmt.insight.side_by_side import write_reports
from dmt.records import CONFIG, DATA, read_json, write_json

NARROW = "\u202f"


def text_of(path: Path) -> str:
    return html.unescape(path.read_text(encoding="utf-8")).replace(NARROW, " ")


def test_runs_stand_side_by_side_with_what_differs(tmp_path: Path) -> None:
    one = write_sample_examples(write_sample_run(tmp_path / "one"), DIGITS)
    two = write_sample_run(tmp_path / "sub" / "two", verdict="hurt")
    half = write_sample_run(tmp_path / "half", finished=False)
    config = (two / CONFIG).read_text().replace("seed: 3", "seed: 4").replace("lr: 0.05", "lr: 0.1")
    (two / CONFIG).write_text(config)
    written = write_reports([one, two, half, one])
    assert written.reports == [one / "report.html", two / "report.html", half / "report.html"]
    assert written.page == tmp_path / "side-by-side.html"
    text = text_of(written.page)
    for expected in (
        "3 runs on synthetic digits",
        '<a href="one/report.html">one</a>',
        '<a href="sub/two/report.html">sub/two</a>',
        "<td>Helped</td><td>Hurt</td><td>Not finished: round 2</td>",
        "half has not finished; its curves go as far as it has come.",
        '<th scope="row">student.lr</th><td>0.05</td><td>0.1</td><td>0.05</td>',
        "Peer a − supervised and 95 % intervals, points",
        "Loss",
    ):
        assert expected in text, expected
    assert "run.seed" not in text
    assert '<th scope="row">seed</th><td>3</td><td>4</td><td>3</td>' in text
    assert "not on the same data" not in text


def test_other_data_and_other_held_out_images_are_said(tmp_path: Path) -> None:
    one, two = write_sample_run(tmp_path / "one"), write_sample_run(tmp_path / "two")
    data = read_json(two / DATA)
    data["sha256"], data["files"][-1][2] = "ab" * 32, "0" * 16
    write_json(two / DATA, data)
    page = write_reports([one, two]).page
    assert page is not None
    text = text_of(page)
    assert "The runs are not on the same data" in text
    assert "not judged on the same held-out images" in text


def test_one_run_makes_no_second_page(tmp_path: Path) -> None:
    run = write_sample_run(tmp_path / "run")
    assert write_reports([run, tmp_path / "run" / ".." / "run"]).page is None
    assert not (tmp_path / "side-by-side.html").exists()


def test_what_is_wrong_is_found_before_anything_is_written(tmp_path: Path) -> None:
    run, other = write_sample_run(tmp_path / "run"), write_sample_segmentation(tmp_path / "scenes")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="is no run"):
        write_reports([run, tmp_path / "empty"])
    with pytest.raises(RunError, match=r"measures error and .* mean iou"):
        write_reports([run, other])
    assert not (run / "report.html").exists()
    assert not (other / "report.html").exists()


def test_only_a_page_of_its_kind_is_written_anew(tmp_path: Path) -> None:
    runs = [write_sample_run(tmp_path / name) for name in ("one", "two")]
    page = tmp_path / "notes.html"
    page.write_text("<title>Mine</title>")
    with pytest.raises(RunError, match=r"is no page of this kind; give another out="):
        write_reports(runs, page)
    assert page.read_text() == "<title>Mine</title>"
    assert write_reports(runs, tmp_path / "a.html").page == tmp_path / "a.html"
    assert write_reports(runs, tmp_path / "a.html").page == tmp_path / "a.html"
    with pytest.raises(RunError, match="Is a directory"):
        write_reports(runs, tmp_path)


def test_names_are_escaped_and_links_quoted(tmp_path: Path) -> None:
    evil = '"><img src=x onerror=alert(1)>'
    runs = [write_sample_run(tmp_path / name) for name in (evil, "b#?%41")]
    page = write_reports(runs).page
    assert page is not None
    content = page.read_text()
    assert "<img" not in content
    assert 'href="b%23%3F%2541/report.html"' in content


def test_scenes_side_by_side(tmp_path: Path) -> None:
    runs = [write_sample_segmentation(tmp_path / "one"),
            write_sample_segmentation(tmp_path / "two", finished=False)]  # fmt: skip
    page = write_reports(runs).page
    assert page is not None
    assert "Mean IoU, peer a" in text_of(page)
