"""The label fraction of the rounds and the ramp of γ."""

from __future__ import annotations

import math

import pytest

from dmt.core import gamma_ramp, label_fraction


def test_five_rounds_are_the_papers() -> None:
    assert [label_fraction(r, 5) for r in range(1, 6)] == [0.2, 0.4, 0.6, 0.8, 1.0]


def test_one_round_takes_everything() -> None:
    assert label_fraction(1, 1) == 1.0


@pytest.mark.parametrize("round_", [-1, 0, 6])
def test_no_other_round_is_known(round_: int) -> None:
    with pytest.raises(ValueError, match="is not one of 1 … 5"):
        label_fraction(round_, 5)


@pytest.mark.parametrize("num_steps", [2, 10, 1000])
def test_the_ramp_begins_low_and_ends_at_one(num_steps: int) -> None:
    ramp = [gamma_ramp(step, num_steps) for step in range(num_steps)]
    assert ramp[0] == pytest.approx(math.exp(-5 * (1 - 1 / num_steps) ** 2))
    assert ramp[-1] == 1.0
    assert ramp == sorted(ramp)


def test_the_middle_of_the_ramp() -> None:
    assert gamma_ramp(499, 1000) == pytest.approx(math.exp(-1.25))


def test_a_single_step_has_the_full_gamma() -> None:
    assert gamma_ramp(0, 1) == 1.0
