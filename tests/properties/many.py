"""How often a property is tried: some examples by default, many when slow tests are asked for.

No tests here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dmt.errors import DmtError

_FEW, _MANY = 30, 2000

some_and_many = pytest.mark.parametrize(
    "num_examples", [_FEW, pytest.param(_MANY, marks=pytest.mark.slow)]
)


class Tried(NamedTuple):
    """What something came to: a value, or the sentence it was refused with."""

    value: Any
    sentence: str | None


def tried(work: Callable[..., Any], *words: Any, **more: Any) -> Tried:
    """Call `work`; anything but a DmtError comes through."""
    try:
        return Tried(work(*words, **more), None)
    except DmtError as error:
        return Tried(None, str(error))


def hold(
    check: Callable[..., None], num_examples: int, **strategies: st.SearchStrategy[Any]
) -> None:
    """Call `check` with so many examples, the same ones every time."""
    quiet = settings(
        max_examples=num_examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    quiet(given(**strategies)(check))()
