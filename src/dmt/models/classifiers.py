"""Classifiers by name: wide ResNets and timm's. What gives a class for every pixel is not here."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from dmt.errors import EnvironmentFault, SettingError
from dmt.models import timm_models
from dmt.models.network import CIFAR10_MEAN, CIFAR10_STD, Made
from dmt.models.wide_resnet import MIN_IMAGE_SIZE, STRIDE, WideResNet

_WIDE_RESNET = re.compile(r"wrn_(\d+)_(\d+)")
_WIDE_RESNET_EXAMPLES = ("wrn_10_1", "wrn_16_1", "wrn_16_2", "wrn_28_2", "wrn_28_10", "wrn_40_2")


def create(spec: str, num_classes: int, image_size: int, pretrained: bool) -> Made:
    """A classifier by name.

    Raises:
        SettingError: no such model, or images that do not fit.
        EnvironmentFault: timm is missing or broken, or there are no pre-trained weights to be had.
    """
    if not is_wide_resnet(spec):
        module = timm_models.create(timm_name(spec), num_classes, image_size, pretrained)
        stride, statistics = timm_models.stride(module), timm_models.statistics(module)
        return Made(module, stride, *statistics, trial_size=image_size)
    depth, width = wide_resnet_shape(spec, pretrained)
    if image_size < MIN_IMAGE_SIZE:
        raise SettingError(
            f"model={spec} needs images of at least {MIN_IMAGE_SIZE} pixels a side, "
            f"not {image_size}; raise data.image_size"
        )
    network = WideResNet(depth, width, num_classes)
    return Made(network, STRIDE, CIFAR10_MEAN, CIFAR10_STD, trial_size=None)


def is_wide_resnet(spec: str) -> bool:
    """Whether a spec is `wrn_D_W`, of whatever depth and width."""
    return _WIDE_RESNET.fullmatch(spec) is not None


def wide_resnet_shape(spec: str, pretrained: bool) -> tuple[int, int]:
    """Depth and width in `wrn_D_W`.

    Raises:
        SettingError: there is no wide ResNet of that shape.
        EnvironmentFault: pre-trained weights were asked for.
    """
    match = _WIDE_RESNET.fullmatch(spec)
    assert match is not None
    depth, width = int(match[1]), int(match[2])
    if depth < 10 or (depth - 4) % 6:
        below = max(10, depth - (depth - 4) % 6)
        valid_depths = [below] if depth < 10 else [below, below + 6]
        near = " or ".join(f"wrn_{valid}_{max(1, width)}" for valid in valid_depths)
        raise SettingError(f"model={spec}: the depth of a wide ResNet is 6n + 4; take {near}")
    if width < 1:
        raise SettingError(f"model={spec}: the width is at least 1; take wrn_{depth}_1")
    if pretrained:
        raise EnvironmentFault(
            f"there are no pre-trained weights of {spec}; set weights=none, or take a timm model "
            "such as model=resnet18"
        )
    return depth, width


def timm_name(spec: str) -> str:
    """The timm name in a spec that is neither a wide ResNet nor a factory.

    Raises:
        SettingError: nothing is called that, or it is a factory's path with a slip in it.
    """
    name = spec.removeprefix("timm:")
    if name.lower().startswith("wrn") or not re.fullmatch(r"\w[\w.\-]*", name):
        near = difflib.get_close_matches(
            name.lower().replace("-", "_"), _WIDE_RESNET_EXAMPLES, cutoff=0.5
        )
        raise _unknown(spec, near)
    if not timm_models.exists(name):
        known = [*timm_models.names(), *_WIDE_RESNET_EXAMPLES]
        raise _unknown(spec, difflib.get_close_matches(name, known))
    return name


def _unknown(spec: str, near: Sequence[str]) -> SettingError:
    hint = f"did you mean {' or '.join(near)}?" if near else "`wrn_28_2` is always there"
    return SettingError(
        f"no model is called {spec!r}: {hint} (wrn_DEPTH_WIDTH, a timm classifier, or "
        "package.module:factory)"
    )
