"""YAML from outside: plain values are read, all else is refused with its line, and soon."""

from __future__ import annotations

from typing import Any

import pytest

from dmt.plain_yaml import read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("seed: 3\nstudent: {lr: 0.1}\n", {"seed": 3, "student": {"lr": 0.1}}),
        ("[1, null, true, x]", [1, None, True, "x"]),
        ("'*a'", "*a"),
        (
            "[010, -07, 0x10, 1_000, 0, 1.5, 2.0e-3, .inf]",
            [10, -7, 16, 1000, 0, 1.5, 0.002, float("inf")],
        ),
        ("[1:30, 1:30.5, 190:20:30]", ["1:30", "1:30.5", "190:20:30"]),
        ("[" * 40 + "]" * 40, None),
        ("", None),
    ],
)
def test_plain_values(text: str, value: Any) -> None:
    found = read_yaml(text)
    assert found == value or (value is None and isinstance(found, list))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: [", "expected"),
        ("a: &x {}\nb: *x\n", r"line 2: \*x refers to another value: repeat it"),
        ("a: 1\nb: !!timestamp x\n", "line 2: a type is named"),
        ("!!python/object/apply:os.getcwd []", "line 1: a type is named"),
        ("!own {}", "line 1: a type is named"),
        ("[" * 51 + "]" * 51, "line 1: values are nested too deeply"),
        ("[" * 100_000, "line 1: values are nested too deeply"),
        ("\n".join(" " * depth + "-" for depth in range(60)), "values are nested too deeply"),
        ("2024-99-99", "month must be in"),
        ("9" * 5000, "4300 digits"),
        ("a\0b", "unacceptable character"),
        ("a: 1\n---\nb: 2\n", "expected a single document"),
        ("a: 1\nb: {c: 1, d: 2, c: 3}\n", "line 2: 'c' stands there twice"),
        ("a: 1\n" + "#" * 200_000, "it is longer than 200,000 letters"),
    ],
)
def test_what_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_yaml(text)
