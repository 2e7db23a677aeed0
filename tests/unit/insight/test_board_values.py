"""Numbers, dates and addresses as evaluation tables hold them."""

from __future__ import annotations

from typing import Any

import pytest

from dmt.insight.board.plots import Dot, mark_records, record_chart
from dmt.insight.board.values import is_lower_better, number, web_address, year


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("94.21", 94.21), (94.21, 94.21), (7, 7.0), ("5.79 ± 0.02", 5.79), ("5.79±0.02%", 5.79),
        ("72.7 %", 72.7), ("4.2–4.3", 4.25), ("\N{MINUS SIGN}3", -3.0), ("-1.5e-3", -0.0015),
        ("1,234.5", 1234.5), (".5", 0.5), (" 12 ", 12.0), ("3 +/- 1", 3.0),
        ("n/a", None), ("", None), ("-", None), ("3h", None), ("94.2.1", None), ("1,23", None),
        ("nan", None), ("inf", None), (True, None), (None, None), ([3], None), (10**400, None),
        ("9" * 65, None), ("1e999", None), ("4-5", None),
    ],
)  # fmt: skip
def test_numbers(value: Any, found: float | None) -> None:
    assert number(value) == (pytest.approx(found) if found is not None else None)


@pytest.mark.parametrize("metric", ["Percentage error", "FID", "Test perplexity", "WER (%)"])
def test_less_of_these_is_better(metric: str) -> None:
    assert is_lower_better(metric)


@pytest.mark.parametrize("metric", ["Accuracy", "Mean IoU", "Top 1 Accuracy", "F1", "Errorless"])
def test_more_of_these_is_better(metric: str) -> None:
    assert not is_lower_better(metric)


def test_dates() -> None:
    assert year("2020") == 2020
    assert year("2020-04") == 2020.25
    assert 2020.25 < (year("2020-04-18") or 0) < 2020.34
    for wrong in ("2020-13", "2020-1", "soon", "", None, 2020, "2020-04-18T00:00"):
        assert year(wrong) is None


@pytest.mark.parametrize(
    "address",
    ["javascript:alert(1)", "JaVaScRiPt:alert(1)", " https://a.org", "https://a.org/ b", "//a.org",
     "data:text/html,x", "https:", "file:///etc/passwd", "https://[", "\thttps://a.org", None, 3],
)  # fmt: skip
def test_what_is_no_address_becomes_no_link(address: Any) -> None:
    assert web_address(address) is None


def test_addresses() -> None:
    for address in ("https://a.org/x?y=1#z", "http://a.org"):
        assert web_address(address) == address


def dot(when: float, value: float, is_measured: bool = False) -> Dot:
    return Dot(when, value, f"m{value}", str(value), is_measured)


def test_a_claim_and_a_measurement_each_have_records_of_their_own() -> None:
    dots = [dot(2022, 3, True), dot(2020, 5), dot(2021, 2), dot(2021.5, 4), dot(2023, 2.5, True)]
    marked = mark_records(dots, lower_is_better=True)
    assert [each.value for each in marked if each.is_record] == [5, 2, 3, 2.5]
    chart = record_chart("best", "Error", marked)
    assert chart.count("<polyline") == 2
    assert chart.count('class="dot measured record"') == 2
    assert chart.count('class="dot claimed other"') == 1


def test_a_plot_of_many_stays_small_and_names_no_node() -> None:
    dots = [Dot(2000 + i / 1000, i % 97, "<b>", "1", i % 2 == 0) for i in range(5000)]
    chart = record_chart("best", "<i>", mark_records(dots, lower_is_better=False))
    assert len(chart) < 200_000
    assert "<b>" not in chart
    assert "<i>" not in chart
