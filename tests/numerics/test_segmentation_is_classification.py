"""A 1×1 segmentation is a classification, to the bit: "per image or per pixel" is no branch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dmt.core import (
    RULES,
    break_ties,
    cut_histogram,
    draw_mix,
    histogram,
    is_selected,
    predict,
    tie_bits,
    uniform,
    weigh,
    weighted_cross_entropy,
)
from dmt.core.weighting import Rule

# Odd sizes, and more classes than a vector register holds: where kernels take other paths.
SIZES = [(1, 2), (7, 3), (64, 10), (33, 21), (5, 1000)]
DTYPES = [torch.float16, torch.bfloat16, torch.float32]


def made(num: int, num_classes: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    logits = (12 * uniform(1, num=num * num_classes).view(num, num_classes) - 6).to(dtype)
    label = (uniform(2, num=num) * num_classes).long()
    return logits, label, uniform(3, num=num), uniform(4, num=num) < 0.8


def pixel(value: Tensor) -> Tensor:
    return value.unsqueeze(-1).unsqueeze(-1)


def same(image: Tensor, pixels: Tensor) -> None:
    assert image.dtype == pixels.dtype
    assert torch.equal(pixel(image), pixels)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_predict(size: tuple[int, int], dtype: torch.dtype) -> None:
    logits, *_ = made(*size, dtype)
    for image, pixels in zip(predict(logits), predict(pixel(logits)), strict=True):
        same(image, pixels)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rule", RULES)
def test_weigh(rule: Rule, size: tuple[int, int], dtype: torch.dtype) -> None:
    logits, label, confidence, _ = made(*size, dtype)
    of_image = weigh(rule, logits, label, confidence, 4.0, 3.0)
    of_pixel = weigh(rule, pixel(logits), pixel(label), pixel(confidence), 4.0, 3.0)
    for image, pixels in zip(of_image, of_pixel, strict=True):
        same(image, pixels)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("is_mixed", [False, True])
def test_loss_and_gradient(size: tuple[int, int], dtype: torch.dtype, is_mixed: bool) -> None:
    logits, label, weight, valid = made(*size, dtype)
    image, pixels = logits.clone().requires_grad_(), pixel(logits).requires_grad_()
    if is_mixed:
        mix = draw_mix(size[0], 0.75, 0)
        target = mix(F.one_hot(label, size[1]).float())
        of_pixel = mix(F.one_hot(pixel(label), size[1]).movedim(-1, 1).float())
        same(target, of_pixel)
    else:
        target, of_pixel = label, pixel(label)
    one = weighted_cross_entropy(image, target, weight, valid)
    other = weighted_cross_entropy(pixels, of_pixel, pixel(weight), pixel(valid))
    assert torch.equal(one.total, other.total)
    assert torch.equal(one.num_valid, other.num_valid)
    one.mean().backward()
    other.mean().backward()
    assert image.grad is not None
    assert pixels.grad is not None
    same(image.grad, pixels.grad)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("size", SIZES[:-1])  # a histogram of 1000 classes is half a gigabyte
def test_selection(size: tuple[int, int], balanced: bool) -> None:
    logits, *_ = made(*size, torch.float32)
    kept = []
    for each in (logits, pixel(logits)):
        label, _, code = predict(each)
        ties = tie_bits(0, torch.arange(size[0])).view(label.shape)
        cut = cut_histogram(histogram(label, code, size[1]), 0.4, is_class_balanced=balanced)
        tied = code == cut.code[label]
        cut = break_ties(cut, label[tied], ties[tied])
        kept.append(is_selected(label, code, ties, cut))
    same(*kept)
