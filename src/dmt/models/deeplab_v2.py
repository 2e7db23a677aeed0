"""DeepLab-v2: dilated convolutions side by side on a backbone; no backbones, no up-sampling."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

ASPP_DILATIONS = (6, 12, 18, 24)


class DeepLabV2(nn.Module):
    """Atrous spatial pyramid pooling on a backbone's last feature map: logits at its size.

    Args:
        backbone: images (B, 3, H, W) to features (B, F, h, w), or to a list that ends with them.
        num_features: F.
        num_classes: K.
        aspp_dilations: of the parallel 3×3 convolutions, in pixels of the feature map.
        align_corners: how whoever brings the logits to the images' size must do it; the authors'
            networks were trained with the corners aligned.

    Raises:
        ValueError: there is no dilation, or one below 1.

    Source: Chen et al., DeepLab, 2017 (arXiv 1606.00915), section 3.2, without its three scales.
    The DMT authors' code returns after two branches, so its figures come from dilations 6 and 12.
    """

    def __init__(
        self,
        backbone: nn.Module,
        num_features: int,
        num_classes: int,
        aspp_dilations: Sequence[int] = ASPP_DILATIONS,
        align_corners: bool = True,
    ) -> None:
        super().__init__()
        if not aspp_dilations or min(aspp_dilations) < 1:
            raise ValueError(f"dilations are at least 1 and at least one, not {aspp_dilations}")
        self.backbone = backbone
        self.align_corners = align_corners
        self.aspp = nn.ModuleList(
            nn.Conv2d(num_features, num_classes, kernel_size=3, padding=each, dilation=each)
            for each in aspp_dilations
        )
        for convolution in self.aspp:
            assert isinstance(convolution, nn.Conv2d)
            assert convolution.bias is not None
            nn.init.normal_(convolution.weight, std=0.01)
            nn.init.zeros_(convolution.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of normalised images, float (B, K, h, w)."""
        found: Tensor | Sequence[Tensor] = self.backbone(images)
        features = found if isinstance(found, Tensor) else found[-1]
        logits: Tensor = self.aspp[0](features)
        for branch in self.aspp[1:]:
            logits = logits + branch(features)
        return logits
