"""TIES merging across vectors (Yadav et al., arXiv:2306.01708): trim each, elect a sign, average
who agrees with it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from skunlearn.task_vectors.filters.base import Context, Filter, check_share, dense
from skunlearn.task_vectors.filters.trim import trimmed
from skunlearn.task_vectors.vector import TaskVector


@dataclass(frozen=True)
class Ties(Filter):
    """Options of TIES.

    Attributes:
        density: share of each weight's entries that stays in each vector (0..1); the authors take
            0.2.
    """

    density: float = 0.2

    def __post_init__(self) -> None:
        check_share("ties.density", self.density)

    def __call__(self, taus: Sequence[TaskVector], context: Context) -> TaskVector:
        names = {name: None for tau in taus for name in tau.deltas}  # in order
        merged = {
            name: elected(
                [
                    trimmed(dense(tau.deltas[name]), self.density)
                    for tau in taus
                    if name in tau.deltas
                ]
            )
            for name in names
        }
        return TaskVector(merged, min(tau.safety for tau in taus))


def elected(deltas: Sequence[torch.Tensor]) -> torch.Tensor:
    """Each entry: the sign with the larger sum of magnitudes, and the mean of the non-zero values
    that have it."""
    all_KOI = torch.stack(list(deltas))
    sign_OI = all_KOI.sum(dim=0).sign()
    agrees_KOI = (all_KOI.sign() == sign_OI) & (all_KOI != 0)
    return (all_KOI * agrees_KOI).sum(dim=0) / agrees_KOI.sum(dim=0).clamp(min=1)
