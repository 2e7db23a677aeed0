"""What a model decides, how sure it is, and the 16-bit code of that."""

from __future__ import annotations

import math

import pytest
import reference
import torch

from dmt.core import NUM_CODES, decode_confidence, encode_confidence, predict, uniform


def test_a_prediction_by_hand() -> None:
    found = predict(torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]).log())
    assert found.label.tolist() == [0, 2]
    assert found.label.dtype == torch.int64
    assert found.confidence.tolist() == pytest.approx([0.7, 0.6])
    assert decode_confidence(found.code).tolist() == pytest.approx([0.7, 0.6], abs=3e-4)


@pytest.mark.parametrize("shape", [(1, 2), (5, 10), (3, 4, 6), (2, 3, 4, 5)])
def test_equals_the_reference(shape: tuple[int, ...]) -> None:
    logits = 10 * uniform(1, *shape, num=math.prod(shape)).view(shape)
    found = predict(logits)
    expected = [reference.decide(row) for row in reference.rows_of(logits)]
    assert found.label.shape == found.confidence.shape == found.code.shape == (shape[0], *shape[2:])
    assert found.label.flatten().tolist() == [label for label, _ in expected]
    assert found.confidence.flatten().tolist() == pytest.approx([sure for _, sure in expected])


def test_of_classes_that_tie_the_first_is_taken() -> None:
    found = predict(torch.tensor([[0.0, 2.0, 2.0], [1.0, 1.0, 1.0]]))
    assert found.label.tolist() == [1, 0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_logits_are_read_in_float32(dtype: torch.dtype) -> None:
    logits = (9 * uniform(2, num=400).view(40, 10)).to(dtype)
    for low, full in zip(predict(logits), predict(logits.float()), strict=True):
        assert torch.equal(low, full)


def test_codes_tell_apart_what_float32_cannot() -> None:
    found = predict(torch.tensor([[20.0, 0.0], [25.0, 0.0], [30.0, 0.0]]))
    assert found.confidence[1:].tolist() == [1.0, 1.0]
    assert found.code[0] < found.code[1] < found.code[2] < NUM_CODES - 1


def test_codes_rise_with_confidence() -> None:
    margin = torch.linspace(0, 40, 4001)
    found = predict(torch.stack([margin, torch.zeros_like(margin)], dim=1))
    assert bool((found.code.diff() >= 0).all())
    assert bool((found.confidence.diff() >= 0).all())
    assert found.code.unique().numel() > 3000


def test_every_code_is_its_own_and_a_higher_one_is_surer() -> None:
    code = torch.arange(NUM_CODES)
    confidence = decode_confidence(code)
    assert confidence.dtype == torch.float32
    assert confidence[0] == 0
    assert bool((confidence.diff() >= 0).all())
    assert bool((confidence <= 1).all())
    below = code[confidence < 0.999]
    again = encode_confidence(torch.log1p(-confidence[below].double()))
    assert torch.equal(again.long(), below)


@pytest.mark.parametrize("confidence", [0.0, 0.1, 0.5, 0.9, 0.99, 0.9999])
def test_a_code_is_within_half_a_step_of_the_truth(confidence: float) -> None:
    code = encode_confidence(torch.tensor(math.log1p(-confidence)))
    error = abs(float(decode_confidence(code)) - confidence)
    assert error <= 2.5e-4 * (1 - confidence) + 1e-7


def test_the_ends_of_the_codes() -> None:
    code = encode_confidence(torch.tensor([0.0, -32.0, -1000.0, -math.inf]))
    assert code.tolist() == [0, NUM_CODES - 1, NUM_CODES - 1, NUM_CODES - 1]
    assert code.dtype == torch.int32
