"""What we ask of timm and of the hub that holds its weights; timm is imported only when asked."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from dmt.errors import EnvironmentFault, SettingError

_CONNECT_SECONDS = 4.0  # the hub's own client goes on trying for 23 s where there is no network
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
    overlay = None
    if pretrained:
        path = cached_weights(name) or _download(name)
        overlay = {"file": str(path), "custom_load": False}
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
                raise _no_weights(name, f"they do not fit: {first_line(error)}") from error
            raise SettingError(
                f"model={name} cannot be built for images of {image_size}×{image_size} pixels "
                f"({first_line(error)}); set data.image_size to what it was made for"
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


def cached_weights(name: str) -> Path | None:
    """The weights file in the hub's cache on this machine, if it is there; no network is used.

    Raises:
        EnvironmentFault: timm is missing or broken, or there are no weights of that name.
    """
    repo, revision, file = _hub_address(name)
    found = _hub().try_to_load_from_cache(repo, file, revision=revision)
    return Path(found) if isinstance(found, str) else None


def _download(name: str) -> Path:
    repo, revision, file = _hub_address(name)
    hub = _hub()
    try:
        # One short question first: the download itself retries for longer than anyone would wait.
        url = hub.hf_hub_url(repo, file, revision=revision)
        hub.get_hf_file_metadata(url, timeout=_CONNECT_SECONDS)
        return Path(hub.hf_hub_download(repo, file, revision=revision))
    except Exception as error:  # each version of the client raises others; the cure is the same
        raise _no_weights(name, first_line(error)) from error


def _hub_address(name: str) -> tuple[str, str | None, str]:
    """Repository, revision and file on the hub; only safetensors, which cannot carry code."""
    pretrained_cfg = _timm(name).get_pretrained_cfg(name)
    repo = getattr(pretrained_cfg, "hf_hub_id", None)
    if not repo:
        raise _no_weights(name, "the hub has none")
    repo, _, revision = repo.partition("@")
    stated = pretrained_cfg.hf_hub_filename
    file = stated if stated and stated.endswith(".safetensors") else _SAFE_FILES.get(stated)
    if file is None:
        raise _no_weights(name, f"{stated} is no safetensors file")
    return repo, revision or None, file


def _no_weights(name: str, reason: str) -> EnvironmentFault:
    return EnvironmentFault(
        f"the pre-trained weights of {name} cannot be had ({reason}); connect once so that the "
        "hub's cache holds them, copy that cache here from a machine that has them (HF_HOME says "
        "where it lies), or set weights=none"
    )


def _timm(name: str) -> ModuleType:
    try:
        return importlib.import_module("timm")
    except ModuleNotFoundError as error:
        raise EnvironmentFault(
            f"model={name} needs the package {error.name}, which is not installed; `pip install "
            "torchvision timm` of the same build as your torch, or take a model that needs "
            "nothing, such as model=wrn_28_2"
        ) from error
    except Exception as error:  # torchvision of another build fails with a RuntimeError or OSError
        raise EnvironmentFault(
            f"model={name} needs timm, which does not import here ({first_line(error)}); torch "
            "and torchvision are probably of different builds: `pip install torchvision timm` of "
            "the same build as your torch, and see `dmt doctor`"
        ) from error


def _hub() -> ModuleType:
    return importlib.import_module("huggingface_hub")


def first_line(error: Exception) -> str:
    """What an error says, short enough to stand in a sentence of ours."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line.rstrip(".: ") or type(error).__name__
