"""An edited model for a while: nothing is written, the base comes back exactly."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from transformers.pytorch_utils import Conv1D

from skunlearn.task_vector import LowRank, TaskVector, moved


@contextmanager
def edited(model: Any, tau: TaskVector) -> Iterator[None]:
    """Inside the block the model behaves as `theta + tau`.

    LoRA factors are added beside their linear module, so no weight is touched or copied; dense differences are summed
    into new tensors that replace the weights until the block ends.

    Raises:
        ModelError: when the vector does not fit, or points at the bad model.
    """
    tau.check_safe()
    with ExitStack() as undo, torch.no_grad():
        for name, parameter, delta in tau.matched(model):
            module = model.get_submodule(name.rpartition(".")[0])
            if isinstance(delta, LowRank) and isinstance(module, torch.nn.Linear | Conv1D):
                undo.callback(_beside(module, delta).remove)
            else:
                undo.callback(setattr, parameter, "data", parameter.data)
                parameter.data = moved(parameter, delta)
        yield


def _beside(module: torch.nn.Module, delta: LowRank) -> Any:
    """Add `x @ delta` to what the module puts out."""
    weight = next(module.parameters())
    left, right = (part.to(weight.device, weight.dtype) for part in (delta.left_OR, delta.right_RI))
    first, second = (left, right) if isinstance(module, Conv1D) else (right.T.contiguous(), left.T.contiguous())
    return module.register_forward_hook(lambda _module, args, output: output + (args[0] @ first) @ second)
