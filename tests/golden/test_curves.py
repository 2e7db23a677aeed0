"""Seeded loss curves of tiny networks on the CPU: a change of the numbers must be meant.

To write them anew: `DMT_WRITE_GOLDEN=1 pytest tests/golden/test_curves.py`, then look at the
difference in `curves.json` and say in the change why it is right.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dmt.core import IGNORE_INDEX, uniform
from dmt.core.weighting import Rule
from dmt.data.scene_views import SceneAugmentation, cut_image, cut_plane, place
from dmt.engine.fit import FitSpec, Learner, Tally, fit
from dmt.engine.runtime import Runtime
from dmt.engine.step import Batch, Position
from dmt.methods.mutual import WeightedPseudoLabels

FILE = Path(__file__).with_name("curves.json")
NUM_STEPS = 12
TOLERANCE = 1e-4  # relative: vector widths and versions of torch round differently
CASES: list[tuple[Rule, float]] = [("dmt", 0.0), ("dmt", 0.75), ("ones", 0.0), ("ones", 0.75)]


def make_net() -> nn.Module:
    """Weights from our own hash: torch's initialisation may change between versions."""
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 5),
    )
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if parameter.ndim > 1:
                drawn = uniform(0, name, num=parameter.numel()).view(parameter.shape)
                parameter.copy_((drawn - 0.5) * (12 / parameter[0].numel()) ** 0.5)
    net[5].bias = nn.Parameter(torch.zeros(5))
    return net


def view(batch: Batch, position: Position) -> Batch:
    """As floats around 0, since the network has no normalisation of its own."""
    return batch._replace(images=batch.images.float() / 64 - 2)


def make_batch(step: int) -> Batch:
    """16 images with a class's tint, 4 of them labeled, a quarter of the pseudo labels wrong."""
    true = torch.arange(16) % 5
    tint = uniform(1, "tint", num=15).view(5, 3)[true].view(16, 3, 1, 1)
    noise = uniform(2, "noise", step, torch.arange(16), num=3 * 36).view(16, 3, 6, 6)
    is_labeled = torch.arange(16) < 4
    is_wrong = ~is_labeled & (uniform(3, "wrong", step, num=16) < 0.25)
    confidence: Tensor = 0.4 + 0.6 * uniform(4, "sure", step, num=16)
    return Batch(
        ids=torch.arange(16),
        slots=torch.arange(16),
        images=(130 * tint + 120 * noise).to(torch.uint8),
        label=torch.where(is_wrong, (true + 1) % 5, true),
        confidence=torch.where(is_labeled, 1.0, confidence),
        valid=torch.ones(16, dtype=torch.bool),
        is_labeled=is_labeled,
    )


def curve(rule: Rule, mixup: float) -> list[float]:
    """The loss of every step."""
    losses: list[float] = []
    spec = FitSpec(NUM_STEPS, 16, 4, 0.1, mixup=mixup, ema_decay=0.9)
    method = WeightedPseudoLabels(
        view, 5, rule=rule, agreement_gamma=2.0, disagreement_gamma=2.0, has_ramp=True,
        mixup=mixup, keep_max=True, num_blocks=spec.num_blocks,
    )  # fmt: skip
    fit(
        {"student": Learner(make_net(), spec)},
        method,
        ((Position(0, "round1/a", s, NUM_STEPS), make_batch(s)) for s in range(NUM_STEPS)),
        Runtime(torch.device("cpu")),
        tally=Tally(),
        scaler=torch.amp.GradScaler("cpu", enabled=False),
        after_step=lambda position, sums: losses.append((sums or {})["loss"]),
    )
    return losses


def check(name: str, found: list[float]) -> None:
    """Compare with the file, or write it anew where that is asked for."""
    stored = json.loads(FILE.read_text()) if FILE.exists() else {}
    if os.environ.get("DMT_WRITE_GOLDEN"):
        stored[name] = [float(f"{loss:.7g}") for loss in found]
        FILE.write_text(json.dumps(stored, indent=1) + "\n")
    assert found == pytest.approx(stored[name], rel=TOLERANCE)


SCENES: list[Rule] = ["dmt", "ones"]
CUT = SceneAugmentation(crop=(16, 20), scale=(1.0, 1.0))  # no zoom: how pixels are blended differs


class Pixels(nn.Module):
    """Logits at half the images' size, brought to it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 4, 1, bias=False),
        )
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if parameter.ndim > 1:
                    drawn = uniform(0, name, num=parameter.numel()).view(parameter.shape)
                    parameter.copy_((drawn - 0.5) * (12 / parameter[0].numel()) ** 0.5)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images)
        return nn.functional.interpolate(
            logits, size=images.shape[-2:], mode="bilinear", align_corners=True
        )


def scene_batch(step: int) -> Batch:
    """8 crops of scenes smaller and larger than they are; 2 are labeled, some pixels left out."""
    images, labels, confidences = [], [], []
    for slot in range(8):
        height, width = 14 + 3 * (slot % 3), 26 - 4 * (slot % 3)
        kind = (uniform(5, "kind", step, slot, num=16) * 4).long().view(4, 4)
        true = kind.repeat_interleave(height // 4 + 1, 0).repeat_interleave(width // 4 + 1, 1)
        true = true[:height, :width]
        tint = uniform(1, "tint", num=12).view(4, 3)[true]
        noise = uniform(2, "noise", step, slot, num=3 * height * width).view(height, width, 3)
        chance = uniform(3, "wrong", step, slot, num=2 * height * width).view(2, height, width)
        label = torch.where(chance[0] < (0.0 if slot < 2 else 0.25), (true + 1) % 4, true)
        label = torch.where(chance[1] < 0.1, IGNORE_INDEX, label)
        sure = 0.4 + 0.6 * uniform(4, "sure", step, slot, num=height * width)
        where = place((height, width), CUT, 0, "round1/a", step, slot=slot)
        image = (130 * tint + 120 * noise).to(torch.uint8).numpy()
        images.append(cut_image(image, where, CUT.crop))
        labels.append(cut_plane(label.numpy(), where, CUT.crop, IGNORE_INDEX))
        plane = torch.ones(height, width) if slot < 2 else sure.view(height, width)
        confidences.append(cut_plane(plane.numpy(), where, CUT.crop, 0.0))
    label = torch.from_numpy(np.stack(labels))
    return Batch(
        ids=torch.arange(8),
        slots=torch.arange(8),
        images=torch.from_numpy(np.stack(images)),
        label=label,
        confidence=torch.from_numpy(np.stack(confidences)),
        valid=label != IGNORE_INDEX,
        is_labeled=torch.arange(8) < 2,
    )


def scene_curve(rule: Rule) -> list[float]:
    """The loss of every step of a segmentation."""
    losses: list[float] = []
    spec = FitSpec(NUM_STEPS, 8, 2, 0.1, mixup=0.0, ema_decay=0.9, lr_schedule="poly")
    method = WeightedPseudoLabels(
        view, 4, rule=rule, agreement_gamma=5.0, disagreement_gamma=5.0, has_ramp=False,
        mixup=0.0, keep_max=True, num_blocks=spec.num_blocks,
    )  # fmt: skip
    fit(
        {"student": Learner(Pixels(), spec)},
        method,
        ((Position(0, "round1/a", s, NUM_STEPS), scene_batch(s)) for s in range(NUM_STEPS)),
        Runtime(torch.device("cpu")),
        tally=Tally(),
        scaler=torch.amp.GradScaler("cpu", enabled=False),
        after_step=lambda position, sums: losses.append((sums or {})["loss"]),
    )
    return losses


@pytest.mark.parametrize("rule", SCENES)
def test_the_curve_of_scenes_is_as_it_was(rule: Rule) -> None:
    check(f"scenes, {rule}", scene_curve(rule))


@pytest.mark.parametrize(("rule", "mixup"), CASES)
def test_the_curve_is_as_it_was(rule: Rule, mixup: float) -> None:
    check(f"{rule}, mixup {mixup}", curve(rule, mixup))


def test_a_curve_repeats_to_the_bit() -> None:
    assert curve("dmt", 0.75) == curve("dmt", 0.75)
    assert scene_curve("dmt") == scene_curve("dmt")


def test_the_curves_differ_and_fall() -> None:
    stored: dict[str, list[float]] = json.loads(FILE.read_text())
    assert len({tuple(losses) for losses in stored.values()}) == len(CASES) + len(SCENES)
    for losses in stored.values():
        assert sum(losses[-4:]) < sum(losses[:4])
