"""`weigh`: every rule in every case by hand, ties, types, and many shapes against the reference."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import reference
import torch

from dmt.core import RULES, predict, uniform, weigh
from dmt.core.weighting import Rule

P = (0.7, 0.2, 0.1)  # the student's softmax: it decides 0 and is 0.7 sure


def student(*probs: float) -> torch.Tensor:
    return torch.tensor([[math.log(p) for p in probs]])


@pytest.mark.parametrize(
    ("rule", "label", "confidence", "weight", "new_label"),
    [
        # the two agree: p(y) ** γ1, whoever is surer
        ("dmt", 0, 0.9, 0.7**2, 0),
        ("dmt", 0, 0.4, 0.7**2, 0),
        ("naive", 0, 0.9, 0.7**2, 0),
        ("flip", 0, 0.4, 0.7**2, 0),
        ("ones", 0, 0.9, 1.0, 0),
        # they disagree, the teacher is surer: p(y) ** γ2
        ("dmt", 1, 0.9, 0.2**3, 1),
        ("naive", 1, 0.9, 0.2**2, 1),
        ("flip", 1, 0.9, 0.2**3, 1),
        ("ones", 1, 0.9, 1.0, 1),
        # they disagree, the student is surer
        ("dmt", 2, 0.6, 0.0, 2),
        ("naive", 2, 0.6, 0.1**2, 2),
        ("flip", 2, 0.6, 0.4**3, 0),
        ("ones", 2, 0.6, 1.0, 2),
    ],
)
def test_the_table(
    rule: Rule, label: int, confidence: float, weight: float, new_label: int
) -> None:
    found = weigh(rule, student(*P), torch.tensor([label]), torch.tensor([confidence]), 2.0, 3.0)
    assert found.weight.item() == pytest.approx(weight, rel=1e-6)
    assert found.label.tolist() == [new_label]
    assert found.is_agreed.tolist() == [label == 0]


def test_every_rule_is_in_the_table() -> None:
    assert set(RULES) == {"dmt", "naive", "flip", "ones"} == set(get_args(Rule))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("label", [0, 1, 2])
def test_no_gamma_is_plain_self_training(rule: Rule, label: int) -> None:
    found = weigh(rule, student(*P), torch.tensor([label]), torch.tensor([0.34]), 0.0, 0.0)
    assert found.weight.tolist() == [1.0]
    assert found.label.tolist() == [label]


@pytest.mark.parametrize(
    ("gammas", "label", "confidence", "weight"),
    [
        ((0.0, 3.0), 0, 0.9, 1.0),
        ((0.0, 3.0), 1, 0.9, 0.2**3),
        ((2.0, 0.0), 0, 0.9, 0.7**2),
        ((2.0, 0.0), 1, 0.9, 1.0),
        ((2.0, 0.0), 1, 0.5, 0.0),  # a single γ of zero leaves the third row in force
    ],
)
def test_one_gamma_of_zero(
    gammas: tuple[float, float], label: int, confidence: float, weight: float
) -> None:
    found = weigh("dmt", student(*P), torch.tensor([label]), torch.tensor([confidence]), *gammas)
    assert found.weight.item() == pytest.approx(weight, rel=1e-6)


@pytest.mark.parametrize(("rule", "weight"), [("dmt", 0.2**3), ("flip", 0.2**3)])
def test_equally_sure_counts_for_the_teacher(rule: Rule, weight: float) -> None:
    logits = student(*P)
    tied = predict(logits).confidence
    assert weigh(rule, logits, torch.tensor([1]), tied, 2.0, 3.0).weight.item() == pytest.approx(
        weight, rel=1e-6
    )
    below = torch.nextafter(tied, torch.zeros(1))
    overruled = weigh("dmt", logits, torch.tensor([1]), below, 2.0, 3.0)
    assert overruled.weight.tolist() == [0.0]


def test_of_two_classes_that_tie_the_first_is_the_decision() -> None:
    logits = student(0.4, 0.4, 0.2).repeat(2, 1)
    found = weigh("dmt", logits, torch.tensor([0, 1]), torch.tensor([0.3, 0.3]), 2.0, 3.0)
    assert found.is_agreed.tolist() == [True, False]
    torch.testing.assert_close(found.weight, torch.tensor([0.4**2, 0.0]))


def test_weights_have_no_gradient() -> None:
    logits = student(*P).requires_grad_()
    found = weigh("dmt", logits, torch.tensor([0]), torch.tensor([0.9]), 2.0, 3.0)
    assert not found.weight.requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("rule", RULES)
def test_low_precision_logits_are_weighed_in_float32(rule: Rule, dtype: torch.dtype) -> None:
    logits = (6 * uniform(3, rule, num=500).view(50, 10)).to(dtype)
    label = torch.arange(50) % 10
    confidence = uniform(4, rule, num=50)
    found = weigh(rule, logits, label, confidence, 4.0, 4.0)
    exact = weigh(rule, logits.float(), label, confidence, 4.0, 4.0)
    assert found.weight.dtype == torch.float32
    assert torch.equal(found.weight, exact.weight)


def test_logits_at_the_end_of_float16_give_finite_weights() -> None:
    logits = torch.tensor([[65504.0, -65504.0], [-65504.0, 65504.0]], dtype=torch.float16)
    found = weigh("dmt", logits, torch.tensor([0, 0]), torch.tensor([0.9, 1.0]), 4.0, 4.0)
    assert found.weight.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("rule", RULES)
def test_a_label_that_is_ignored_gets_a_finite_weight(rule: Rule) -> None:
    found = weigh(rule, student(*P), torch.tensor([255]), torch.tensor([0.5]), 2.0, 3.0)
    assert 0 <= found.weight.item() <= 1
    assert not found.is_agreed.item()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("shape", [(1, 2), (7, 10), (3, 4, 5), (2, 21, 3, 5)])
@pytest.mark.parametrize("gammas", [(4.0, 4.0), (1.5, 5.0), (0.0, 2.0), (0.0, 0.0)])
def test_equals_the_reference(
    rule: Rule, shape: tuple[int, ...], gammas: tuple[float, float]
) -> None:
    where = (rule, *shape, *map(str, gammas))
    num, num_classes, *space = shape
    logits = 8 * uniform(1, *where, num=math.prod(shape)).view(shape) - 4
    outputs = (num, *space)
    label = (uniform(2, *where, num=math.prod(outputs)) * num_classes).long().view(outputs)
    confidence = uniform(3, *where, num=math.prod(outputs)).view(outputs)
    found = weigh(rule, logits, label, confidence, *gammas)
    expected = [
        reference.weight_of(rule, row, y, c, *gammas)
        for row, y, c in zip(
            reference.rows_of(logits),
            label.flatten().tolist(),
            confidence.flatten().tolist(),
            strict=True,
        )
    ]
    weights, labels, agreed = (list(column) for column in zip(*expected, strict=True))
    assert found.weight.shape == outputs
    torch.testing.assert_close(
        found.weight.flatten().double(), torch.tensor(weights).double(), rtol=2e-5, atol=1e-9
    )
    assert found.label.flatten().tolist() == labels
    assert found.is_agreed.flatten().tolist() == agreed
