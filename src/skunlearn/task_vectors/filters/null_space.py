"""Projection on the null space of retain activations, as in AlphaEdit (arXiv:2410.02355);
Ethos (arXiv:2403.08994) projects task vectors too, on directions of the weights.

For a linear module with input x a change D moves the output by D x. With the strongest directions U
of the inputs on retain data taken out, D (I - U U^T), ordinary inputs are moved less and others
stay as they were meant.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from skunlearn.task_vectors.filters.base import Context, Filter, only
from skunlearn.task_vectors.vector import Delta, LowRank, TaskVector
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
        axes = {name: context.input_axis(name) for name in tau.deltas}
        linear = [name for name, axis in axes.items() if axis is not None]
        moments = context.input_moments(linear)
        deltas = dict(tau.deltas)
        for name in linear:
            _, vectors_II = torch.linalg.eigh(moments[name])  # ascending
            u_IK = vectors_II[:, -self.directions :]
            deltas[name] = without_inputs(deltas[name], u_IK, inputs_first=axes[name] == 0)
        return TaskVector(deltas, tau.safety)


def without_inputs(delta: Delta, u_IK: torch.Tensor, inputs_first: bool) -> Delta:
    """D (I - U U^T): the difference with these input directions projected out.

    Args:
        delta: (O, I), or (I, O) where inputs come first (transformers' Conv1D).
        u_IK: K directions as orthonormal columns.
        inputs_first: how the weight lies.
    """
    if isinstance(delta, LowRank):
        if inputs_first:
            return LowRank(delta.left_OR - u_IK @ (u_IK.T @ delta.left_OR), delta.right_RI)
        return LowRank(delta.left_OR, delta.right_RI - (delta.right_RI @ u_IK) @ u_IK.T)
    return delta - u_IK @ (u_IK.T @ delta) if inputs_first else delta - (delta @ u_IK) @ u_IK.T
