"""Projection on the null space of retain inputs, as in AlphaEdit (arXiv:2410.02355).

A change D of a linear module with input x moves its output by D x. The filter takes the strongest
directions U of the module's inputs on retain data out of D:

    D (I - U U^T)

Ordinary inputs, which lie mostly along U, are then moved less, and the other inputs as before.

Ethos (arXiv:2403.08994) projects task vectors too, on directions of the weights instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from skunlearn.task_vectors.delta import Delta, LowRank
from skunlearn.task_vectors.filters.base import Context, Filter, only
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.errors import ConfigError


@dataclass(frozen=True)
class NullSpace(Filter):
    """Options of the projection.

    Attributes:
        directions: how many input directions of each linear module are protected, 0 or more; 0
            changes nothing.
    """

    directions: int = 64

    def __post_init__(self) -> None:
        if self.directions < 0:
            raise ConfigError(f"null_space.directions={self.directions}: give 0 or more")

    def __call__(self, taus: Sequence[TaskVector], context: Context) -> TaskVector:
        tau = only(taus)
        if self.directions == 0:
            return tau
        input_axes: dict[str, int] = {}
        for name in tau.deltas:
            axis = context.input_axis(name)
            if axis is not None:  # the weight of a linear module
                input_axes[name] = axis
        moments = context.input_moments(list(input_axes))
        deltas = dict(tau.deltas)
        for name, axis in input_axes.items():
            # eigh sorts from the smallest eigenvalue, so the strongest directions come last.
            _, vectors_II = torch.linalg.eigh(moments[name])
            u_IK = vectors_II[:, -self.directions :]
            deltas[name] = without_inputs(deltas[name], u_IK, inputs_first=axis == 0)
        return TaskVector(deltas, tau.safety)


def without_inputs(delta: Delta, u_IK: torch.Tensor, inputs_first: bool) -> Delta:
    """Project input directions out of a change: D (I - U U^T).

    Args:
        delta: (O, I), or (I, O) when `inputs_first`.
        u_IK: K orthonormal input directions as columns.
        inputs_first: whether the weight is stored with its inputs first (transformers' Conv1D).
    """
    if isinstance(delta, LowRank):
        if inputs_first:
            left_IR = delta.left_OR
            return LowRank(left_IR - u_IK @ (u_IK.T @ left_IR), delta.right_RI)
        right_RI = delta.right_RI
        return LowRank(delta.left_OR, right_RI - (right_RI @ u_IK) @ u_IK.T)
    if inputs_first:
        return delta - u_IK @ (u_IK.T @ delta)
    return delta - (delta @ u_IK) @ u_IK.T
