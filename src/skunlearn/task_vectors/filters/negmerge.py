"""NegMerge (Kim et al., arXiv:2410.05583): only entries on whose sign all vectors agree are
negated, their mean."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from skunlearn.task_vectors.filters.base import Context, Filter, dense
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.errors import ConfigError


@dataclass(frozen=True)
class NegMerge(Filter):
    """No options."""

    def __call__(self, taus: Sequence[TaskVector], context: Context) -> TaskVector:
        if odd := [name for name in taus[0].deltas if any(name not in tau.deltas for tau in taus)]:
            raise ConfigError(
                f"negmerge: '{odd[0]}' is not in all task vectors: train them on the same weights"
            )
        merged = {
            name: agreed([dense(tau.deltas[name]) for tau in taus]) for name in taus[0].deltas
        }
        return TaskVector(merged, min(tau.safety for tau in taus))


def agreed(deltas: Sequence[torch.Tensor]) -> torch.Tensor:
    """The mean where all signs are the same, else 0."""
    all_KOI = torch.stack(list(deltas))
    same_OI = (all_KOI.sign() == all_KOI[0].sign()).all(dim=0)
    return all_KOI.mean(dim=0) * same_OI
