"""The report's examples, reliability and tables by class; and `examples.json` from a stranger."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest
from sample_examples import write_sample_examples
from sample_run import DIGITS, write_sample_run
from sample_segmentation import CLASSES, write_sample_segmentation

from dmt.errors import RunError
from dmt.insight.report import write_report
from dmt.records import METRICS, read_json, write_json
from dmt.records.examples import EXAMPLES

EVIL = '"><img src=x onerror=alert(1)>'


def text_of(run: Path) -> str:
    page = write_report(run).read_text(encoding="utf-8")
    return html.unescape(page).replace("\u202f", " ")


def plain(run: Path) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", text_of(run)).split())


def test_images_are_shown_with_what_is_said_of_them(tmp_path: Path) -> None:
    run = write_sample_examples(write_sample_run(tmp_path / "run"), DIGITS)
    text = plain(run)
    for expected in (
        "Worst errors Held-out images that were called wrong",
        "Most disagreed Unlabeled images",
        "Least sure",
        "Surest",
        "the extremes of a sample of 500 (of 1 400, evenly)",
        "Only held-out images are shown with their truth.",
        "disagree 25 %",
        "Expected calibration error: supervised 3.2 %; peer a 3.2 %; peer b 3.2 %; ensemble 3.2 %",
    ):
        assert expected in text, expected
    page = text_of(run)
    assert page.count('src="data:image/webp;base64,') == 20
    assert page.count('class="wrong"') == 5
    assert page.count("<dt>truth</dt>") == 5
    assert 'type="radio"' not in page


def test_scenes_have_layers_a_legend_and_controls(tmp_path: Path) -> None:
    run = write_sample_segmentation(tmp_path / "run")
    page = text_of(write_sample_examples(run, CLASSES, is_dense=True))
    layers = re.findall(r'id="layer-(\w+)"', page)
    assert layers == ["none", "truth", "a", "b", "confidence", "disagreement"]
    assert page.count('data-layer="truth" decoding') == 5  # of the held-out ones alone
    assert page.count('data-layer="disagreement" decoding') == 20
    assert 'style="background: #800000"></i>building' in page
    assert "pixels right</dt><dd>61.5 %" in page
    assert 'id="strength"' in page


def test_a_run_without_examples_says_so(tmp_path: Path) -> None:
    assert "None are kept: this run has no examples.json" in plain(write_sample_run(tmp_path / "r"))
    half = plain(write_sample_run(tmp_path / "half", finished=False))
    assert "Examples" not in half
    assert "This run has not finished." in half


def test_recall_and_precision_by_class(tmp_path: Path) -> None:
    text = plain(write_sample_run(tmp_path / "run"))
    assert "recall, supervised recall, ensemble recall, difference precision, supervised" in text


def test_coverage_and_cuts_by_class(tmp_path: Path) -> None:
    run = write_sample_run(tmp_path / "run")
    text = plain(run)
    assert "Coverage, by class" in text
    assert "Where the cut lies" in text
    assert "Lowest confidence kept, by class" not in text  # one cut for all classes
    lines = (run / METRICS).read_text().splitlines()
    cut = ", ".join(str(0.5 + i / 100) for i in range(len(DIGITS)))
    by_class = [re.sub(r'"threshold": [\d.]+', f'"threshold": [{cut}]', line) for line in lines]
    (run / METRICS).write_text("\n".join(by_class) + "\n")
    text = plain(run)
    assert "Lowest confidence kept, by class" in text
    assert "0.500 0.500" in text
    assert "0.590 0.590" in text


def test_without_a_validation_part_the_page_says_why_there_is_no_curve(tmp_path: Path) -> None:
    run = write_sample_run(tmp_path / "run")
    assert "There is no curve over rounds" not in plain(run)
    summary = read_json(run / "summary.json")
    for record in summary["rounds"]:
        record["peers"] = {"a": None, "b": None}
    write_json(run / "summary.json", summary)
    assert "no images were set aside to look at after each (val/, or data.val_per_class=)" in plain(
        run
    )


def test_hostile_names_of_images_and_classes_stay_text(tmp_path: Path) -> None:
    names = (EVIL, "</script>")
    run = write_sample_run(tmp_path / "run", classes=names)
    write_sample_examples(run, names, name=EVIL + "\u202e{}")
    page = write_report(run).read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert "\u202e" not in page
    assert page.count("<img ") == 20


@pytest.mark.parametrize(
    ("spoil", "part"),
    [
        (lambda each: each["examples"][0]["pictures"].update(image="http://x/y.png"), "pictures"),
        (lambda each: each["examples"][0]["pictures"].update(
            image="data:image/svg+xml;base64,AAAA"), "pictures"),
        (lambda each: each["examples"][0]["pictures"].update(
            image='data:image/webp;base64,AA" onerror="x'), "pictures"),
        (lambda each: each.update(colors=["red; background: url(http://x)"]), "colors"),
        (lambda each: each.update(version=2), "version"),
        (lambda each: each.update(more=1), "more"),
        (lambda each: each["reliability"][0].update(error="x"), "error"),
        (lambda each: each["reliability"][0].update(right=[1]), "equally many"),
        (lambda each: each["reliability"][0].update(num=[], right=[], confidence=[]), "num"),
        (lambda each: each["reliability"][0]["num"].__setitem__(0, 10**400), "num"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_ours_is_refused(tmp_path: Path, spoil: Any, part: str) -> None:
    run = write_sample_examples(write_sample_run(tmp_path / "run"), DIGITS)
    value = read_json(run / EXAMPLES)
    spoil(value)
    write_json(run / EXAMPLES, value)
    with pytest.raises(RunError, match=rf"examples.json does not fit this version.*{part}"):
        write_report(run)
    (run / EXAMPLES).write_text("{")
    with pytest.raises(RunError, match="cannot be read as JSON"):
        write_report(run)
    assert not (run / "report.html").exists()


def test_many_unlabeled_images_make_a_small_page(tmp_path: Path) -> None:
    run = write_sample_examples(write_sample_run(tmp_path / "run"), DIGITS)
    data = read_json(run / "data.json")
    data["files"] += [["u.png", 1, "0" * 16, "unlabeled"]] * 100_000
    write_json(run / "data.json", data)
    assert len(write_report(run).read_bytes()) < 400_000
