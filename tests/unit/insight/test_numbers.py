"""How numbers are written for a reader. Not where they come from."""

from __future__ import annotations

import pytest

from dmt.insight import numbers

N = "\N{NARROW NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("value", "decimals", "signed", "text"),
    [
        (12.345, 1, False, f"12.3{N}%"),
        (-4.2, 1, True, f"−4.2{N}%"),
        (0.8, 1, True, f"+0.8{N}%"),
        (-0.04, 1, True, f"0.0{N}%"),
        (None, 1, False, "–"),
        (float("nan"), 1, False, "–"),
    ],
)
def test_fixed(value: float | None, decimals: int, signed: bool, text: str) -> None:
    assert numbers.fixed(value, decimals, "%", signed=signed) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.25, "0.25"),
        (0.00002, "2e−5"),
        (1500, "1500"),
        (46_080, f"46.1{N}k"),
        (2_500_000, f"2.5{N}M"),
        (-12_000, f"−12{N}k"),
        (None, "–"),
    ],
)
def test_short(value: float | None, text: str) -> None:
    assert numbers.short(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (3.21, f"3.2{N}s"),
        (59.4, f"59{N}s"),
        (59.6, f"1{N}min 0{N}s"),
        (200, f"3{N}min 20{N}s"),
        (3599.7, f"1{N}h 0{N}min"),
        (7500, f"2{N}h 5{N}min"),
        (None, "–"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert numbers.duration(seconds) == text


def test_count_groups_digits() -> None:
    assert numbers.count(1_234_567) == f"1{N}234{N}567"
    assert numbers.count(None) == "–"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0004, "< 0.001"), (0.0314, "= 0.031"), (0.68, "= 0.68"), (1.0, "= 1.00"), (None, "")],
)
def test_p_value(value: float | None, text: str) -> None:
    assert numbers.p_value(value) == text
