"""The wide residual network for small images, written out; no specs, weights or preprocessing."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

STRIDE = 4  # of the last feature map to the image: two of the three groups halve it
MIN_IMAGE_SIZE = 8  # below, the last group sees a single pixel, which is no image any more


class _Trunk(nn.Module):
    """All of a wide ResNet but what is made of its last feature map; whoever inherits starts it."""

    def __init__(self, depth: int, width: int, in_channels: int) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"the depth of a wide ResNet is 6n + 4 and at least 10, not {depth}")
        if min(width, in_channels) < 1:
            raise ValueError("width and in_channels must be at least 1")
        num_blocks = (depth - 4) // 6
        channels = [16, 16 * width, 32 * width, 64 * width]
        self.stem = _conv3x3(in_channels, channels[0])
        self.group1 = _group(num_blocks, channels[0], channels[1], stride=1)
        self.group2 = _group(num_blocks, channels[1], channels[2], stride=2)
        self.group3 = _group(num_blocks, channels[2], channels[3], stride=2)
        self.norm = nn.BatchNorm2d(channels[3])
        self.num_features = channels[3]

    def _features(self, images: Tensor) -> Tensor:
        features = self.group3(self.group2(self.group1(self.stem(images))))
        return F.relu(self.norm(features), inplace=True)

    def _start_convolutions(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class WideResNet(_Trunk):
    """WRN-`depth`-`width`: three groups of pre-activation blocks and a global average.

    Args:
        depth: number of convolutions, the three 1×1 ones among them; 6n + 4 for n blocks a group.
        width: factor on the 16, 32 and 64 channels of the groups.
        num_classes: K.
        in_channels: C of the images.

    Raises:
        ValueError: the depth is not 6n + 4 with n ≥ 1, or another number is below 1.

    Source: Zagoruyko and Komodakis, Wide Residual Networks, 2016 (arXiv 1605.07146). ReLU, no
    dropout, torch's own BatchNorm constants. WRN-28-2 has 1.47 M parameters for ten classes.
    """

    def __init__(self, depth: int, width: int, num_classes: int, in_channels: int = 3) -> None:
        super().__init__(depth, width, in_channels)
        if num_classes < 1:
            raise ValueError("num_classes must be at least 1")
        self.classifier = nn.Linear(self.num_features, num_classes)
        self._start_convolutions()
        nn.init.zeros_(self.classifier.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of normalised images.

        Args:
            images: float (B, C, H, W), H and W at least 8, any memory format.

        Returns:
            float (B, K).
        """
        logits: Tensor = self.classifier(self._features(images).mean(dim=(2, 3)))
        return logits


class WideResNetFeatures(_Trunk):
    """WRN-`depth`-`width` without its average and classifier, a backbone of stride 4.

    Its tensors have the names that they have in `WideResNet`.

    Args:
        depth, width, in_channels: as of `WideResNet`.

    Raises:
        ValueError: as `WideResNet`.
    """

    def __init__(self, depth: int, width: int, in_channels: int = 3) -> None:
        super().__init__(depth, width, in_channels)
        self._start_convolutions()

    def forward(self, images: Tensor) -> Tensor:
        """The last feature map of normalised images.

        Args:
            images: float (B, C, H, W), any memory format.

        Returns:
            float (B, `num_features`, ⌈H/4⌉, ⌈W/4⌉), at least 0.
        """
        return self._features(images)


class _Block(nn.Module):
    """BN-ReLU-conv twice, added to the input; where the shape changes, a 1×1 conv replaces it."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = _conv3x3(in_channels, out_channels, stride)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.conv2 = _conv3x3(out_channels, out_channels)
        self.shortcut = (
            None
            if in_channels == out_channels and stride == 1
            else nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        active = F.relu(self.norm1(inputs), inplace=True)
        residual: Tensor = self.conv2(F.relu(self.norm2(self.conv1(active)), inplace=True))
        # A projection starts from the activated input, as in the paper; an identity does not.
        kept: Tensor = inputs if self.shortcut is None else self.shortcut(active)
        return residual.add_(kept)  # nobody looks at it again, and a third of the memory is saved


def _conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False)


def _group(num_blocks: int, in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    first = _Block(in_channels, out_channels, stride)
    rest = [_Block(out_channels, out_channels, 1) for _ in range(num_blocks - 1)]
    return nn.Sequential(first, *rest)
