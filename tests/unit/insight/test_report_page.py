"""`write_report`: what the page says. How it behaves in a browser is tested in tests/browser."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sample_detection import sample_detection
from sample_run import write_sample_run

from dmt.errors import RunError
from dmt.insight.report import write_report
from dmt.records import CONFIG, REPORT, SUMMARY, read_json, write_json, write_text

EVIL = '"><img src=x onerror=alert(1)>'


class Page(HTMLParser):
    """The words of a page, its tags and the attributes that could load something."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        named = {key: value or "" for key, value in attrs}
        self.links += [named[key] for key in ("src", "href", "srcset", "data") if key in named]
        self.ids += [named["id"]] if "id" in named else []

    def handle_data(self, data: str) -> None:
        if not self.tags or self.tags[-1] not in ("style", "script"):
            self.words.append(data)


def written(run: Path) -> str:
    path = write_report(run)
    assert path == run / REPORT
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("verdict", "word", "sentence"),
    [
        ("helped", "Helped", "The unlabeled images helped"),
        ("hurt", "Hurt", "The unlabeled images hurt"),
        ("unclear", "Unclear", "It cannot be told"),
        ("none", "Not measured", "was not measured"),
    ],
)
def test_the_verdict_is_said_in_words(
    tmp_path: Path, verdict: str, word: str, sentence: str
) -> None:
    html = written(write_sample_run(tmp_path / "run", verdict=verdict))
    page = Page(html)
    assert f"<title>{word}: run</title>" in html
    assert page.text.count(word) >= 1
    assert sentence in page.text
    assert ('id="interval-title"' in html) == (verdict != "none")


def test_the_key_numbers_are_there(tmp_path: Path) -> None:
    text = Page(written(write_sample_run(tmp_path / "run"))).text.replace("\u202f", " ")
    for expected in (
        "−4.2 points, 95 % interval −6.9 to −1.6, 357 images, McNemar p = 0.001",
        "Error 8.1 % both peers together, used by predict",
        "Supervised 12.3 %",
        "Gap closed 47 %",
        "Pseudo labels true 94.3 % of those kept in round 5",
        "Images seen 92.2 k",
        "Time 1 min 11 s 4 012 images/s",
        "Alarm Class 9 makes up 0.4 %",
        "Note Labels were too few",
        "dmt train digits recipe=digits seed=3 oracle=true",
        "weighting.agreement_gamma 4.0",
        "a made-up machine, 2 CPU cores",
        "unlabeled images 1 400",
    ):
        assert expected in text


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "dmt (pair)"),
        ({"headline": "a", "method": "fixmatch"}, "fixmatch"),  # `schedule` is `pair` still
        ({"headline": "a", "schedule": "chain"}, "dmt (chain)"),
        ({"headline": "supervised", "method": "supervised", "schedule": "chain"}, "supervised"),
    ],
)
def test_a_method_is_a_pair_or_a_chain_only_where_it_is(
    tmp_path: Path, fields: dict[str, str], expected: str
) -> None:
    run = write_sample_run(tmp_path / "run")
    write_json(run / SUMMARY, read_json(run / SUMMARY) | fields)
    text = Page(written(run)).text
    assert re.search(rf"digits .{{0,9}}classification .{{0,9}}{re.escape(expected)} (?!\()", text)


def test_a_half_finished_run_says_so(tmp_path: Path) -> None:
    run = write_sample_run(tmp_path / "run", finished=False)
    text = Page(written(run)).text
    assert "Not finished" in text
    assert "round 2, peer b, step 60 of 120" in text
    assert "dmt resume" in text
    assert "Gap closed" not in text
    assert "Error by round" in text


def test_a_run_that_has_only_begun(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    write_text(run / CONFIG, "seed: 1\nstudent:\n  lr: 0.1\n")
    text = Page(written(run)).text
    assert "no training step is on record yet" in text
    assert "student.lr 0.1" in text


def test_a_chain_in_miou_has_one_peer_and_higher_is_better(tmp_path: Path) -> None:
    run = write_sample_run(tmp_path / "run")
    summary = read_json(run / SUMMARY)
    summary |= {
        "task": "segmentation", "metric": "miou", "schedule": "chain", "status": "stopped",
        "headline": "a", "supervised": 50.0, "supervised_ensemble": None, "ensemble": None,
        "peers": {"a": 61.5, "b": None}, "oracle": None, "gap_closed": None,
        "interval": {"value": 11.5, "low": 8.0, "high": 15.0, "p_value": None, "num_images": 357},
    }  # fmt: skip
    for record in summary["rounds"]:
        record["peers"]["b"] = None
    write_json(run / SUMMARY, summary)
    html = written(run)
    text = Page(html).text.replace("\u202f", " ")
    assert "Mean IoU 61.5 % peer a, used by predict" in text
    assert "stopped early" in text
    assert "Higher is better" in text
    assert "+11.5 points, 95 % interval +8.0 to +15.0, 357 images" in text
    assert "McNemar" not in text
    assert "Gap closed – not measured" in text
    assert '<text class="side" x="12" y="18">worse</text>' in html
    assert "Held-out pixels" in text


def test_no_run_writes_no_page(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no run"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_page_loads_nothing(tmp_path: Path) -> None:
    html = written(write_sample_run(tmp_path / "run"))
    page = Page(html)
    assert set(page.links) <= {"data:,", "#main"}
    assert not {"img", "iframe", "object", "embed"} & set(page.tags)
    assert not re.search(r"@import|url\(", html)
    assert len(page.ids) == len(set(page.ids))


def test_the_policy_admits_the_one_script(tmp_path: Path) -> None:
    html = written(write_sample_run(tmp_path / "run"))
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html
    assert "default-src 'none'" in html


def test_names_are_escaped(tmp_path: Path) -> None:
    run = write_sample_run(tmp_path / EVIL.replace("/", ""), classes=(EVIL, "b"), dataset=EVIL)
    html = written(run)
    assert "img" not in Page(html).tags
    assert EVIL in Page(html).text


def test_two_runs_of_one_content_give_one_page(tmp_path: Path) -> None:
    run = write_sample_run(tmp_path / "run")
    assert written(run) == written(run)


def test_every_chart_has_its_words_and_every_plot_of_steps_a_table(tmp_path: Path) -> None:
    html = written(write_sample_run(tmp_path / "run"))
    charts = re.findall(r'<svg class="chart".*?<desc[^>]*>(.*?)</desc>', html, re.S)
    assert len(charts) == 13
    assert all(len(text) > 10 for text in charts)
    assert html.count('<details class="numbers">') >= 9


@pytest.mark.parametrize(("num", "has_matrix"), [(30, True), (31, False), (400, False)])
def test_many_classes_stay_readable(tmp_path: Path, num: int, has_matrix: bool) -> None:
    names = tuple(f"class {i}" for i in range(num))
    html = written(write_sample_run(tmp_path / "run", classes=names))
    assert ("true ↓  called →" in html) == has_matrix
    assert "Most frequent mistakes" in html
    assert ("200 more classes are not shown" in html) == (num == 400)


def test_a_long_run_stays_small(tmp_path: Path) -> None:
    run = write_sample_run(tmp_path / "run", num_lines=3000)
    assert len(written(run).encode()) < 500_000


def test_unknown_truth_of_pseudo_labels_is_not_invented(tmp_path: Path) -> None:
    text = Page(written(write_sample_run(tmp_path / "run", is_hidden_known=False))).text
    assert "Pseudo labels true" not in text
    assert "How many are true" not in text
    assert "How many are kept" in text
    assert "wrong pseudo labels" not in text


def test_what_found_wrong_pseudo_labels_is_said_in_words(tmp_path: Path) -> None:
    text = Page(written(write_sample_run(tmp_path / "run"))).text.replace("\u202f", " ")
    for expected in (
        "Does disagreement find wrong pseudo labels? Measured on 1 400 images of the pool",
        "In round 5 disagreement found the wrong pseudo labels best: average precision 47.0 %, "
        "mean over both teachers, 12.0 points above the teacher's confidence (35.0 %). "
        "A random order has 6.0 %.",
        "Disagreement against the teacher's confidence: better (+12.0 points, 95 % interval "
        "+5.0 to +18.0) for the labels of peer a; better (+12.0 points",
        "DMT's weight 56.0 53.0 50.0 47.0 44.0",
        "DMT's weight against the teacher's confidence: cannot be told apart (+9.0 points, 95 % "
        "interval −1.0 to +19.0) for the labels of peer a; cannot",
    ):
        assert expected in text


def test_one_network_and_a_first_round_without_a_second(tmp_path: Path) -> None:
    run = write_sample_run(tmp_path / "run")
    summary = read_json(run / SUMMARY)
    for record in summary["rounds"]:
        alone = sample_detection(record["round"], "a", 1400, is_pair=False)
        record["error_detection"] = {"a": alone.model_dump()} if record["round"] else {}
    write_json(run / SUMMARY, summary)
    text = Page(written(run)).text.replace("\u202f", " ")
    assert "There is no second network that could disagree." in text
    assert (
        "In round 5 the teacher's margin found the wrong pseudo labels best: average precision "
        "36.0 %, 1.0 points above"
    ) in text
    assert "DMT's weight" not in text
    # A chain: from the second round on there is a generation before the teacher.
    for record in summary["rounds"][2:]:
        both = sample_detection(record["round"], "a", 1400, gain=-0.1)
        record["error_detection"] = {"a": both.model_dump()}
    write_json(run / SUMMARY, summary)
    text = Page(written(run)).text.replace("\u202f", " ")
    assert "worse (−10.0 points, 95 % interval −17.0 to −4.0) for the labels of peer a." in text
    assert "DMT's weight – 53.0 50.0" in text


def test_rounds_without_a_wrong_label_say_nothing(tmp_path: Path) -> None:
    run = write_sample_run(tmp_path / "run")
    summary = read_json(run / SUMMARY)
    for record in summary["rounds"]:
        for found in record["error_detection"].values():
            found |= {"num_wrong": 0, "num_selected_wrong": 0, "gains": {}}
            found["scores"] = {name: {} for name in found["scores"]}
    write_json(run / SUMMARY, summary)
    assert "wrong pseudo labels?" not in Page(written(run)).text


def test_importing_the_report_loads_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, dmt.insight.report; "
        "print([m for m in ('torch', 'numpy', 'torchvision') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
