"""Projection on the null space of retain activations, as in AlphaEdit (arXiv:2410.02355);
Ethos (arXiv:2403.08994) projects task vectors too, on directions of the weights.

For a linear module with input x a change D moves the output by D x. With the strongest directions U of the inputs on
retain data taken out, D (I - U U^T), ordinary inputs are moved less and others stay as they were meant.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers.pytorch_utils import Conv1D

from skunlearn.filters.base import Context, Filter, only
from skunlearn.task_vector import Delta, LowRank, TaskVector
from skunlearn.utils.errors import ConfigError


@dataclass(frozen=True)
class NullSpace(Filter):
    """Options of the projection.

    Attributes:
        directions: of each module's inputs that are protected, 0 or more; 0 changes nothing.
    """

    directions: int = 64

    def __post_init__(self) -> None:
        if self.directions < 0:
            raise ConfigError(f"null_space.directions={self.directions}: give 0 or more")

    def __call__(self, taus: Sequence[TaskVector], context: Context) -> TaskVector:
        tau = only(taus)
        if self.directions == 0:
            return tau
        modules = dict(context.lm.model.named_modules())
        linear = {
            name: modules[name.removesuffix(".weight")]
            for name in tau.deltas
            if isinstance(modules.get(name.removesuffix(".weight")), torch.nn.Linear | Conv1D)
        }
        moments = context.input_moments(linear)
        deltas = dict(tau.deltas)
        for name, module in linear.items():
            _, vectors_II = torch.linalg.eigh(moments[name])  # ascending
            u_IK = vectors_II[:, -self.directions :]
            deltas[name] = without_inputs(deltas[name], u_IK, isinstance(module, Conv1D))
        return TaskVector(deltas, tau.safety)


def without_inputs(delta: Delta, u_IK: torch.Tensor, conv: bool) -> Delta:
    """The difference with these input directions, orthonormal columns, projected out; Conv1D has its inputs first."""
    if isinstance(delta, LowRank):
        if conv:
            return LowRank(delta.left_OR - u_IK @ (u_IK.T @ delta.left_OR), delta.right_RI)
        return LowRank(delta.left_OR, delta.right_RI - (delta.right_RI @ u_IK) @ u_IK.T)
    return delta - u_IK @ (u_IK.T @ delta) if conv else delta - (delta @ u_IK) @ u_IK.T
