"""The mean of several vectors: it keeps what their seeds agree on and averages out their noise."""

from collections.abc import Sequence
from dataclasses import dataclass

from skunlearn.task_vectors.filters.base import Context, Filter, lowest_safety
from skunlearn.task_vectors.vector import TaskVector, weighted_sum


@dataclass(frozen=True)
class Mean(Filter):
    """The mean has no options."""

    def __call__(self, taus: Sequence[TaskVector], context: Context) -> TaskVector:
        share = 1 / len(taus)
        mean = weighted_sum((share, tau) for tau in taus)
        # The shares have scaled the safety too, but a mean points as far as its vectors do.
        return TaskVector(mean.deltas, lowest_safety(taus))
