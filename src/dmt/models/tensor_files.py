"""Tensors out of files of other programs, by their names there; nothing in them is run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from dmt.errors import SettingError

_CODE = re.compile(r"GLOBAL (\S+)|(TorchScript)")  # how torch says what it did not run
_TORCH_OWN = re.compile(r"torch\._utils\.|torch\.\w*Storage")
_DEPTH = 4  # how far below the top of a checkpoint its tensors are looked for


def read_tensors(path: Path, what: str) -> dict[str, Tensor]:
    """The largest set of named tensors in a file, on the CPU.

    Args:
        path: a safetensors file, or one of `torch.save`: named tensors, or a checkpoint that has
            them under `state_dict`, `model` and the like.
        what: the setting that named the file, for messages.

    Raises:
        SettingError: no such file, it is damaged, holds code, or holds no named tensors.
    """
    if not path.is_file():
        raise SettingError(
            f"there is no file {path} to read {what} from; check the path, which must lead to a "
            "*.safetensors, *.pt or *.pth file"
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content: object = torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError as error:
        raise SettingError(f"{what}={path} may not be read; change its permissions") from error
    except Exception as error:  # every kind of damage raises another
        raise _not_tensors(path, what, error) from error
    found = max(_tensor_sets(content, _DEPTH), key=len, default={})
    if not found:
        raise SettingError(
            f"{what}={path} holds no named tensors; give a file that was saved from a model's "
            "state_dict()"
        )
    return found


def _tensor_sets(content: object, depth: int) -> Iterator[dict[str, Tensor]]:
    if not isinstance(content, Mapping) or not depth:
        return
    yield {
        name: tensor
        for name, tensor in content.items()
        if isinstance(name, str) and isinstance(tensor, Tensor) and tensor.layout is torch.strided
    }
    for inside in content.values():
        yield from _tensor_sets(inside, depth - 1)


def _not_tensors(path: Path, what: str, error: Exception) -> SettingError:
    found = _CODE.search(str(error))
    # A file that was cut in the midst of one of torch's own names is damaged, no more.
    if found is None or _TORCH_OWN.match(found[1] or ""):
        return SettingError(
            f"{what}={path} is no file of weights, or was cut short; copy it anew, or give a "
            "*.safetensors, *.pt or *.pth file"
        )
    return SettingError(
        f"{what}={path} holds more than tensors ({found[0].split()[-1]}), which only running code "
        "from the file could read; where you trust it, load it yourself with "
        "torch.load(…, weights_only=False) and save its state_dict() alone"
    )
