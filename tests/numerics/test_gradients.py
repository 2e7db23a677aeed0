"""The gradient of a whole step, weights held fixed: numerically, and against the reference."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import reference
import torch
from torch import Tensor
from torch.nn import functional as F

from dmt.core import RULES, Mix, draw_mix, uniform, weigh, weighted_cross_entropy
from dmt.core.weighting import Rule

SHAPES = [(1, 2), (6, 3), (8, 10), (2, 4, 3), (4, 5, 3, 2)]


class Case(NamedTuple):
    """A made-up step: logits on plain and on mixed images, pseudo labels, what is valid."""

    logits: Tensor
    mixed_logits: Tensor
    label: Tensor
    confidence: Tensor
    valid: Tensor


def make_case(shape: tuple[int, ...], seed: int) -> Case:
    num, num_classes, *space = shape
    outputs = (num, *space)
    size, num_outputs = math.prod(shape), math.prod(outputs)
    return Case(
        6 * uniform(seed, "logits", num=size).view(shape) - 3,
        6 * uniform(seed, "mixed", num=size).view(shape) - 3,
        (uniform(seed, "label", num=num_outputs) * num_classes).long().view(outputs),
        uniform(seed, "confidence", num=num_outputs).view(outputs),
        (uniform(seed, "valid", num=num_outputs) < 0.8).view(outputs),
    )


def reference_weights(case: Case, rule: str) -> tuple[list[float], list[int]]:
    found = [
        reference.weight_of(rule, row, y, c, 4.0, 2.0)
        for row, y, c in zip(
            reference.rows_of(case.logits),
            case.label.flatten().tolist(),
            case.confidence.flatten().tolist(),
            strict=True,
        )
    ]
    return [weight for weight, _, _ in found], [label for _, label, _ in found]


def check(logits: Tensor, total: Tensor, num_valid: Tensor, expected: reference.Step) -> None:
    total.backward()
    assert logits.grad is not None
    assert int(num_valid) == expected.num_valid
    assert total.item() == pytest.approx(expected.total, rel=2e-5, abs=1e-6)
    torch.testing.assert_close(
        logits.grad.double(),
        reference.tensor_of(expected.gradient, logits),
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rule", RULES)
def test_a_step_without_mixup(rule: Rule, shape: tuple[int, ...], seed: int) -> None:
    case = make_case(shape, seed)
    logits = case.logits.clone().requires_grad_()
    weighted = weigh(rule, logits, case.label, case.confidence, 4.0, 2.0)
    sums = weighted_cross_entropy(logits, weighted.label, weighted.weight, case.valid)
    weights, labels = reference_weights(case, rule)
    targets = [reference.one_hot(label, shape[1]) for label in labels]
    expected = reference.weighted_loss(
        reference.rows_of(case.logits), targets, weights, case.valid.flatten().tolist()
    )
    check(logits, sums.total, sums.num_valid, expected)


@pytest.mark.parametrize("keep_max", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rule", RULES)
def test_a_step_with_mixup(rule: Rule, shape: tuple[int, ...], keep_max: bool) -> None:
    """mix(w) · mix(CE), the weights from the unmixed images."""
    case = make_case(shape, 7)
    mix = draw_mix(shape[0], 0.75, 5, rule, *shape, keep_max=keep_max)
    logits = case.mixed_logits.clone().requires_grad_()
    weighted = weigh(rule, case.logits, case.label, case.confidence, 4.0, 2.0)
    target = F.one_hot(weighted.label, shape[1]).movedim(-1, 1).float()
    sums = weighted_cross_entropy(
        logits, mix(target), mix(weighted.weight), case.valid & case.valid[mix.partner]
    )
    check(logits, sums.total, sums.num_valid, reference_mixed(case, rule, mix))


def reference_mixed(case: Case, rule: str, mix: Mix) -> reference.Step:
    num, num_classes = case.logits.shape[:2]
    size = case.label[0].numel()
    weights, labels = reference_weights(case, rule)
    valid = case.valid.flatten().tolist()
    mixed_weights, targets, both = [], [], []
    for i in range(num):
        for s in range(size):
            own, other = i * size + s, int(mix.partner[i]) * size + s
            mixed_weights.append(reference.blend(weights[own], weights[other], mix.share))
            one, two = (reference.one_hot(labels[place], num_classes) for place in (own, other))
            targets.append(
                [reference.blend(a, b, mix.share) for a, b in zip(one, two, strict=True)]
            )
            both.append(valid[own] and valid[other])
    rows = reference.rows_of(case.mixed_logits)
    return reference.weighted_loss(rows, targets, mixed_weights, both)


@pytest.mark.parametrize("is_soft", [False, True])
@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 2, 2)])
def test_gradcheck_with_the_weights_held_fixed(shape: tuple[int, ...], is_soft: bool) -> None:
    case = make_case(shape, 3)
    weight = weigh("dmt", case.logits, case.label, case.confidence, 2.0, 2.0).weight + 0.1
    target = case.mixed_logits.softmax(dim=1) if is_soft else case.label

    def total(logits: Tensor) -> Tensor:
        return weighted_cross_entropy(logits, target, weight, case.valid).total

    logits = case.logits.double().requires_grad_()
    assert torch.autograd.gradcheck(total, (logits,))
