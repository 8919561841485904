"""The mean of several vectors: what seeds have in common, their noise averaged away."""

from collections.abc import Sequence
from dataclasses import dataclass

from skunlearn.task_vectors.filters.base import Context, Filter
from skunlearn.task_vectors.vector import TaskVector


@dataclass(frozen=True)
class Mean(Filter):
    """No options."""

    def __call__(self, taus: Sequence[TaskVector], context: Context) -> TaskVector:
        share = 1 / len(taus)
        first, *others = (share * tau for tau in taus)
        mean = sum(others, first)
        return TaskVector(
            mean.deltas, min(tau.safety for tau in taus)
        )  # a mean points as far as its parts
