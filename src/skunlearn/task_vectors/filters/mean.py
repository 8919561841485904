"""The mean of several vectors: it keeps what their seeds agree on and averages out their noise."""

from collections.abc import Sequence
from dataclasses import dataclass

from skunlearn.task_vectors.filters.base import Context, Filter
from skunlearn.task_vectors.vector import TaskVector, weighted_sum


@dataclass(frozen=True)
class Mean(Filter):
    """The mean has no options."""

    def __call__(self, taus: Sequence[TaskVector], context: Context) -> TaskVector:
        share = 1 / len(taus)
        mean = weighted_sum((share, tau) for tau in taus)
        # A sum would have 1/n of the vectors' safety; the mean is as strong as they are.
        safety = min(tau.safety for tau in taus)
        return TaskVector(mean.deltas, safety)
