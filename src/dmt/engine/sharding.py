"""A network in training whose weights lie in parts on the ranks of a mesh (torch's FSDP2).

Gradients, what the optimizer keeps and the average lie in the same parts. What is written down is
always whole, so any number of ranks goes on from it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

_SMALLEST = 1 / 64  # of a network's weights that a block must have to be gathered by itself


def shard(net: nn.Module, mesh: DeviceMesh) -> None:
    """Leave this rank its part of every weight, in place; the others are fetched when needed.

    A layer of a `Sequential` or `ModuleList` that holds enough of the network is fetched by itself
    and given back when it has answered, so that only a few are whole at a time.

    Args:
        net: the same on all ranks of the mesh.
        mesh: of one dimension.
    """
    from torch.distributed.fsdp import fully_shard

    for parameter in net.parameters():  # channels last is not for parts
        parameter.data = parameter.data.contiguous()
    total = sum(each.numel() for each in net.parameters())
    blocks = [
        child
        for parent in net.modules()
        if isinstance(parent, nn.Sequential | nn.ModuleList)
        for child in parent
        if sum(each.numel() for each in child.parameters()) >= _SMALLEST * total
        and not isinstance(child, nn.ModuleList)
    ]
    for module in (*reversed(list(dict.fromkeys(blocks))), net):  # inner ones first
        sharded = fully_shard(module, mesh=mesh, reshard_after_forward=True)
        # The loss was divided by the count of all ranks, so gradients are added up.
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)  # gloo has no other


def is_part(tensor: object) -> TypeGuard[DTensor]:
    """Whether a tensor lies in parts."""
    # Half a second to import, which only those who have such tensors have done.
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def own(tensor: Tensor) -> Tensor:
    """This rank's part of a tensor, in the same memory; all of one that is not in parts."""
    return tensor.to_local() if is_part(tensor) else tensor


def whole(value: Any) -> Any:
    """A state with its tensors put together, on the CPU; all ranks must ask.

    Args:
        value: as a module's or an optimizer's `state_dict` gives it; what is not in parts stays.
    """
    if is_part(value):
        return value.full_tensor().cpu()
    if isinstance(value, Mapping):
        return {name: whole(each) for name, each in value.items()}
    return [whole(each) for each in value] if isinstance(value, list) else value


def load_parts(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """`load_state_dict` of whole tensors into a module that may be in parts."""
    own_state = module.state_dict()
    module.load_state_dict(
        {
            name: _part(tensor, own_state[name]) if name in own_state else tensor
            for name, tensor in state.items()
        }
    )


def load_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """`load_state_dict` of whole tensors into an optimizer of weights that may be in parts."""
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    of_parameters = {
        index: {
            name: _part(value, parameters[index])
            if isinstance(value, Tensor) and value.shape == parameters[index].shape
            else value
            for name, value in values.items()
        }
        for index, values in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": of_parameters})


def _part(tensor: Tensor, like: Tensor) -> Tensor:
    if not is_part(like):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    there = tensor.to(like.device)
    # Every rank has the whole and takes its part: nothing is sent.
    return distribute_tensor(there, like.device_mesh, like.placements, src_data_rank=None)
