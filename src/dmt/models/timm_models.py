"""What we ask of timm and of the hub that holds its weights; timm is imported only when asked."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from dmt.errors import EnvironmentFault, SettingError
from dmt.models import hub

_HALVED_FIVE_TIMES = 32  # the stride of nearly every classifier that does not state its own
_SAFE_FILES = {  # by the file that timm names; None is its default
    None: "model.safetensors",
    "open_clip_pytorch_model.bin": "open_clip_model.safetensors",
}


def names() -> Sequence[str]:
    """Every architecture that timm can build.

    Raises:
        EnvironmentFault: timm is missing or broken.
    """
    found: Sequence[str] = _timm("a timm model").list_models()
    return found


def exists(name: str) -> bool:
    """Whether timm knows this architecture and, where the name has one, its weights' tag.

    Raises:
        EnvironmentFault: timm is missing or broken.
    """
    timm = _timm(name)
    try:
        timm.get_pretrained_cfg(name)
    except RuntimeError:  # the architecture may be there, but not with this tag
        return False
    return bool(timm.is_model(name))


def create(name: str, num_classes: int, image_size: int, pretrained: bool) -> nn.Module:
    """A timm classifier; what is not pre-trained is drawn from torch's generator.

    The classifier is always new: that somebody's K classes are as many as the weights' says
    nothing about which they are.

    Raises:
        SettingError: the architecture cannot be built for this image size.
        EnvironmentFault: timm is missing or broken, or the weights cannot be had.
    """
    timm = _timm(name)
    overlay = _overlay(name) if pretrained else None
    pretrained_cfg = timm.get_pretrained_cfg(name)
    sizes: list[dict[str, int]] = [{}]
    if pretrained_cfg is not None and pretrained_cfg.fixed_input_size:
        # Most models of one fixed size can be built for another; a few do not know the word.
        sizes = [{"img_size": image_size}, {}]
    for size in sizes:
        try:
            module: nn.Module = timm.create_model(
                name,
                pretrained=pretrained,
                pretrained_cfg_overlay=overlay,
                num_classes=num_classes,
                **size,
            )
            break
        except TypeError as error:
            if not size or "img_size" not in str(error):
                raise
        except Exception as error:  # asserts, shape errors: as many kinds as architectures
            if pretrained:
                raise hub.no_weights(name, f"they do not fit: {hub.first_line(error)}") from error
            raise SettingError(
                f"model={name} cannot be built for images of {image_size}×{image_size} pixels "
                f"({hub.first_line(error)}); set data.image_size to what it was made for"
            ) from error
    if pretrained and pretrained_cfg is not None and pretrained_cfg.num_classes == num_classes:
        reset: Any = module.reset_classifier
        reset(num_classes)
    return module


def stride(module: nn.Module) -> int:
    """How many pixels of the image lie between two of the last feature map."""
    embedding = getattr(module, "patch_embed", None)
    if (patch := getattr(embedding, "patch_size", None)) and not hasattr(module, "layers"):
        return int(patch[0])
    info = getattr(module, "feature_info", None)
    last = info[-1] if isinstance(info, list) and info else {}
    return int(last.get("reduction", _HALVED_FIVE_TIMES))


def statistics(module: nn.Module) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and deviation per channel, in 0..1, that a timm model was trained with."""
    config: dict[str, Any] = module.pretrained_cfg  # type: ignore[assignment]
    return config["mean"], config["std"]


def create_backbone(name: str, output_stride: int, pretrained: bool) -> tuple[nn.Module, int]:
    """A timm model down to its last feature map, dilated where it would halve that further.

    Args:
        name: of an architecture that timm can build for other strides, such as the ResNets.
        output_stride: pixels of the image between two of the feature map.
        pretrained: as of `create`; what is not pre-trained is drawn from torch's generator.

    Returns:
        The module, which gives a list of one feature map (B, F, h, w), and F.

    Raises:
        SettingError: the architecture has no such feature map.
        EnvironmentFault: as `create`.
    """
    timm = _timm(name)
    overlay = _overlay(name) if pretrained else None
    try:
        module: Any = timm.create_model(
            name,
            pretrained=pretrained,
            pretrained_cfg_overlay=overlay,
            features_only=True,
            output_stride=output_stride,
            out_indices=(-1,),
        )
        reduction, num_features = module.feature_info.reduction(), module.feature_info.channels()
    except RuntimeError as error:  # what loading tensors of other shapes raises
        raise hub.no_weights(name, f"they do not fit: {hub.first_line(error)}") from error
    except Exception as error:  # each architecture that cannot be dilated fails in its own way
        raise _not_dilated(name, output_stride) from error
    if reduction != [output_stride]:
        raise _not_dilated(name, output_stride)
    return module, int(num_features[0])


def load_backbone(module: nn.Module, name: str) -> None:
    """Give another library's timm model its pre-trained weights.

    Args:
        module: what `timm.create_model(name, …)` made, with `features_only=True` or without.
        name: of the architecture, with the weights' tag if it has one.

    Raises:
        EnvironmentFault: as `create`.
    """
    timm, overlay = _timm(name), _overlay(name)
    indices = getattr(getattr(module, "feature_info", None), "out_indices", None)
    options = {} if indices is None else {"features_only": True, "out_indices": indices}
    try:
        source = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **options)
        module.load_state_dict(source.state_dict())
    except Exception as error:  # as many kinds as architectures
        raise hub.no_weights(name, f"they do not fit: {hub.first_line(error)}") from error


def published_statistics(name: str) -> tuple[Sequence[float], Sequence[float]] | None:
    """Mean and deviation per channel, in 0..1, of an architecture that is not built yet."""
    config = _timm(name).get_pretrained_cfg(name)
    return None if config is None else (config.mean, config.std)


def cached_weights(name: str) -> Path | None:
    """The weights file in the hub's cache on this machine, if it is there; no network is used.

    Raises:
        EnvironmentFault: timm is missing or broken, or there are no weights of that name.
    """
    return hub.cached(_hub_address(name))


def has_fixed_size(name: str) -> bool:
    """Whether an architecture takes images of one size only."""
    return bool(getattr(_timm(name).get_pretrained_cfg(name), "fixed_input_size", False))


def _overlay(name: str) -> dict[str, Any]:
    """What makes timm read the pre-trained weights from a file on this machine."""
    path = cached_weights(name) or hub.fetch(_hub_address(name), name)
    return {"file": str(path), "custom_load": False}


def _hub_address(name: str) -> hub.Address:
    """Where the weights lie on the hub; only safetensors, which cannot carry code."""
    pretrained_cfg = _timm(name).get_pretrained_cfg(name)
    repo = getattr(pretrained_cfg, "hf_hub_id", None)
    if not repo:
        raise hub.no_weights(name, "the hub has none")
    repo, _, revision = repo.partition("@")
    stated = pretrained_cfg.hf_hub_filename
    file = stated if stated and stated.endswith(".safetensors") else _SAFE_FILES.get(stated)
    if file is None:
        raise hub.no_weights(name, f"{stated} is no safetensors file")
    return hub.Address(repo, revision or None, file)


def _timm(name: str) -> ModuleType:
    try:
        return importlib.import_module("timm")
    except ModuleNotFoundError as error:
        raise EnvironmentFault(
            f"model={name} needs the package {error.name}, which is not installed; `pip install "
            "torchvision timm` of the same build as your torch, or take a model that needs "
            "nothing, such as model=wrn_28_2 (for masks, model=deeplab_v2:wrn_16_1)"
        ) from error
    except Exception as error:  # torchvision of another build fails with a RuntimeError or OSError
        raise EnvironmentFault(
            f"model={name} needs timm, which does not import here ({hub.first_line(error)}); torch "
            "and torchvision are probably of different builds: `pip install torchvision timm` of "
            "the same build as your torch, and see `dmt doctor`"
        ) from error


def _not_dilated(name: str, output_stride: int) -> SettingError:
    return SettingError(
        f"model=deeplab_v2:{name}: this backbone has no feature map of stride {output_stride}; "
        "take one whose strides can be replaced by dilation, such as deeplab_v2:resnet101 or "
        "deeplab_v2:resnet18, or unet:tu-" + name
    )
