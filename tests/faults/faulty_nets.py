"""Small networks that break when a test says so, as `faulty_nets:classifier` names them. No tests.

`FAULT` names what breaks, `STEPS` counts the forward passes of training; a test replaces both.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

FAULT = ("none", 0)
STEPS = itertools.count(1)

_WHITE = 1.5  # normalised; nothing but an all-white image is above it everywhere


class Net(nn.Module):
    """One convolution with BatchNorm; a class an image or a pixel."""

    def __init__(self, num_classes: int, *, is_dense: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, num_classes, 1),
        )
        self.is_dense = is_dense

    def forward(self, images: Tensor) -> Tensor:
        kind, number = FAULT
        is_white = images.flatten(1).amin(dim=1) > _WHITE
        is_broken = kind == "white" or (kind == "white-labeling" and not self.training)
        if is_broken:
            images = images.masked_fill(is_white.view(-1, 1, 1, 1), torch.nan)
        logits: Tensor = self.layers(images)
        if self.training and torch.is_grad_enabled() and next(STEPS) == number:
            if kind == "loss":
                logits = logits * torch.nan
            elif kind == "gradient":
                logits.register_hook(lambda gradient: gradient * torch.nan)
        return logits if self.is_dense else logits.mean(dim=(2, 3))


def classifier(num_classes: int) -> nn.Module:
    """For images with one label each."""
    return Net(num_classes, is_dense=False)


def segmenter(num_classes: int) -> nn.Module:
    """For images with a label for every pixel."""
    return Net(num_classes, is_dense=True)
