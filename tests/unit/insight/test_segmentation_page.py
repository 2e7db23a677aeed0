"""What the report says of a segmentation; a classification's page is in `test_report_page`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sample_run import write_sample_run
from sample_segmentation import write_sample_segmentation
from test_report_page import Page

from dmt.insight.report import write_report
from dmt.records import SUMMARY, read_json, write_json


def page_of(run: Path) -> tuple[str, str]:
    """The page as HTML and its words, every space a plain one."""
    html = write_report(run).read_text(encoding="utf-8")
    return html, re.sub(r"\s+", " ", Page(html).text)


def row_of(html: str, name: str) -> list[str]:
    """The cells of the first table row of that name, the name left out."""
    found = re.search(rf'<tr><th scope="row">{re.escape(name)}</th>(.*?)</tr>', html, re.S)
    assert found is not None, name
    cells = re.findall(r"<td[^>]*>(.*?)</td>", found[1])
    return [cell.replace("\u202f", " ") for cell in cells]


def test_the_verdict_names_blocks_and_higher_is_better(tmp_path: Path) -> None:
    html, text = page_of(write_sample_segmentation(tmp_path / "run"))
    assert "mean IoU rose from" in text
    assert "on 62 held-out images in 8 blocks" in text
    assert "62 images in 8 blocks, each counting as one" in text
    assert "McNemar" not in text
    assert "Higher is better" in text
    assert "lower" not in text.lower()
    assert '<text class="side" x="12" y="18">worse</text>' in html


def test_few_blocks_are_unclear_with_a_reason(tmp_path: Path) -> None:
    html, text = page_of(write_sample_segmentation(tmp_path / "run", num_blocks=3))
    assert "<title>Unclear: run</title>" in html
    assert "3 blocks are too few to tell any difference from chance" in text


def test_blocks_of_one_image_are_just_images(tmp_path: Path) -> None:
    _, text = page_of(write_sample_segmentation(tmp_path / "run", num_blocks=62))
    assert "blocks" not in text


def test_iou_by_class_stands_side_by_side(tmp_path: Path) -> None:
    run = write_sample_segmentation(tmp_path / "run")
    summary = read_json(run / SUMMARY)
    html, text = page_of(run)
    assert "class share supervised peer a peer b ensemble oracle a − supervised mean IoU" in text
    iou = {scores["model"]: scores["iou"][3] for scores in summary["scores"]}
    share, *values, difference = row_of(html, "road")
    assert share == "30.5 %"
    assert values == [f"{iou[name]:.1f}" for name in ("supervised", "a", "b", "ensemble", "oracle")]
    assert difference == f"{iou['a'] - iou['supervised']:+.1f}"
    mean = row_of(html, "mean IoU")
    assert mean[1:3] == [f"{summary['supervised']:.1f}", f"{summary['peers']['a']:.1f}"]
    accuracy = {scores["model"]: scores["pixel_accuracy"] for scores in summary["scores"]}
    assert row_of(html, "pixel accuracy")[1] == f"{accuracy['supervised']:.1f}"
    assert f"Pixel accuracy {accuracy['ensemble']:.1f} %" in text


def test_absent_and_unlabeled_classes_are_marked(tmp_path: Path) -> None:
    html, text = page_of(write_sample_segmentation(tmp_path / "run"))
    assert row_of(html, "animal †") == ["0.0 %", *["–"] * 6]
    assert row_of(html, "bicyclist *")[:2] == ["&lt; 0.1 %", "0.0"]
    assert "* Not one labeled pixel (allow_unlabeled_classes=true)" in text
    assert "† In no held-out mask" in text
    assert "Note class animal is in no held-out mask and was never predicted" in text


def test_without_such_classes_nothing_is_marked(tmp_path: Path) -> None:
    run = write_sample_segmentation(tmp_path / "run")
    summary = read_json(run / SUMMARY) | {"unlabeled_classes": []}
    for confusion in summary["confusion"]:
        confusion["counts"][-1][-1] = 5
    for scores in summary["scores"]:
        scores["iou"][-1] = 100.0
    write_json(run / SUMMARY, summary)
    html, text = page_of(run)
    assert "Not one labeled pixel" not in text
    assert "†" not in text
    assert row_of(html, "bicyclist")


def test_pixels_are_called_pixels_and_are_rounded(tmp_path: Path) -> None:
    _, text = page_of(write_sample_segmentation(tmp_path / "run"))
    assert "Of the pixels of the unlabeled pool" in text
    assert "of the pixels kept in round 3" in text
    assert "45.6 M" in text  # 264 images of 360 × 480
    assert not re.search(r"\d \d{3} \d{3}", text)
    assert "7.31 images/s" in text
    assert "Held-out pixels by true class (rows) and answer (columns), in % of the true" in text


def test_confusion_is_in_shares_of_the_true_class(tmp_path: Path) -> None:
    run = write_sample_segmentation(tmp_path / "run")
    summary = read_json(run / SUMMARY)
    row = summary["confusion"][0]["counts"][2]
    matrix = page_of(run)[0].split('id="confusion"')[1]
    shown = row_of(matrix, "pole")
    expected = [f"{100 * num / sum(row):.0f}" if num / sum(row) >= 0.005 else "·" for num in row]
    assert shown == expected
    assert re.search(r"\d+(\.\d)?\u202fk \(\d+\.\d\u202f%\)", matrix)


def test_a_half_finished_segmentation_has_pixels_and_no_table(tmp_path: Path) -> None:
    _, text = page_of(write_sample_segmentation(tmp_path / "run", finished=False))
    assert "Not finished" in text
    assert "Mean IoU by round" in text
    assert "Of the pixels of the unlabeled pool" in text
    assert "By class" not in text


def test_a_supervised_segmentation_has_no_difference(tmp_path: Path) -> None:
    run = write_sample_segmentation(tmp_path / "run")
    summary = read_json(run / SUMMARY)
    summary["scores"] = [each for each in summary["scores"] if each["model"] == "a"]
    summary["confusion"] = [each for each in summary["confusion"] if each["model"] == "a"]
    summary |= {"headline": "a", "method": "supervised", "ensemble": None, "interval": None,
                "verdict": "none", "oracle": None, "gap_closed": None}  # fmt: skip
    write_json(run / SUMMARY, summary)
    html, text = page_of(run)
    assert "class share peer a mean IoU" in text
    assert len(row_of(html, "road")) == 2


@pytest.mark.parametrize("finished", [True, False])
def test_a_classification_says_nothing_of_pixels(tmp_path: Path, finished: bool) -> None:
    _, text = page_of(write_sample_run(tmp_path / "run", finished=finished))
    assert "ixel" not in text
    assert "Intersection over union" not in text
