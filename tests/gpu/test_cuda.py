"""What must hold on a CUDA device; skipped visibly where there is none (`-m gpu` selects these)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import dmt
from dmt.core import bits, permuted, predict, uniform, weigh, weighted_cross_entropy
from dmt.data.transforms import Augmentation, strong

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_random_numbers_have_the_same_bits_as_on_the_cpu() -> None:
    index = torch.arange(10_000)
    assert torch.equal(bits(3, "a", index.cuda(), 5).cpu(), bits(3, "a", index, 5))
    assert torch.equal(uniform(3, index.cuda(), num=4).cpu(), uniform(3, index, num=4))
    assert torch.equal(
        permuted(index.cuda(), 10_000, 7, "order").cpu(), permuted(index, 10_000, 7, "order")
    )


@pytest.mark.parametrize("shape", [(64, 10), (4, 21, 33, 17)])
@pytest.mark.parametrize("rule", ["dmt", "naive", "flip", "ones"])
def test_weights_loss_and_gradient_agree_with_the_cpu(shape: tuple[int, ...], rule: str) -> None:
    generator = torch.Generator().manual_seed(0)
    teacher = 3 * torch.randn(shape, generator=generator)
    student = 3 * torch.randn(shape, generator=generator)
    found = []
    for device in ("cpu", "cuda"):
        logits = student.detach().to(device).requires_grad_()
        says = predict(teacher.to(device))
        weighted = weigh(rule, logits, says.label, says.confidence, 4.0, 2.0)  # type: ignore[arg-type]
        valid = torch.ones_like(weighted.label, dtype=torch.bool)
        sums = weighted_cross_entropy(logits, weighted.label, weighted.weight, valid)
        (gradient,) = torch.autograd.grad(sums.mean(), logits)
        found.append((says.label.cpu(), sums.mean().detach().cpu(), gradient.cpu()))
    assert torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found[0][2], found[1][2], rtol=1e-4, atol=1e-7)


def test_views_agree_with_the_cpu() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (256, 3, 32, 32), generator=generator, dtype=torch.uint8)
    slots = torch.arange(256)
    there = strong(images.cuda(), slots, Augmentation(), 1, "stage", 2).cpu()
    here = strong(images, slots, Augmentation(), 1, "stage", 2)
    # Photometric operations round in float32; a level of difference in few pixels is no fault.
    assert ((there.int() - here.int()).abs() <= 1).float().mean() > 0.999


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_run_learns_and_repeats_itself(tmp_path: Path, precision: str) -> None:
    settings = {
        "device": "cuda",
        "precision": precision,
        "steps": 120,
        "rounds": 2,
        "baseline": "none",
        "labels_per_class": 20,
    }
    first = dmt.train("digits", out=str(tmp_path / "1"), **settings)
    again = dmt.train("digits", out=str(tmp_path / "2"), **settings)
    assert first.summary.peers["a"] is not None
    assert first.summary.peers["a"] < 40
    assert first.summary.peers == again.summary.peers
