"""From a model's name to a network that takes images as they are; weights files are not here."""

from __future__ import annotations

import difflib
import importlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from dmt.errors import EnvironmentFault, SettingError
from dmt.models import timm_models
from dmt.models.norm import frozen_batch_norm
from dmt.models.wide_resnet import MIN_IMAGE_SIZE, STRIDE, WideResNet

ChannelOrder = Literal["rgb", "bgr"]

# Per-channel statistics in 0..1, of the training images: CIFAR-10 (its 50 000, per pixel) and
# ImageNet (as everywhere in the field since Krizhevsky et al., 2012).
CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

_WIDE_RESNET = re.compile(r"wrn_(\d+)_(\d+)")
_FACTORY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_WIDE_RESNET_EXAMPLES = ("wrn_10_1", "wrn_16_1", "wrn_16_2", "wrn_28_2", "wrn_28_10", "wrn_40_2")


class Network(nn.Module):
    """A model together with the preprocessing it wants: images in, logits out.

    Args:
        module: takes normalised float images (B, 3, H, W), gives logits (B, K).
        mean, std: three numbers each in 0..1, in the order of channels that `module` sees.
        stride: of the last feature map; sides of an image are best a multiple of it.
        channel_order: what `module` expects; images always come as RGB.
        spec, num_classes, image_size: what `build` was asked for, kept for the weights file.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        module: nn.Module,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        stride: int,
        channel_order: ChannelOrder = "rgb",
        spec: str,
        num_classes: int,
        image_size: int,
    ) -> None:
        super().__init__()
        self.module = module
        # In the images' own unit, so that a uint8 batch needs no division by 255 first.
        self.register_buffer("mean", 255 * torch.tensor([*map(float, mean)]).view(1, -1, 1, 1))
        self.register_buffer("std", 255 * torch.tensor([*map(float, std)]).view(1, -1, 1, 1))
        self.stride = stride
        self.channel_order: ChannelOrder = channel_order
        self.spec = spec
        self.num_classes = num_classes
        self.image_size = image_size

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images.

        Args:
            images: RGB in 0..255, uint8 or float, (B, 3, H, W), any memory format.

        Returns:
            float (B, K).
        """
        logits: Tensor = self.module(self.normalize(images))
        return logits

    def normalize(self, images: Tensor) -> Tensor:
        """The same images as `module` wants them: channels in its order, mean 0, deviation 1."""
        if self.channel_order == "bgr":
            images = images.flip(1)
        return ((images - self.mean) / self.std).to(self.mean.dtype)


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
) -> Network:
    """A network by name, on the CPU and in train mode; its weights depend on `seed` alone.

    Args:
        spec: `wrn_D_W`, a timm classifier (`resnet18`, also `timm:resnet18`), or
            `package.module:factory`, which is called as `factory(num_classes=K)`.
        num_classes: K.
        seed: of the initialisation, −2⁶³ ≤ seed < 2⁶⁴; torch's global generators stay as they are.
        image_size: side in pixels of the images to come.
        pretrained: start from timm's weights, with a new classifier.
        mean, std: per channel in 0..1; default CIFAR-10's for `wrn_D_W`, its own for a timm model,
            ImageNet's for a factory.
        channel_order: what the model expects; mean and std are in this order.
        allowed_factory: whether `package.module:factory` may run that code.

    Raises:
        SettingError: no such model, a factory that fails or may not run, or images that do not fit.
        EnvironmentFault: timm is missing or broken, or there are no pre-trained weights to be had.
    """
    # torch.manual_seed would seed CUDA too, so the CPU's generator alone is seeded, and restored.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        if match := _WIDE_RESNET.fullmatch(spec):
            made = _wide_resnet(spec, int(match[1]), int(match[2]), num_classes, pretrained)
        elif _is_factory(spec):
            made = _from_factory(spec, num_classes, pretrained, allowed_factory)
        else:
            made = _from_timm(spec, num_classes, image_size, pretrained)
        network = Network(
            made.module,
            mean=made.mean if mean is None else mean,
            std=made.std if std is None else std,
            stride=made.stride,
            channel_order=channel_order,
            spec=spec,
            num_classes=num_classes,
            image_size=image_size,
        )
        if isinstance(made.module, WideResNet):
            _check_image_size(spec, image_size)
        else:
            _try_out(network)
    return network.train()


def are_cached(spec: str) -> bool:
    """Whether this machine holds pre-trained weights of a model; the network is not touched."""
    if _WIDE_RESNET.fullmatch(spec) or _is_factory(spec):
        return False
    try:
        return timm_models.cached_weights(_timm_name(spec)) is not None
    except (EnvironmentFault, SettingError):
        return False


class _Made(NamedTuple):
    module: nn.Module
    stride: int
    mean: Sequence[float]
    std: Sequence[float]


def _check_image_size(spec: str, image_size: int) -> None:
    if image_size < MIN_IMAGE_SIZE:
        raise SettingError(
            f"model={spec} needs images of at least {MIN_IMAGE_SIZE} pixels a side, "
            f"not {image_size}; raise data.image_size"
        )


def _wide_resnet(spec: str, depth: int, width: int, num_classes: int, pretrained: bool) -> _Made:
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
    return _Made(WideResNet(depth, width, num_classes), STRIDE, CIFAR10_MEAN, CIFAR10_STD)


def _from_timm(spec: str, num_classes: int, image_size: int, pretrained: bool) -> _Made:
    module = timm_models.create(_timm_name(spec), num_classes, image_size, pretrained)
    return _Made(module, timm_models.stride(module), *timm_models.statistics(module))


def _is_factory(spec: str) -> bool:
    return _FACTORY.fullmatch(spec) is not None and not spec.startswith("timm:")


def _timm_name(spec: str) -> str:
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


def _from_factory(spec: str, num_classes: int, pretrained: bool, allowed_factory: bool) -> _Made:
    if not allowed_factory:
        raise SettingError(
            f"model={spec} is code that only this run's folder names; read it, then allow it with "
            "trust_code=true"
        )
    if pretrained:
        raise EnvironmentFault(
            f"model={spec} is your own code, so there are no pre-trained weights to fetch; set "
            "weights=none and load them in the factory"
        )
    factory = _import_factory(spec)
    try:
        module = factory(num_classes=num_classes)
    except Exception as error:  # whatever somebody's factory raises is theirs to mend
        raise SettingError(
            f"model={spec}: calling it with num_classes={num_classes} failed ({_reason(error)})"
        ) from error
    if not isinstance(module, nn.Module):
        raise SettingError(
            f"model={spec} must return a torch.nn.Module, not {type(module).__name__}"
        )
    # Nothing is known of the inside of somebody's model, so no side length is preferred.
    return _Made(module, 1, IMAGENET_MEAN, IMAGENET_STD)


def _import_factory(spec: str) -> Any:
    path, _, attributes = spec.partition(":")
    # The installed command does not look into the working folder, where such a file usually is.
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.append(here)
    try:
        found: Any = importlib.import_module(path)
        for attribute in attributes.split("."):
            found = getattr(found, attribute)
    except Exception as error:  # an import runs somebody's code, which may raise anything
        raise SettingError(
            f"model={spec} cannot be imported ({_reason(error)}); it is looked for in {here} and "
            "on PYTHONPATH"
        ) from error
    finally:
        if added and here in sys.path:
            sys.path.remove(here)
    if not callable(found):
        raise SettingError(f"model={spec} names no function but a {type(found).__name__}")
    return found


def _try_out(network: Network) -> None:
    """Run two black images through, in the modes evaluation and training will use.

    Raises:
        SettingError: the model takes no such images, or gives something else than (B, K).
    """
    size, num_classes = network.image_size, network.num_classes
    images = torch.zeros(2, 3, size, size, dtype=torch.uint8)
    for mode in (False, True):
        network.train(mode)
        try:
            with torch.no_grad(), frozen_batch_norm(network):
                logits: object = network(images)
        except Exception as error:  # as many kinds as there are models
            raise SettingError(
                f"model={network.spec} cannot take images of {size}×{size} pixels "
                f"({_reason(error)}); set data.image_size to what it was made for"
            ) from error
        if not isinstance(logits, Tensor) or logits.shape != (2, num_classes):
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise SettingError(
                f"model={network.spec} must give one row of {num_classes} logits an image, so "
                f"(2, {num_classes}) for two images, not {got}"
            )


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {timm_models.first_line(error)}"
