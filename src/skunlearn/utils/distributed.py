"""What several processes say to each other; one process alone does nothing here."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist

Value = TypeVar("Value")


def world_size() -> int:
    """How many processes train together, 1 or more."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def broadcast(value: Any) -> Any:
    """What the first process gives, for all of them."""
    box = [value]
    if world_size() > 1:
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    return box[0]


def gather_rows(mine: torch.Tensor, sizes: Sequence[int]) -> torch.Tensor:
    """The rows that all processes hold, one behind the other.

    Args:
        mine: what this one has, (sizes[rank], ...).
        sizes: how many rows each has.
    """
    if world_size() == 1:
        return mine
    padded = mine.new_zeros(max(sizes), *mine.shape[1:])
    padded[: len(mine)] = mine
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


def gather_objects(mine: Value) -> list[Value]:
    """What each process has, in order."""
    everyone: list[Any] = [mine] * world_size()
    if world_size() > 1:
        dist.all_gather_object(everyone, mine)
    return everyone


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """The mean gradient over the processes; a weight that has none anywhere keeps none."""
    if world_size() == 1:
        return
    parameters = list(parameters)
    has = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.int32)
    has = has.to(parameters[0].device)
    dist.all_reduce(has, dist.ReduceOp.MAX)
    work = []
    for parameter, some in zip(parameters, has.tolist(), strict=True):
        if some:
            parameter.grad = (
                torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            )
            work.append(dist.all_reduce(parameter.grad, async_op=True))
    for one in work:
        one.wait()
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad /= world_size()
