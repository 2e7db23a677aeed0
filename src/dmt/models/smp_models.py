"""What we ask of segmentation_models_pytorch, which is imported only when asked; no timm model."""

from __future__ import annotations

import difflib
import importlib
import json
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

from safetensors.torch import load_file
from torch import nn

from dmt.errors import EnvironmentFault, SettingError
from dmt.models import hub, timm_models

# So that a name is known for what it is where the library is missing; where it is there, it says.
ARCHITECTURES = (
    *("unet", "unetplusplus", "manet", "linknet", "fpn", "pspnet", "deeplabv3", "deeplabv3plus"),
    *("pan", "upernet", "segformer", "dpt"),
)
_TIMM = "tu-"  # before the names of timm's encoders
_USUAL_STRIDE = 32
_BYTE = 255

Statistics = tuple[Sequence[float], Sequence[float]]


class Segmenter(NamedTuple):
    """A model of the library."""

    module: nn.Module
    stride: int  # pixels; sides must be a multiple of it
    statistics: Statistics | None  # mean and deviation per channel, in 0..1; None: ImageNet's
    has_fixed_size: bool  # whether it takes images of one size only


def architectures() -> Sequence[str]:
    """The names before the colon, in lower case; without the library those we know of."""
    try:
        return tuple(_library("unet").MODEL_ARCHITECTURES_MAPPING)
    except EnvironmentFault:
        return ARCHITECTURES


def create(architecture: str, encoder: str, num_classes: int, pretrained: bool) -> Segmenter:
    """A segmentation model; what is not pre-trained is drawn from torch's generator.

    Args:
        architecture: one of `architectures()`, in any case.
        encoder: a name of the library's own, or `tu-` and a timm name.
        num_classes: K.
        pretrained: start the encoder from weights for ImageNet.

    Raises:
        SettingError: no such encoder, or the two do not go together.
        EnvironmentFault: the library is missing or broken, or the weights cannot be had.
    """
    spec = f"{architecture}:{encoder}"
    library = _library(spec)
    _check_encoder(library, spec, encoder)
    # The encoder of dpt is a vision transformer, which takes one size unless told otherwise.
    is_dpt = architecture.lower() == "dpt"
    more = {"dynamic_img_size": True} if is_dpt else {}
    try:
        module: Any = library.create_model(
            architecture, encoder_name=encoder, encoder_weights=None, classes=num_classes, **more
        )
    except Exception as error:  # each architecture refuses encoders in its own way
        raise SettingError(
            f"model={spec}: this architecture cannot be built on this encoder "
            f"({hub.first_line(error)}); take another encoder, such as {architecture}:resnet18"
        ) from error
    statistics = None
    if encoder.startswith(_TIMM):
        name = encoder.removeprefix(_TIMM)
        statistics = timm_models.published_statistics(name)
        if pretrained:
            timm_models.load_backbone(module.encoder.model, name)
    elif pretrained:
        statistics = _load_encoder(library, encoder, module.encoder)
    stride = int(getattr(module.encoder, "output_stride", _USUAL_STRIDE))
    has_fixed_size = (
        encoder.startswith(_TIMM)
        and not is_dpt
        and timm_models.has_fixed_size(encoder.removeprefix(_TIMM))
    )
    # The decoder of dpt halves the grid of patches once more.
    return Segmenter(module, 2 * stride if is_dpt else stride, statistics, has_fixed_size)


def are_cached(encoder: str) -> bool:
    """Whether this machine holds an encoder's pre-trained weights; the network is not touched.

    Raises:
        SettingError, EnvironmentFault: as `create`.
    """
    library = _library(f"unet:{encoder}")
    _check_encoder(library, f"unet:{encoder}", encoder)
    if encoder.startswith(_TIMM):
        return timm_models.cached_weights(encoder.removeprefix(_TIMM)) is not None
    return all(hub.cached(address) for address in _addresses(library, encoder))


def unknown_architecture(spec: str) -> SettingError:
    """The sentence for a name before the colon that nothing has."""
    name = spec.partition(":")[0].lower()
    near = difflib.get_close_matches(name, [*architectures(), "deeplab_v2"])
    hint = f"did you mean {' or '.join(near)}?" if near else "`unet` and `deeplab_v2` are two"
    return SettingError(
        f"model={spec}: no architecture is called {name!r}: {hint} (deeplab_v2:BACKBONE, "
        "unet:ENCODER and the like, or package.module:factory)"
    )


def _check_encoder(library: ModuleType, spec: str, encoder: str) -> None:
    own: Sequence[str] = library.encoders.get_encoder_names()
    if encoder in own:
        return
    name = encoder.removeprefix(_TIMM)
    is_timm = timm_models.exists(name)
    if is_timm and encoder != name:
        return
    if is_timm:
        near = [_TIMM + name]
    else:
        known = [*own, *(_TIMM + each for each in timm_models.names())]
        near = difflib.get_close_matches(encoder, known)
    hint = f"did you mean {' or '.join(near)}?" if near else "`resnet18` is one"
    raise SettingError(
        f"model={spec}: no encoder is called {encoder!r}: {hint} (one of "
        "segmentation_models_pytorch's, or tu- and a timm name; a factory in a file of your own "
        f"needs a file that is not called {spec.partition(':')[0]})"
    )


def _load_encoder(library: ModuleType, encoder: str, module: nn.Module) -> Statistics:
    """Give one of the library's own encoders its weights; returns what they were trained with."""
    weights, config = (hub.fetch(each, encoder) for each in _addresses(library, encoder))
    try:
        module.load_state_dict(load_file(weights))
        facts = json.loads(config.read_text(encoding="utf-8"))
        # A few were trained on bytes; all on RGB.
        unit = _BYTE if max(facts.get("input_range") or [1]) > 1 else 1
        return [each / unit for each in facts["mean"]], [each / unit for each in facts["std"]]
    except Exception as error:  # a damaged cache, or files that changed their layout
        raise hub.no_weights(encoder, f"they do not fit: {hub.first_line(error)}") from error


def _addresses(library: ModuleType, encoder: str) -> tuple[hub.Address, hub.Address]:
    """Where an encoder's weights and their statistics lie; ImageNet's where there are several."""
    settings = library.encoders.encoders[encoder].get("pretrained_settings") or {}
    chosen = settings.get("imagenet") or next(iter(settings.values()), None)
    if chosen is None or "repo_id" not in chosen:
        raise hub.no_weights(encoder, "the hub has none")
    place = chosen["repo_id"], chosen.get("revision")
    return hub.Address(*place, "model.safetensors"), hub.Address(*place, "config.json")


def _library(spec: str) -> ModuleType:
    cure = (
        "`pip install segmentation-models-pytorch` beside torchvision and timm of the same build "
        "as your torch, or take a model that needs nothing, such as model=deeplab_v2:wrn_16_1"
    )
    try:
        return importlib.import_module("segmentation_models_pytorch")
    except ModuleNotFoundError as error:
        raise EnvironmentFault(
            f"model={spec} needs the package {error.name}, which is not installed; {cure}"
        ) from error
    except Exception as error:  # torchvision of another build fails with a RuntimeError or OSError
        raise EnvironmentFault(
            f"model={spec} needs segmentation_models_pytorch, which does not import here "
            f"({hub.first_line(error)}); {cure}, and see `dmt doctor`"
        ) from error
