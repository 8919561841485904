"""Collective operations of torch.distributed, which do nothing in a single process.

Where several processes run, all of them must call these functions in the same order.
"""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist

Value = TypeVar("Value")


def world_size() -> int:
    """The number of processes in the process group, 1 without a group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The rank of this process in the process group, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def broadcast(value: Any) -> Any:
    """Return the first process's value in all processes.

    Args:
        value: any object that can be pickled; the values of other processes are ignored.
    """
    box = [value]
    if world_size() > 1:
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    return box[0]


def gather_rows(mine: torch.Tensor, sizes: Sequence[int]) -> torch.Tensor:
    """Concatenate the tensors of all processes along their first dimension, in the order of ranks.

    Args:
        mine: the tensor of this process, (sizes[rank], ...).
        sizes: the first dimension of each process's tensor.
    """
    if world_size() == 1:
        return mine
    # `all_gather` takes tensors of one shape only: pad them, and cut the padding off again.
    padded = mine.new_zeros(max(sizes), *mine.shape[1:])
    padded[: len(mine)] = mine
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    cut: list[torch.Tensor] = []
    for part, size in zip(parts, sizes, strict=True):
        cut.append(part[:size])
    return torch.cat(cut)


def gather_objects(mine: Value) -> list[Value]:
    """The objects of all processes, in the order of ranks.

    Args:
        mine: the object of this process; it can be pickled.
    """
    everyone: list[Any] = [mine] * world_size()
    if world_size() > 1:
        dist.all_gather_object(everyone, mine)
    return everyone


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace each gradient by its mean over all processes.

    A process without a gradient for a parameter counts as 0. A parameter that has no gradient in
    any process keeps none.

    Args:
        parameters: the same ones, in the same order, in all processes.
    """
    if world_size() == 1:
        return
    parameters = list(parameters)

    # Find out which parameters have a gradient in any process.
    has = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.int32)
    has = has.to(parameters[0].device)
    dist.all_reduce(has, dist.ReduceOp.MAX)

    # Sum their gradients over the processes, all at once, and divide.
    pending = []
    for parameter, anywhere in zip(parameters, has.tolist(), strict=True):
        if anywhere:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            pending.append(dist.all_reduce(parameter.grad, async_op=True))
    for work in pending:
        work.wait()
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad /= world_size()
