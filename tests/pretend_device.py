"""A device that is none: tensors say that they are elsewhere, are computed here, and see who waits.

What brings a value from an accelerator to the host (`item`, `bool`, `tolist`, `cpu`, `nonzero`, a
mask as an index), or sends one there without `non_blocking`, makes the host wait until all is done
that was asked for before. Here it raises `Waited`, so a test needs no accelerator to find it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

ELSEWHERE = torch.device("meta")
"""torch itself computes nothing there, so whatever is not caught here fails."""

_HERE = torch.device("cpu")
_ASKS_FOR_VALUES = {
    "_local_scalar_dense", "bincount", "equal", "is_nonzero", "masked_select", "nonzero",
    "repeat_interleave", "_unique2", "unique_consecutive", "unique_dim",
}  # fmt: skip
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}


class Waited(AssertionError):
    """The host would have waited for the device."""


class Remote(Tensor):
    """A tensor that says it is elsewhere."""

    here: Tensor  # its values

    @staticmethod
    def __new__(cls, here: Tensor) -> Remote:
        made = Tensor._make_wrapper_subclass(
            cls, here.shape, strides=here.stride(), storage_offset=here.storage_offset(),
            dtype=here.dtype, device=ELSEWHERE,
        )  # fmt: skip
        made.here = here.detach()
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    def tolist(self) -> NoReturn:
        """Torch refuses it for a subclass with another error."""
        raise Waited("tolist waits for the device")


class _Catching(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


@contextmanager
def pretend_device() -> Iterator[None]:
    """Within, what is made on `ELSEWHERE` or sent there is `Remote`."""
    with _Catching():
        yield


def moved(module: nn.Module) -> nn.Module:
    """The module with its parameters and buffers elsewhere."""
    for each in module.modules():
        for name, parameter in each._parameters.items():
            if parameter is not None:
                each._parameters[name] = nn.Parameter(Remote(parameter))
        for name, buffer in each._buffers.items():
            if buffer is not None:
                each._buffers[name] = Remote(buffer)
    return module


def _run(func: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
    is_remote = any(isinstance(each, Remote) for each in tree_leaves((args, kwargs)))
    target = kwargs.get("device")
    goes = is_remote if target is None else torch.device(target).type == ELSEWHERE.type
    name = func.overloadpacket.__name__
    if is_remote and (name in _ASKS_FOR_VALUES or not goes or _has_mask(name, args)):
        raise Waited(f"{name} waits for the device")
    if goes and name == "_to_copy" and not is_remote and not kwargs.get("non_blocking"):
        raise Waited("a copy to the device without non_blocking waits for it")
    here_args, here_kwargs = tree_map(_here, (args, dict(kwargs)))
    if target is not None:
        here_kwargs["device"] = _HERE
    found = func(*here_args, **here_kwargs)
    if not goes:
        return found
    found = tree_map(_remote, found)
    return return_and_correct_aliasing(func, args, kwargs, found)


def _has_mask(name: str, args: Any) -> bool:
    """Whether a mask is an index: how many values it picks only the device knows."""
    return name in _INDEXING and any(
        isinstance(each, Tensor) and each.dtype == torch.bool for each in args[1]
    )


def _here(value: Any) -> Any:
    return value.here if isinstance(value, Remote) else value


def _remote(value: Any) -> Any:
    return Remote(value) if isinstance(value, Tensor) and not isinstance(value, Remote) else value
