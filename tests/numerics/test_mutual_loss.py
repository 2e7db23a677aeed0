"""The loss in one go: the same value and gradient as its parts one after the other, whatever the
tiles, types and values, and what it holds in memory. Its parts are tested in their own files."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dmt.core import (
    IGNORE_INDEX,
    RULES,
    LossSums,
    Weighted,
    mutual_cross_entropy,
    tiles,
    uniform,
    weigh,
    weighted_cross_entropy,
)
from dmt.core.weighting import Rule

SHAPES = [(1, 2), (6, 3), (33, 10), (2, 4, 3), (3, 21, 17, 19)]


def made(shape: tuple[int, ...], spread: float = 6.0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits, labels (some ignored), confidences, and which were given."""
    num, num_classes, *space = shape
    outputs = (num, *space)
    size = math.prod(outputs)
    logits = spread * (uniform(0, num=math.prod(shape)).view(shape) - 0.5)
    label = (uniform(1, num=size) * num_classes).long()
    label[uniform(2, num=size) < 0.2] = IGNORE_INDEX
    given = (torch.arange(num) % 3 == 0).view(-1, *[1] * len(space))
    return logits, label.view(outputs), uniform(3, num=size).view(outputs), given


def parts(
    rule: Rule, logits: Tensor, label: Tensor, confidence: Tensor, given: Tensor, valid: Tensor
) -> tuple[LossSums, Weighted]:
    """What `mutual_cross_entropy` says it is."""
    found = weigh(rule, logits.detach(), label, confidence, 4.0, 2.0)
    weight = torch.where(given, 1.0, found.weight)
    learned = torch.where(given, label, found.label)
    sums = weighted_cross_entropy(logits, learned, weight, valid)
    return sums, Weighted(weight, learned, found.is_agreed)


def both(rule: Rule, logits: Tensor, *rest: Tensor) -> tuple[tuple[Tensor, ...], ...]:
    """Total, gradient and the rule's planes, in one go and in parts."""
    label, confidence, given = rest
    valid = label != IGNORE_INDEX
    results = []
    for is_whole in (True, False):
        leaf = logits.clone().requires_grad_()
        if is_whole:
            sums, found = mutual_cross_entropy(
                rule, leaf, label, confidence, given, valid, 4.0, 2.0
            )
        else:
            sums, found = parts(rule, leaf, label, confidence, given, valid)
        sums.mean().backward()
        assert leaf.grad is not None
        assert int(sums.num_valid) == int(valid.sum())
        planes = (each[valid] for each in found)
        results.append((sums.total.detach(), leaf.grad, *planes))
    return tuple(results)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rule", RULES)
def test_it_is_its_parts_one_after_the_other(rule: Rule, shape: tuple[int, ...]) -> None:
    whole, in_parts = both(rule, *made(shape))
    for one, other in zip(whole, in_parts, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("size", [1, 7, 64, 5000])
def test_tiles_change_nothing_but_rounding(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    case = made((3, 21, 17, 19))
    expected, _ = both("dmt", *case)
    monkeypatch.setattr(tiles, "_CPU_TILE", size)
    found, _ = both("dmt", *case)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("shape", "limit"), [((5, 21, 1), 42), ((3, 2, 7), 8), ((1, 3, 1000), 300), ((0, 3, 4), 12)]
)
def test_tiles_cover_every_pixel_once(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int, int], limit: int
) -> None:
    monkeypatch.setattr(tiles, "_CPU_TILE", limit)
    seen = torch.zeros(shape[0], shape[2])
    for rows, pixels in tiles.places(shape, torch.device("cpu")):
        assert seen[rows, pixels].numel() * shape[1] <= limit
        seen[rows, pixels] += 1
    assert torch.equal(seen, torch.ones_like(seen))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_taken_in_float32(dtype: torch.dtype) -> None:
    logits, *rest = made((3, 21, 17, 19))
    half = logits.to(dtype)
    (total, gradient, weight, *_), _ = both("dmt", half, *rest)
    (exact, exact_gradient, exact_weight, *_), _ = both("dmt", half.float(), *rest)
    assert torch.equal(total, exact)
    assert torch.equal(weight, exact_weight)
    assert gradient.dtype == dtype
    assert torch.equal(gradient, exact_gradient.to(dtype))


def test_channels_last_changes_nothing_but_rounding_and_stays() -> None:
    logits, *rest = made((3, 21, 17, 19))
    expected, _ = both("dmt", logits, *rest)
    found, _ = both("dmt", logits.to(memory_format=torch.channels_last), *rest)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("rule", RULES)
def test_extreme_logits_have_a_finite_loss(rule: Rule) -> None:
    logits, label, confidence, given = made((4, 5, 3, 3), spread=2e4)
    whole, in_parts = both(rule, logits, label, confidence, given)
    assert all(bool(each.isfinite().all()) for each in whole)
    for one, other in zip(whole, in_parts, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("rule", RULES)
def test_nothing_valid_is_a_loss_and_a_gradient_of_zero(rule: Rule) -> None:
    logits, label, confidence, given = made((2, 3, 2, 2))
    nothing = torch.full_like(label, IGNORE_INDEX)
    leaf = logits.requires_grad_()
    valid = torch.zeros_like(label, dtype=torch.bool)
    sums, _ = mutual_cross_entropy(rule, leaf, nothing, confidence, given, valid, 4.0, 2.0)
    sums.mean().backward()
    assert (sums.total.item(), int(sums.num_valid)) == (0, 0)
    assert leaf.grad is not None
    assert torch.equal(leaf.grad, torch.zeros_like(leaf))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_not_hidden(bad: float) -> None:
    logits, label, confidence, given = made((2, 3, 2, 2))
    label[label == IGNORE_INDEX] = 0
    logits[1, 2, 0, 1] = bad
    valid = torch.ones_like(label, dtype=torch.bool)
    sums, _ = mutual_cross_entropy("dmt", logits, label, confidence, given, valid, 4.0, 2.0)
    assert not bool(sums.total.isfinite())


@pytest.mark.parametrize("labels", [(0, 1), (1, 0)])
def test_of_equally_likely_classes_the_first_is_the_decision(labels: tuple[int, int]) -> None:
    logits = torch.tensor([[2.0, 2.0, -1.0], [2.0, 2.0, -1.0]])
    valid, no = torch.ones(2, dtype=torch.bool), torch.zeros(2, dtype=torch.bool)
    _, found = mutual_cross_entropy(
        "dmt", logits, torch.tensor(labels), torch.tensor([0.1, 0.1]), no, valid, 4.0, 2.0
    )
    assert found.is_agreed.tolist() == [each == 0 for each in labels]
    assert [weight > 0 for weight in found.weight.tolist()] == [each == 0 for each in labels]


def test_gradcheck_in_float64_and_a_second_gradient() -> None:
    logits, label, *_ = made((3, 4, 2, 2))
    valid = label != IGNORE_INDEX
    weight = uniform(9, num=label.numel()).view(label.shape)

    def total(values: Tensor) -> Tensor:
        return weighted_cross_entropy(values, label, weight, valid).total

    leaf = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(total, (leaf,))
    loss = 3 * total(leaf)
    first, second = (torch.autograd.grad(loss, leaf, retain_graph=True)[0] for _ in range(2))
    torch.testing.assert_close(first, second)


class _Largest(torch.utils._python_dispatch.TorchDispatchMode):
    """Counts tensors of at least so many elements that operations make anew."""

    def __init__(self, num: int) -> None:
        super().__init__()
        self.num, self.made = num, set[int]()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.numel() >= self.num:
            self.made.add(result.untyped_storage().data_ptr())
        return result


def test_nothing_but_the_gradient_is_as_large_as_the_logits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tiles, "_CPU_TILE", 21 * 100)
    logits, label, confidence, given = made((4, 21, 20, 20))
    valid = label != IGNORE_INDEX
    leaf = logits.requires_grad_()
    with _Largest(leaf.numel()) as seen:
        sums, _ = mutual_cross_entropy("dmt", leaf, label, confidence, given, valid, 4.0, 2.0)
        sums.mean().backward()
    assert len(seen.made - {leaf.untyped_storage().data_ptr()}) == 1
