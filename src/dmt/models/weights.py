"""Weights on disk, as safetensors with what is needed to read them; nothing here can run code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from dmt.errors import RunError
from dmt.models.build import Network, build
from dmt.records import write_bytes

_OUTPUTS = ("image", "pixels")  # what gets logits; files from before there were two say nothing
_LENGTH_BYTES = 8  # the format: length of the header, header (JSON), tensors


def save(network: Network, path: Path, metadata: Mapping[str, str]) -> None:
    """Write a network's tensors and its description; the file appears whole or not at all.

    The same tensors and metadata give the same bytes.

    Args:
        network: on any device.
        path: `*.safetensors`; a file that is there is replaced.
        metadata: what else to say (class names, round …), added to `model`, `num_classes`,
            `image_size`, `channel_order` and `output`, which are the network's own.

    Raises:
        RunError: the file cannot be written.
    """
    tensors = {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in network.state_dict().items()
    }
    own = {
        "model": network.spec,
        "num_classes": str(network.num_classes),
        "image_size": str(network.image_size),
        "channel_order": network.channel_order,
        "output": _OUTPUTS[network.is_dense],
    }
    write_bytes(path, _sorted_metadata(to_safetensors(tensors, {**metadata, **own})))


def load_into(network: nn.Module, path: Path) -> None:
    """Replace every tensor of a network by the file's, or none if they do not fit.

    Raises:
        RunError: no such file, it is damaged, or it belongs to another architecture.
    """
    stored, own = _read(path), network.state_dict()
    names = sorted(stored.keys() ^ own.keys())
    if names:
        what = "lacks" if names[0] in own else "has"
        raise RunError(
            f"{path} does not fit this model: of {len(names)} tensors that only one of the two "
            f"knows, it {what} {names[0]}; give the model that the file was saved from"
        )
    for name, tensor in stored.items():
        if tensor.shape != own[name].shape:
            raise RunError(
                f"{path} does not fit this model: {name} is {tuple(tensor.shape)} there and "
                f"{tuple(own[name].shape)} here; give the same model and number of classes"
            )
    network.load_state_dict(stored)


def read_metadata(path: Path) -> dict[str, str]:
    """What a weights file says of itself; the tensors are not read.

    Raises:
        RunError: no such file, or it is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error


def restore(path: Path, *, allowed_factory: bool = False) -> Network:
    """The network a file was saved from, in eval mode, without any further setting.

    Args:
        path: as `save` wrote it.
        allowed_factory: whether a `package.module:factory` named in the file may be run.

    Raises:
        RunError: no such file, it is damaged, or it was not written by `save`.
        SettingError: it names a factory that may not be run or does not work.
        EnvironmentFault: it needs timm, which is missing.
    """
    metadata = read_metadata(path)
    try:
        spec, channel_order = metadata["model"], metadata["channel_order"]
        num_classes, image_size = int(metadata["num_classes"]), int(metadata["image_size"])
    except (KeyError, ValueError) as error:
        raise RunError(
            f"{path} does not say which model it holds; give a file that a run of dmt wrote"
        ) from error
    network = build(
        spec,
        num_classes,
        seed=0,  # nothing of it is left after loading
        image_size=image_size,
        channel_order="bgr" if channel_order == "bgr" else "rgb",
        allowed_factory=allowed_factory,
        is_dense=metadata.get("output") == _OUTPUTS[True],
    )
    load_into(network, path)
    return network.eval()


def _read(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> RunError:
    if isinstance(error, FileNotFoundError):
        return RunError(f"there are no weights at {path}; give a *.safetensors file of a run")
    if isinstance(error, SafetensorError):
        return RunError(
            f"{path} is no safetensors file, or was cut short ({error}); "
            "copy it anew or train again"
        )
    return RunError(f"{path} cannot be read: {error}; check the path and its permissions")


def _sorted_metadata(content: bytes) -> bytes:
    """The same file with its metadata in order; the library writes it in another one every time."""
    end = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")
    header = json.loads(content[_LENGTH_BYTES:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _LENGTH_BYTES)  # tensors start aligned, as the format asks
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text + content[end:]
