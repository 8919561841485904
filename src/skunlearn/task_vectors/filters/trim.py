"""Magnitude trim (the first step of TIES, Yadav et al., arXiv:2306.01708): small changes are noise,
they go."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from skunlearn.task_vectors.filters.base import Context, Filter, check_share, dense, only
from skunlearn.task_vectors.vector import TaskVector


@dataclass(frozen=True)
class Trim(Filter):
    """Options of the trim.

    Attributes:
        density: share of each weight's entries that stays, the largest ones (0..1); 1 changes
            nothing.
    """

    density: float = 0.2

    def __post_init__(self) -> None:
        check_share("trim.density", self.density)

    def __call__(self, taus: Sequence[TaskVector], context: Context) -> TaskVector:
        tau = only(taus)
        if self.density == 1:
            return tau
        return TaskVector(
            {name: trimmed(dense(d), self.density) for name, d in tau.deltas.items()}, tau.safety
        )


def trimmed(delta: torch.Tensor, density: float) -> torch.Tensor:
    """The largest entries by magnitude, `round(density * size)` of them; the others are 0."""
    keep = round(density * delta.numel())
    flat = delta.flatten()
    chosen = flat.abs().topk(keep).indices
    return torch.zeros_like(flat).scatter(0, chosen, flat[chosen]).reshape(delta.shape)
