"""Magnitude trim: keep the largest entries of each weight's change and set the others to 0.

It is the first step of TIES (Yadav et al., arXiv:2306.01708), where small changes count as noise.
The authors trim over the whole vector, this filter weight by weight.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from skunlearn.task_vectors.delta import dense
from skunlearn.task_vectors.filters.base import Context, Filter, check_share, only
from skunlearn.task_vectors.vector import TaskVector


@dataclass(frozen=True)
class Trim(Filter):
    """Options of the trim.

    Attributes:
        density: share of each weight's entries that stays (0..1); 1 changes nothing.
    """

    density: float = 0.2

    def __post_init__(self) -> None:
        check_share("trim.density", self.density)

    def __call__(self, taus: Sequence[TaskVector], context: Context) -> TaskVector:
        tau = only(taus)
        if self.density == 1:
            return tau
        deltas = {name: trimmed(dense(d), self.density) for name, d in tau.deltas.items()}
        return TaskVector(deltas, tau.safety)


def trimmed(change: torch.Tensor, density: float) -> torch.Tensor:
    """Keep the `round(density * size)` entries with the largest magnitudes; the others become 0."""
    count = round(density * change.numel())
    flat = change.flatten()
    largest = flat.abs().topk(count).indices
    return torch.zeros_like(flat).scatter(0, largest, flat[largest]).reshape(change.shape)
