"""TIES merging of several vectors (Yadav et al., arXiv:2306.01708).

Trim each vector to its largest entries, elect a sign for each entry, and average the values that
have the elected sign. The authors trim over the whole vector, this filter weight by weight.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from skunlearn.task_vectors.delta import Delta, dense
from skunlearn.task_vectors.filters.base import Context, Filter, check_share, lowest_safety
from skunlearn.task_vectors.filters.trim import trimmed
from skunlearn.task_vectors.vector import TaskVector


@dataclass(frozen=True)
class Ties(Filter):
    """Options of TIES.

    Attributes:
        density: share of each weight's entries that stays in each vector (0..1); the authors' value
            is 0.2.
    """

    density: float = 0.2

    def __post_init__(self) -> None:
        check_share("ties.density", self.density)

    def __call__(self, taus: Sequence[TaskVector], context: Context) -> TaskVector:
        # Weights in the order in which they first appear; a vector may lack some of them.
        names: dict[str, None] = {}
        for tau in taus:
            names.update(dict.fromkeys(tau.deltas))
        # One weight at a time, so that only its own changes are dense at once.
        merged: dict[str, Delta] = {}
        for name in names:
            changes = []
            for tau in taus:
                if name in tau.deltas:
                    changes.append(trimmed(dense(tau.deltas[name]), self.density))
            merged[name] = elected(changes)
        return TaskVector(merged, lowest_safety(taus))


def elected(changes: Sequence[torch.Tensor]) -> torch.Tensor:
    """Merge trimmed changes of one weight, entry by entry.

    The elected sign is the one with the larger sum of magnitudes. The result is the mean of the
    non-zero values that have it, or 0.
    """
    all_KOI = torch.stack(list(changes))
    sign_OI = all_KOI.sum(dim=0).sign()
    agrees_KOI = (all_KOI.sign() == sign_OI) & (all_KOI != 0)
    return (all_KOI * agrees_KOI).sum(dim=0) / agrees_KOI.sum(dim=0).clamp(min=1)
