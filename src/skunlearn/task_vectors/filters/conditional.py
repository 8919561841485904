"""The conditional filter: a change keeps what it does to harmful inputs, and loses the rest.

A change D of a linear module with input x moves its output by D x. The filter looks for the change
D' that moves the outputs of harmful inputs as D does and leaves those of harmless inputs alone:

    D' = argmin  E_h |(D' - D) x|^2 + lambda E_b |D' x|^2 + rho tr(C_h)/I |D'|^2
       = D C_h (C_h + lambda C_b + rho tr(C_h)/I)^-1

C_h is the second moment E[x x^T] of the inputs where harmful prompts are answered, C_b that of the
inputs where harmless ones are, I the number of inputs. A change of low rank keeps its rank.

As lambda grows without bound with C_h = identity and rho = 0, what is left is the projection on the
null space of harmless inputs, of which `null_space` is the truncated form.

The closed form is that of linear associative memories (ROME, arXiv:2202.05262; AlphaEdit,
arXiv:2410.02355), applied to a change that was learnt before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from skunlearn.task_vectors.delta import Delta, LowRank
from skunlearn.task_vectors.filters.base import Context, Filter, only
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.errors import ConfigError


@dataclass(frozen=True)
class Conditional(Filter):
    """Options of the conditional filter.

    Attributes:
        harmless: lambda, what a change of harmless outputs costs, against one of harmful outputs; 0
            or more.
        ridge: rho, the weight of the penalty on the size of the change, above 0.
    """

    harmless: float = 3.0
    ridge: float = 0.1

    def __post_init__(self) -> None:
        if not self.harmless >= 0 or not self.ridge > 0:
            raise ConfigError(
                f"conditional.harmless={self.harmless}, conditional.ridge={self.ridge}: "
                "give 0 or more, and above 0"
            )

    def __call__(self, taus: Sequence[TaskVector], context: Context) -> TaskVector:
        tau = only(taus)
        input_axes: dict[str, int] = {}
        for name in tau.deltas:
            axis = context.input_axis(name)
            if axis is not None:  # the weight of a linear module
                input_axes[name] = axis
        names = list(input_axes)
        harmful = context.harmful_moments(names)
        harmless = context.harmless_moments(names)
        deltas = dict(tau.deltas)
        for name, axis in input_axes.items():
            map_II = self.input_map(harmful[name], harmless[name])
            deltas[name] = with_inputs_mapped(deltas[name], map_II, inputs_first=axis == 0)
        return TaskVector(deltas, tau.safety)

    def input_map(self, harmful_II: torch.Tensor, harmless_II: torch.Tensor) -> torch.Tensor:
        """M = C_h (C_h + lambda C_b + rho tr(C_h)/I)^-1, by which D is multiplied from the right.

        Args:
            harmful_II: C_h, (I, I).
            harmless_II: C_b, (I, I).
        """
        c_h = harmful_II.double()
        size = self.ridge * c_h.diagonal().mean()
        identity = torch.eye(len(c_h), dtype=torch.double, device=c_h.device)
        total = c_h + self.harmless * harmless_II.double() + size * identity
        # Both matrices are symmetric, so M is the transpose of total^-1 C_h.
        return torch.linalg.solve(total, c_h).T.to(harmful_II.dtype)


def with_inputs_mapped(delta: Delta, map_II: torch.Tensor, inputs_first: bool) -> Delta:
    """D M for a change D, in the form in which it is stored.

    Args:
        delta: (O, I), or (I, O) when `inputs_first`.
        map_II: M.
        inputs_first: whether the weight is stored with its inputs first (transformers' Conv1D).
    """
    if isinstance(delta, LowRank):
        if inputs_first:
            return LowRank(map_II.T @ delta.left_OR, delta.right_RI)
        return LowRank(delta.left_OR, delta.right_RI @ map_II)
    return map_II.T @ delta if inputs_first else delta @ map_II
