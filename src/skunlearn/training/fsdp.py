"""A model whose weights are divided among the processes while it is trained: FSDP2, by torch's
`fully_shard`."""

import copy
from typing import Any

import torch
from torch.distributed.tensor import DTensor, distribute_tensor

from skunlearn.models.architecture import decoder_layers
from skunlearn.utils.distributed import world_size


def sharded(model: Any) -> Any:
    """A twin of the model with the same names, of whose weights each process holds its share.

    The model itself holds no weights until `give_back` puts them into it again, to the bit: one
    copy exists at a time.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(model.device.type, (world_size(),))
    twin = copy.deepcopy(
        model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    )
    for layer in decoder_layers(twin):
        fully_shard(layer, mesh=mesh)
    fully_shard(twin, mesh=mesh)
    for parameter in model.parameters():
        parameter.data = parameter.data.new_empty(0)
    return twin


def unshard_root(model: Any) -> None:
    """Before gradients go into the body from the middle of the graph: what lies outside the layers
    is gathered, which otherwise happens where they enter by the model's output. Nothing for a model
    that is not divided."""
    from torch.distributed.fsdp import FSDPModule

    if isinstance(model, FSDPModule):
        model.unshard()


@torch.no_grad()
def restore_from(model: Any, twin: Any) -> None:
    """The twin's weights, gathered, into the model that it was made of."""
    theirs = dict(twin.named_parameters())
    for name, parameter in model.named_parameters():
        parameter.data = unsharded(theirs[name].detach())


def unsharded(value: Any) -> Any:
    """The tensor, or the tree with all its tensors, gathered from the processes, which must all
    ask."""
    if isinstance(value, dict):
        return {key: unsharded(item) for key, item in value.items()}
    return value.full_tensor() if isinstance(value, DTensor) else value


def sharded_like(value: Any, parameter: torch.Tensor) -> Any:
    """The tensor divided as the parameter is, when it has the parameter's shape and that is
    divided."""
    if (
        isinstance(parameter, DTensor)
        and isinstance(value, torch.Tensor)
        and value.shape == parameter.shape
    ):
        return distribute_tensor(
            value.to(parameter.device), parameter.device_mesh, parameter.placements
        )
    return value
