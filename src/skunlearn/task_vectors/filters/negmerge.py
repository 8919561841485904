"""NegMerge (Kim et al., arXiv:2410.05583): the mean of entries on whose sign all vectors agree.

Entries on whose sign they differ become 0. The edit then negates what is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from skunlearn.task_vectors.delta import Delta, dense
from skunlearn.task_vectors.filters.base import Context, Filter, lowest_safety
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.errors import ConfigError


@dataclass(frozen=True)
class NegMerge(Filter):
    """NegMerge has no options."""

    def __call__(self, taus: Sequence[TaskVector], context: Context) -> TaskVector:
        merged: dict[str, Delta] = {}
        for name in taus[0].deltas:
            changes = []
            for tau in taus:
                if name not in tau.deltas:
                    raise ConfigError(
                        f"negmerge: '{name}' is not in all task vectors: "
                        "train them on the same weights"
                    )
                changes.append(dense(tau.deltas[name]))
            merged[name] = agreed(changes)
        return TaskVector(merged, lowest_safety(taus))


def agreed(changes: Sequence[torch.Tensor]) -> torch.Tensor:
    """The mean of the entries that have the same sign in all changes; 0 for the others."""
    all_KOI = torch.stack(list(changes))
    same_sign_OI = (all_KOI.sign() == all_KOI[0].sign()).all(dim=0)
    return all_KOI.mean(dim=0) * same_sign_OI
