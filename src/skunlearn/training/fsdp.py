"""Sharding of a model's weights among the processes: FSDP2, by torch's `fully_shard`."""

import copy
from typing import Any

import torch
from torch.distributed.tensor import DTensor, distribute_tensor

from skunlearn.models.architecture import decoder_layers
from skunlearn.utils.distributed import world_size


def sharded(model: Any) -> Any:
    """A copy of the model, with the same names, whose weights are sharded among the processes.

    The model itself has empty weights until `restore_from` fills them again, so that the weights
    never exist twice.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(model.device.type, (world_size(),))
    # Copy the modules but not the tensors: the memo says that each tensor is its own copy.
    memo = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    twin = copy.deepcopy(model, memo)
    for layer in decoder_layers(twin):
        fully_shard(layer, mesh=mesh)
    fully_shard(twin, mesh=mesh)
    for parameter in model.parameters():
        parameter.data = parameter.data.new_empty(0)
    return twin


def unshard_root(model: Any) -> None:
    """Gather the weights outside the decoder layers before a backward pass that starts in the body.

    FSDP does this by itself where gradients enter through the model's output, which is not the case
    with gradient caching. Nothing happens for a model that is not sharded.
    """
    from torch.distributed.fsdp import FSDPModule

    if isinstance(model, FSDPModule):
        model.unshard()


@torch.no_grad()
def restore_from(model: Any, twin: Any) -> None:
    """Gather the weights of the sharded copy into the model that it was made of."""
    theirs = dict(twin.named_parameters())
    for name, parameter in model.named_parameters():
        parameter.data = unsharded(theirs[name].detach())


def unsharded(value: Any) -> Any:
    """The whole tensor of a sharded one; in a tree of dicts, of all its tensors.

    This is a collective operation: all processes must call it.
    """
    if isinstance(value, dict):
        return {key: unsharded(item) for key, item in value.items()}
    return value.full_tensor() if isinstance(value, DTensor) else value


def sharded_like(value: Any, parameter: torch.Tensor) -> Any:
    """The tensor sharded like the parameter, if they have one shape and the parameter is sharded.

    Anything else is returned as it is, such as an optimizer's step count.
    """
    if not isinstance(parameter, DTensor) or not isinstance(value, torch.Tensor):
        return value
    if value.shape != parameter.shape:
        return value
    return distribute_tensor(
        value.to(parameter.device), parameter.device_mesh, parameter.placements
    )
