"""From a model's name to a network that takes images as they are; weights files are not here."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dmt.errors import EnvironmentFault, SettingError
from dmt.models import classifiers, factories, segmenters, timm_models
from dmt.models.network import (
    CIFAR10_MEAN,
    CIFAR10_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    ChannelOrder,
    Made,
    Network,
)
from dmt.models.trial import settle

__all__ = [
    "CIFAR10_MEAN",
    "CIFAR10_STD",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "ChannelOrder",
    "Network",
    "are_cached",
    "build",
]


def build(
    spec: str,
    num_classes: int,
    *,
    seed: int,
    image_size: int,
    pretrained: bool = False,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    channel_order: ChannelOrder = "rgb",
    allowed_factory: bool = True,
    is_dense: bool = False,
) -> Network:
    """A network by name, on the CPU and in train mode; its weights depend on `seed` alone.

    Args:
        spec: a classifier is `wrn_D_W` or a timm name (`resnet18`, also `timm:resnet18`); a model
            for pixels is `deeplab_v2:BACKBONE` (either of these; `:6-12` sets its dilations) or
            `unet:ENCODER` and the like of segmentation_models_pytorch; each may be
            `package.module:factory`, which is called as `factory(num_classes=K)`.
        num_classes: K.
        seed: of the initialisation, −2⁶³ ≤ seed < 2⁶⁴; torch's global generators stay as they are.
        image_size: side in pixels of the images to come, or of those to train on if dense.
        pretrained: start from the hub's weights, with a new classifier.
        mean, std: per channel in 0..1; default CIFAR-10's for `wrn_D_W`, its own for a timm model,
            ImageNet's for a factory.
        channel_order: what the model expects; mean and std are in this order.
        allowed_factory: whether `package.module:factory` may run that code.
        is_dense: whether every pixel shall get logits, (B, K, H, W), not the image, (B, K).

    Raises:
        SettingError: no such model, one for the other task, a factory that fails or may not run,
            or images that do not fit.
        EnvironmentFault: a package is missing or broken, or there are no pre-trained weights to be
            had.
    """
    # torch.manual_seed would seed CUDA too, so the CPU's generator alone is seeded, and restored.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        made = _make(spec, num_classes, image_size, pretrained, allowed_factory, is_dense)
        network = Network(
            made.module,
            mean=made.mean if mean is None else mean,
            std=made.std if std is None else std,
            stride=made.stride,
            channel_order=channel_order,
            is_dense=is_dense,
            align_corners=made.align_corners,
            spec=spec,
            num_classes=num_classes,
            image_size=image_size,
        )
        if made.trial_size is not None:
            settle(network, made)
    return network.train()


def are_cached(spec: str) -> bool:
    """Whether this machine holds pre-trained weights of a model; the network is not touched."""
    try:
        if segmenters.is_segmenter(spec):
            return segmenters.are_cached(spec)
        if classifiers.is_wide_resnet(spec) or factories.is_factory(spec):
            return False
        return timm_models.cached_weights(classifiers.timm_name(spec)) is not None
    except (EnvironmentFault, SettingError):
        return False


def _make(
    spec: str,
    num_classes: int,
    image_size: int,
    pretrained: bool,
    allowed_factory: bool,
    is_dense: bool,
) -> Made:
    if not is_dense and segmenters.is_segmenter(spec):
        raise SettingError(
            f"model={spec} gives a class for every pixel, but these data have one class an image; "
            "take a classifier, such as model=resnet18 or model=wrn_28_2"
        )
    if segmenters.is_segmenter(spec) or (is_dense and not factories.is_factory(spec)):
        return segmenters.create(spec, num_classes, image_size, pretrained)
    if not factories.is_factory(spec):
        return classifiers.create(spec, num_classes, image_size, pretrained)
    if is_dense and segmenters.is_misspelt(spec):
        return segmenters.create(spec, num_classes, image_size, pretrained)
    module = factories.create(spec, num_classes, pretrained, allowed_factory)
    # Nothing is known of the inside of somebody's model, so no side length is preferred.
    return Made(module, 1, IMAGENET_MEAN, IMAGENET_STD, trial_size=image_size, is_foreign=True)
