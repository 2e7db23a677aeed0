"""`compare.html` and `compare.md`: what they say of a record, with names from outside in it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from sample_comparison import EVIL, sample_comparison
from test_report_page import Page

from dmt.insight.comparison_page import render_comparison
from dmt.insight.comparison_text import markdown
from dmt.records.comparison import sentence


@pytest.mark.parametrize("is_swept", [False, True])
def test_page_shows_every_method_pair_and_note(is_swept: bool) -> None:
    record = sample_comparison(is_swept=is_swept)
    page = Page(render_comparison(record, "name"))
    assert record.result is not None
    for each in record.result.methods:
        assert each.method in page.text
        assert f"{each.mean:.2f} ± {each.sd:.2f}" in page.text
    for pair in record.result.pairs:
        assert sentence(pair, record.result).replace(" %", "\u00a0%") in page.text.replace(
            " %", "\u00a0%"
        )
    for text in (*record.notes, record.command, record.hardware):
        assert text in page.text
    assert page.links == ["data:,", "#main"]
    assert len(page.ids) == len(set(page.ids))
    assert ("Error against labels" in page.text) == is_swept
    assert "Error against seconds" in page.text


def test_page_begins_with_ours_against_supervised() -> None:
    page = Page(render_comparison(sample_comparison(), "name"))
    headline = page.words[page.words.index("Helped") :]
    assert any(text.startswith("dmt − supervised: −6.0") for text in headline[:4])


def test_names_from_outside_add_no_node() -> None:
    record = sample_comparison(dataset=EVIL)
    page = Page(render_comparison(record, EVIL))
    assert "img" not in page.tags
    assert EVIL in page.text
    outside_code = markdown(record).split("`")[::2]
    assert all("<img" not in text.replace("\\<", "") for text in outside_code)
    assert "\\<img" in outside_code[0]


def test_markdown_is_a_table_and_a_list() -> None:
    record = sample_comparison()
    text = markdown(record)
    assert text.startswith("# digits: 4 methods compared\n\n`dmt compare digits ")
    assert "| method | error in % | gap closed | images a model | seconds |\n| --- | ---: |" in text
    assert text.count("\n- ") == len(record.result.pairs if record.result else [])
    assert "3 seeds, torch 2.15, a machine." in text


def test_page_loads_no_torch() -> None:
    code = "import sys, dmt.insight.comparison_page; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
