"""Models by name that give a class for every pixel: DeepLab-v2 and the library's; no classifier."""

from __future__ import annotations

import difflib
import importlib.util
import re
import sys
from pathlib import Path
from typing import NamedTuple

from dmt.errors import EnvironmentFault, SettingError
from dmt.models import smp_models, timm_models
from dmt.models.classifiers import is_wide_resnet, timm_name, wide_resnet_shape
from dmt.models.deeplab_v2 import ASPP_DILATIONS, DeepLabV2
from dmt.models.network import CIFAR10_MEAN, CIFAR10_STD, IMAGENET_MEAN, IMAGENET_STD, Made
from dmt.models.wide_resnet import STRIDE, WideResNetFeatures

_DEEPLAB = "deeplab_v2"
_DEEPLAB_STRIDE = 8  # of the authors' ResNets
_TRIAL_SIZE = 64  # shows what a convolutional model does with any size, and is tried at once


class _DeepLabName(NamedTuple):
    backbone: str
    dilations: tuple[int, ...]


def is_segmenter(spec: str) -> bool:
    """Whether a spec names a model for pixels; nothing is imported, a factory is never one."""
    head = spec.partition(":")[0].lower()
    return head == _DEEPLAB or head in smp_models.ARCHITECTURES


def is_misspelt(spec: str) -> bool:
    """Whether what reads like a factory's path is rather meant as an architecture's name.

    So it is if no module has that name and an architecture has nearly the same, or the very same
    in a library that is newer than our list.
    """
    head = spec.partition(":")[0]
    if "." in head or (Path.cwd() / head).is_dir() or (Path.cwd() / f"{head}.py").exists():
        return False
    if head in sys.modules or importlib.util.find_spec(head) is not None:
        return False
    known = [*smp_models.architectures(), _DEEPLAB]
    return bool(difflib.get_close_matches(head.lower(), known, n=1, cutoff=0.75))


def create(spec: str, num_classes: int, image_size: int, pretrained: bool) -> Made:
    """A model for pixels by name.

    Args:
        spec: `deeplab_v2:BACKBONE`, `deeplab_v2:BACKBONE:6-12` or `ARCHITECTURE:ENCODER`.
        num_classes: K.
        image_size: side in pixels of the training images.
        pretrained: start the backbone or the encoder from weights for ImageNet.

    Raises:
        SettingError: no such model, or parts that do not go together.
        EnvironmentFault: a package is missing or broken, or there are no such weights to be had.
    """
    head, _, rest = spec.partition(":")
    if head.lower() == _DEEPLAB:
        return _deeplab(spec, num_classes, image_size, pretrained)
    if head.lower() not in smp_models.architectures():
        raise smp_models.unknown_architecture(spec) if rest else _no_segmenter(spec)
    if not rest:
        raise SettingError(f"model={spec} needs an encoder, such as model={head}:resnet18")
    made = smp_models.create(head, rest, num_classes, pretrained)
    mean, std = made.statistics or (IMAGENET_MEAN, IMAGENET_STD)
    trial_size = image_size if made.has_fixed_size else min(image_size, _TRIAL_SIZE)
    return Made(made.module, made.stride, mean, std, trial_size, has_fixed_size=made.has_fixed_size)


def are_cached(spec: str) -> bool:
    """Whether this machine holds the weights that `pretrained` asks for.

    Raises:
        SettingError, EnvironmentFault: as `create`.
    """
    head, _, rest = spec.partition(":")
    if head.lower() != _DEEPLAB:
        return smp_models.are_cached(rest)
    backbone = _deeplab_name(spec).backbone
    if is_wide_resnet(backbone):
        return False
    return timm_models.cached_weights(timm_name(backbone)) is not None


def _deeplab(spec: str, num_classes: int, image_size: int, pretrained: bool) -> Made:
    name, dilations = _deeplab_name(spec)
    trial_size = min(image_size, _TRIAL_SIZE)
    if is_wide_resnet(name):
        trunk = WideResNetFeatures(*wide_resnet_shape(name, pretrained))
        module = DeepLabV2(trunk, trunk.num_features, num_classes, dilations)
        return Made(module, STRIDE, CIFAR10_MEAN, CIFAR10_STD, trial_size, module.align_corners)
    try:
        name = timm_name(name)
    except SettingError as error:
        reason = str(error).partition(" (")[0]
        raise SettingError(
            f"model={spec}: {reason}; a backbone is a ResNet of timm's or wrn_DEPTH_WIDTH"
        ) from error
    backbone, num_features = timm_models.create_backbone(name, _DEEPLAB_STRIDE, pretrained)
    module = DeepLabV2(backbone, num_features, num_classes, dilations)
    mean, std = timm_models.published_statistics(name) or (IMAGENET_MEAN, IMAGENET_STD)
    return Made(module, _DEEPLAB_STRIDE, mean, std, trial_size, module.align_corners)


def _deeplab_name(spec: str) -> _DeepLabName:
    _, backbone, dilations, *rest = [*spec.split(":"), "", ""]
    if not backbone:
        raise SettingError(
            f"model={spec} needs a backbone, such as deeplab_v2:resnet101 or deeplab_v2:wrn_16_1"
        )
    if any(rest) or (dilations and not re.fullmatch(r"[1-9]\d{0,2}(-[1-9]\d{0,2})*", dilations)):
        raise SettingError(
            f"model={spec}: after the backbone come the dilations of the parallel convolutions, "
            f"such as deeplab_v2:{backbone}:6-12-18-24, and nothing else"
        )
    numbers = tuple(int(each) for each in dilations.split("-")) if dilations else ASPP_DILATIONS
    return _DeepLabName(backbone, numbers)


def _no_segmenter(spec: str) -> SettingError:
    """The sentence for a spec without a colon: a classifier, or nothing."""
    if is_wide_resnet(spec):
        near = f"deeplab_v2:{spec}"
    else:
        try:
            near = f"deeplab_v2:{spec} or unet:tu-{spec}" if timm_models.exists(spec) else ""
        except EnvironmentFault:
            near = "deeplab_v2:wrn_16_1"
    if not near:
        return smp_models.unknown_architecture(spec)
    return SettingError(
        f"model={spec} gives one class an image, but these data have a class for every pixel; "
        f"take model={near}"
    )
