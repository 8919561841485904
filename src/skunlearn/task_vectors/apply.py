"""Context managers inside which a model is edited or attacked; the base comes back exactly.

Nothing is written to disk. `edited` is for everybody and refuses a vector that points at the
harmful model. `attacked` and `rewritten` are for `skunlearn.attacks` alone: inside their blocks the
model may be the harmful one, so nothing may be applied or saved there (`check_at_rest`).
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle
from transformers import Conv1D

from skunlearn.task_vectors.delta import LowRank, moved
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.errors import ModelError
from skunlearn.utils.hooks import temporary_hooks

DEPTH = "skunlearn_blocks_open"  # attribute of a model: how many of these blocks are open


@contextmanager
def edited(model: Any, tau: TaskVector) -> Iterator[None]:
    """A block inside which the model computes with `theta + tau`, without gradients.

    LoRA factors of a linear module act through a forward hook beside it: its weight is neither
    changed nor copied. Every other change is added to a copy of the weight, which stands in for the
    weight until the block ends.

    Raises:
        ModelError: when the vector does not fit, or points at the harmful model.
    """
    tau.check_safe()
    with attacked(model, tau):
        yield


@contextmanager
def attacked(model: Any, tau: TaskVector) -> Iterator[None]:
    """As `edited`, wherever the vector points. Only attacks may call it.

    Raises:
        ModelError: when the vector does not fit.
    """
    with ExitStack() as until_the_end, torch.no_grad(), _counted_as_open(model):
        for name, parameter, delta in tau.matched(model):
            module = model.get_submodule(name.rpartition(".")[0])
            if isinstance(delta, LowRank) and isinstance(module, torch.nn.Linear | Conv1D):
                until_the_end.enter_context(temporary_hooks([_add_beside(module, delta)]))
            else:
                until_the_end.enter_context(_replaced(parameter, moved(parameter, delta)))
        yield


@contextmanager
def rewritten(
    model: Any, names: Collection[str], change: Callable[[str, torch.Tensor], torch.Tensor]
) -> Iterator[None]:
    """A block inside which some parameters have other values. Only attacks may call it.

    Args:
        model: the model.
        names: the parameters that are rewritten.
        change: from a parameter's name and values to its values inside the block, which are cast to
            the parameter's type.
    """
    with ExitStack() as until_the_end, torch.no_grad(), _counted_as_open(model):
        for name in names:
            parameter = model.get_parameter(name)
            values = change(name, parameter.data).to(parameter.dtype)
            until_the_end.enter_context(_replaced(parameter, values))
        yield


def check_at_rest(model: Any) -> None:
    """Refuse to change or save a model while a block of this module is open.

    Raises:
        ModelError: inside such a block.
    """
    if getattr(model, DEPTH, 0):
        raise ModelError(
            "the model is edited or attacked for a while: "
            "apply and save are refused until the block ends"
        )


@contextmanager
def _counted_as_open(model: Any) -> Iterator[None]:
    """Count one more open block on the model; blocks may lie inside each other."""
    setattr(model, DEPTH, getattr(model, DEPTH, 0) + 1)
    try:
        yield
    finally:
        setattr(model, DEPTH, getattr(model, DEPTH) - 1)


@contextmanager
def _replaced(parameter: torch.nn.Parameter, values: torch.Tensor) -> Iterator[None]:
    """Let a parameter hold other values; its own tensor, which is not touched, comes back."""
    own = parameter.data
    parameter.data = values
    try:
        yield
    finally:
        parameter.data = own


def _add_beside(module: torch.nn.Module, delta: LowRank) -> RemovableHandle:
    """Register a hook that adds the change's share, `x @ delta`, to the module's output.

    `torch.nn.Linear` stores its weight as (outputs, inputs) and transformers' `Conv1D` as (inputs,
    outputs), so the factor that meets the input x first is the right or the left one.
    """
    weight = next(module.parameters())
    left = delta.left_OR.to(weight.device, weight.dtype)
    right = delta.right_RI.to(weight.device, weight.dtype)
    if isinstance(module, Conv1D):
        from_input, to_output = left, right
    else:
        from_input, to_output = right.T.contiguous(), left.T.contiguous()

    def add(_module: torch.nn.Module, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        return output + (args[0] @ from_input) @ to_output

    return module.register_forward_hook(add)
