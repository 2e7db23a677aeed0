"""Sharpening, squared error, counts, the surest labels of a batch, FreeMatch's thresholds and
fairness, and CutMix's boxes, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from dmt.core import (
    NUM_CODES,
    class_counts,
    class_thresholds,
    draw_paste,
    fairness,
    predict,
    sharpen,
    squared_error,
    surest,
)

SLOTS = torch.arange(64)


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [(1.0, [0.6, 0.4]), (0.5, [0.36 / 0.52, 0.16 / 0.52]), (0.01, [1.0, 0.0])],
)
def test_sharpening(temperature: float, expected: list[float]) -> None:
    sharp = sharpen(torch.tensor([[0.6, 0.4]]), temperature)
    torch.testing.assert_close(sharp, torch.tensor([expected]), atol=1e-6, rtol=1e-6)


def test_squared_error() -> None:
    """(½ − 1)² + 2 · (¼)² = 0.375; what is not valid adds nothing and is not counted."""
    logits = torch.tensor([[0.5, 0.25, 0.25], [0.9, 0.05, 0.05]]).log()
    target = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    sums = squared_error(logits, target, torch.tensor([True, False]))
    assert sums.total.item() == pytest.approx(0.375)
    assert sums.num_valid.item() == 1


def test_squared_error_of_one_pixel_is_that_of_an_image() -> None:
    logits, target = torch.randn(4, 3), torch.rand(4, 3).softmax(1)
    image = squared_error(logits, target, torch.ones(4, dtype=torch.bool))
    pixel = squared_error(
        logits[:, :, None, None], target[:, :, None, None], torch.ones(4, 1, 1, dtype=torch.bool)
    )
    assert torch.equal(image.total, pixel.total)


def test_class_counts_leave_out_what_is_not_valid() -> None:
    label = torch.tensor([[0, 2], [2, -1], [255, 0]])
    valid = torch.tensor([[True, True], [True, False], [False, False]])
    assert class_counts(label, valid, 4).tolist() == [1, 0, 2, 0]


_CALLED = torch.tensor([0, 0, 0, 0, 1, 1, 3, 3])
_CODE = torch.tensor([90, 80, 70, NUM_CODES - 1, 10, 0, 60, 65])
_VALID = torch.tensor([True, True, True, True, True, True, True, False])


@pytest.mark.parametrize(
    ("fraction", "is_class_balanced", "kept"),
    [
        (0.5, True, [0, 3, 4, 6]),  # half of each class: 2 of 4, 1 of 2, and the only one of 3
        (0.1, True, [3, 4, 6]),  # at least one of each
        (0.5, False, [0, 1, 2, 3]),  # 3.5 of 7, halves up
        (1.0, True, [0, 1, 2, 3, 4, 5, 6]),
        (1.0, False, [0, 1, 2, 3, 4, 5, 6]),
        (1e-9, False, [3]),
    ],
)
def test_the_surest_of_a_batch(fraction: float, is_class_balanced: bool, kept: list[int]) -> None:
    found = surest(_CALLED, _CODE, _VALID, fraction, 4, is_class_balanced=is_class_balanced)
    assert found.nonzero().flatten().tolist() == kept


def test_labels_as_sure_as_the_last_of_the_surest_are_kept_too() -> None:
    code = torch.tensor([5, 7, 5, 5, 3])
    found = surest(torch.zeros_like(code), code, code > 0, 0.4, 2, is_class_balanced=False)
    assert found.tolist() == [True, True, True, True, False]


def test_the_surest_of_two_ranks_are_those_of_one() -> None:
    logits = 9 * torch.randn(6, 3, 5, 7)
    label, _, code = predict(logits)
    valid = torch.rand(6, 5, 7) > 0.2
    whole = surest(label, code, valid, 0.3, 3, is_class_balanced=True)
    assert 0 < whole.sum() < 0.4 * valid.sum()
    sent: list[torch.Tensor] = []
    parts = [slice(0, 3), slice(3, 6)]
    for part in parts:  # what each sends
        surest(
            label[part], code[part], valid[part], 0.3, 3, is_class_balanced=True,
            gather=lambda own: sent.append(own) or own,  # type: ignore[func-returns-value]
        )  # fmt: skip
    found = [
        surest(
            label[part], code[part], valid[part], 0.3, 3, is_class_balanced=True,
            gather=lambda own: torch.cat(sent),
        )
        for part in parts
    ]  # fmt: skip
    assert torch.equal(torch.cat(found), whole)


def test_nothing_is_surest_where_nothing_is_valid() -> None:
    none = torch.zeros(4, dtype=torch.bool)
    for is_class_balanced in (True, False):
        found = surest(
            torch.zeros(4, dtype=torch.int64), torch.arange(4), none, 0.5, 2,
            is_class_balanced=is_class_balanced,
        )  # fmt: skip
        assert not found.any()


def test_class_thresholds() -> None:
    found = class_thresholds(torch.tensor(0.8), torch.tensor([0.5, 0.25, 0.125]))
    torch.testing.assert_close(found, torch.tensor([0.8, 0.4, 0.2]))


def test_fairness_is_a_cross_entropy_of_shares() -> None:
    half = torch.tensor([0.5, 0.5])
    found = fairness(half, half, torch.tensor([0.8, 0.2]), half)
    assert found.item() == pytest.approx(0.5 * (math.log(0.8) + math.log(0.2)), rel=1e-5)


def test_fairness_divides_by_how_often_a_class_is_called() -> None:
    """p̄ / h̄ is (1, 1): called as often as expected, though not alike often."""
    share = torch.tensor([0.75, 0.25])
    found = fairness(share, share, share, share)
    assert found.item() == pytest.approx(-math.log(2), rel=1e-5)


def test_fairness_leaves_out_what_the_batch_does_not_call() -> None:
    third = torch.full((3,), 1 / 3)
    found = fairness(third, third, torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.5, 0.5, 0.0]))
    expected = (math.log(1.4 / 1.8) + math.log(0.4 / 1.8)) / 3
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_fairness_has_the_published_sign() -> None:
    """A step against the gradient brings the mean prediction away from the aim."""
    mean = torch.tensor([0.8, 0.2], requires_grad=True)
    half = torch.tensor([0.5, 0.5])
    fairness(half, half, mean, half).backward()
    assert mean.grad is not None
    assert mean.grad[0] < 0 < mean.grad[1]


def test_of_nothing_fairness_is_zero() -> None:
    nothing, half = torch.zeros(2, requires_grad=True), torch.tensor([0.5, 0.5])
    found = fairness(half, half, nothing, torch.zeros(2))
    found.backward()
    assert found.item() == 0
    assert nothing.grad is not None
    assert not nothing.grad.any()


def test_boxes_are_half_of_the_area_and_come_from_the_neighbour() -> None:
    paste = draw_paste(SLOTS, (40, 60), 1.0, 0, "round0/a", 3)
    share = paste.is_pasted.float().mean(dim=(1, 2))
    assert (share - 0.5).abs().max() < 0.03
    assert torch.equal(paste.partner, SLOTS ^ 1)
    assert len({tuple(box.flatten().tolist()) for box in paste.is_pasted}) > 60
    values = SLOTS.view(-1, 1, 1).expand(64, 40, 60)
    mixed = paste(values)
    assert torch.equal(mixed[paste.is_pasted], (values ^ 1)[paste.is_pasted])
    assert torch.equal(mixed[~paste.is_pasted], values[~paste.is_pasted])
    assert torch.equal(paste(values.unsqueeze(1))[:, 0], mixed)


def test_some_views_get_no_box_and_the_last_of_an_odd_number_none() -> None:
    paste = draw_paste(SLOTS, (8, 8), 0.5, 0, "x")
    assert 0.2 < paste.is_pasted.any(dim=2).any(dim=1).float().mean() < 0.8
    assert not draw_paste(SLOTS, (8, 8), 0.0, 0, "x").is_pasted.any()
    odd = draw_paste(SLOTS[:3], (8, 8), 1.0, 0, "x")
    assert odd.partner.tolist() == [1, 0, 2]


def test_two_ranks_paste_as_one() -> None:
    whole = draw_paste(SLOTS, (8, 8), 0.7, 5, "x", 1)
    halves = [draw_paste(part, (8, 8), 0.7, 5, "x", 1) for part in SLOTS.chunk(2)]
    assert torch.equal(whole.is_pasted, torch.cat([half.is_pasted for half in halves]))
    assert torch.equal(whole.partner, torch.cat([halves[0].partner, halves[1].partner + 32]))
