"""An edited or attacked model for a while: nothing is written, the base comes back exactly.

`edited` is for everybody and refuses what points at the bad model. `attacked` and `rewritten` are
for `skunlearn.attacks` alone: inside their blocks the model may be the bad one, so nothing there
can be applied or saved.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from transformers.pytorch_utils import Conv1D

from skunlearn.task_vectors.vector import LowRank, TaskVector, moved
from skunlearn.utils.errors import ModelError

DEPTH = "skunlearn_blocks_open"


@contextmanager
def edited(model: Any, tau: TaskVector) -> Iterator[None]:
    """Inside the block the model behaves as `theta + tau`.

    LoRA factors are added beside their linear module, so no weight is touched or copied; dense
    differences are summed into new tensors that replace the weights until the block ends.

    Raises:
        ModelError: when the vector does not fit, or points at the bad model.
    """
    tau.check_safe()
    with attacked(model, tau):
        yield


@contextmanager
def attacked(model: Any, tau: TaskVector) -> Iterator[None]:
    """As `edited`, wherever the vector points: only attacks may call it.

    Raises:
        ModelError: when the vector does not fit.
    """
    with ExitStack() as undo, torch.no_grad(), _open(model):
        for name, parameter, delta in tau.matched(model):
            module = model.get_submodule(name.rpartition(".")[0])
            if isinstance(delta, LowRank) and isinstance(module, torch.nn.Linear | Conv1D):
                undo.callback(_beside(module, delta).remove)
            else:
                undo.callback(setattr, parameter, "data", parameter.data)
                parameter.data = moved(parameter, delta)
        yield


@contextmanager
def rewritten(
    model: Any, names: Collection[str], change: Callable[[str, torch.Tensor], torch.Tensor]
) -> Iterator[None]:
    """Inside the block each named parameter is `change(name, parameter)`: only attacks may call
    it."""
    with ExitStack() as undo, torch.no_grad(), _open(model):
        for name in names:
            parameter = model.get_parameter(name)
            undo.callback(setattr, parameter, "data", parameter.data)
            parameter.data = change(name, parameter.data).to(parameter.dtype)
        yield


def check_at_rest(model: Any) -> None:
    """Refuse to change or write a model for good while it is another one for a while.

    Raises:
        ModelError: inside a block of this module.
    """
    if getattr(model, DEPTH, 0):
        raise ModelError(
            "the model is edited or attacked for a while: apply and save are refused until the block ends"
        )


@contextmanager
def _open(model: Any) -> Iterator[None]:
    setattr(model, DEPTH, getattr(model, DEPTH, 0) + 1)
    try:
        yield
    finally:
        setattr(model, DEPTH, getattr(model, DEPTH) - 1)


def _beside(module: torch.nn.Module, delta: LowRank) -> Any:
    """Add `x @ delta` to what the module puts out."""
    weight = next(module.parameters())
    left, right = (part.to(weight.device, weight.dtype) for part in (delta.left_OR, delta.right_RI))
    first, second = (
        (left, right) if isinstance(module, Conv1D) else (right.T.contiguous(), left.T.contiguous())
    )
    return module.register_forward_hook(
        lambda _module, args, output: output + (args[0] @ first) @ second
    )
