"""How the rounds and the steps grow: the label fraction and the ramp of γ."""

from __future__ import annotations

import math


def label_fraction(round_: int, num_rounds: int) -> float:
    """Share of the pool that round `round_` (1 … num_rounds) trains on: 0.2, 0.4 … 1 for five.

    Raises:
        ValueError: the round is not one of them.
    """
    if not 1 <= round_ <= num_rounds:
        raise ValueError(f"round {round_} is not one of 1 … {num_rounds}")
    return round_ / num_rounds


def gamma_ramp(step: int, num_steps: int) -> float:
    """Factor on γ at step 0 … num_steps − 1: exp(−5 (1 − t/T)²) with t = step + 1, T = num_steps.

    Departure: the authors' first iteration has the full γ before the ramp begins near exp(−5);
    ours begins at the ramp. From the second iteration on the two are equal.
    """
    return math.exp(-5 * (1 - (step + 1) / num_steps) ** 2)
