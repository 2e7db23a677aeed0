"""The paper's rules once more, slowly: loops over Python floats, to hold `dmt.core` against.

Written from the paper's tables and not from our code; no tests here. A "row" is one sample's or
one pixel's K logits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Row = list[float]


class Step(NamedTuple):
    """One training step: the loss before the division, and dLoss/dlogits for every row."""

    total: float
    num_valid: int
    gradient: list[Row]


def rows_of(values: Tensor) -> list[Row]:
    """(N, K, *S) as a list of N·S rows, each of K floats."""
    rows: list[Row] = values.double().movedim(1, -1).reshape(-1, values.shape[1]).tolist()
    return rows


def tensor_of(rows: Sequence[Row], like: Tensor) -> Tensor:
    """The inverse of `rows_of`, float64."""
    num, num_classes, *space = like.shape
    flat = torch.tensor(rows, dtype=torch.float64)
    return flat.reshape(num, *space, num_classes).movedim(-1, 1)


def softmax(row: Row) -> Row:
    """Probabilities of a row of logits."""
    top = max(row)
    powers = [math.exp(value - top) for value in row]
    whole = sum(powers)
    return [power / whole for power in powers]


def decide(row: Row) -> tuple[int, float]:
    """The first class with the highest probability, and that probability."""
    probs = softmax(row)
    best = 0
    for k, prob in enumerate(probs):
        if prob > probs[best]:
            best = k
    return best, probs[best]


def weight_of(
    rule: str, row: Row, label: int, confidence: float, gamma_1: float, gamma_2: float
) -> tuple[float, int, bool]:
    """Weight, label to learn, and whether student and teacher agree."""
    probs = softmax(row)
    decision, sure = decide(row)
    agrees = decision == label
    if rule == "ones" or (gamma_1 == 0 and gamma_2 == 0):
        return 1.0, label, agrees
    if rule == "naive" or agrees:
        return probs[label] ** gamma_1, label, agrees
    if confidence >= sure:
        return probs[label] ** gamma_2, label, agrees
    if rule == "flip":
        return (1 - confidence) ** gamma_2, decision, agrees
    return 0.0, label, agrees


def weighted_loss(
    rows: Sequence[Row],
    targets: Sequence[Row],
    weights: Sequence[float],
    valid: Sequence[bool],
) -> Step:
    """Σ w·CE over the valid rows for targets that are distributions, and its gradient."""
    total, num_valid, gradient = 0.0, 0, []
    for row, target, weight, counts in zip(rows, targets, weights, valid, strict=True):
        if not counts:
            gradient.append([0.0] * len(row))
            continue
        num_valid += 1
        probs = softmax(row)
        for prob, share in zip(probs, target, strict=True):
            if share:
                total -= weight * share * math.log(prob)
        gradient.append(
            [weight * (prob - share) for prob, share in zip(probs, target, strict=True)]
        )
    return Step(total, num_valid, gradient)


def one_hot(label: int, num_classes: int) -> Row:
    """All on one class."""
    return [1.0 if k == label else 0.0 for k in range(num_classes)]


def blend(one: float, other: float, share: float) -> float:
    """λ · one + (1 − λ) · other."""
    return share * one + (1 - share) * other


def num_kept(num: int, fraction: float) -> int:
    """round(α·N), halves up."""
    return math.floor(fraction * num + 0.5)


def most_confident(confidence: Sequence[float], fraction: float) -> set[int]:
    """Which of some distinct confidences are the top α."""
    order = sorted(range(len(confidence)), key=lambda i: -confidence[i])
    return set(order[: num_kept(len(confidence), fraction)])
