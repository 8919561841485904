"""Weighting by the Fisher information of retain data, as in PerTA (Cai et al., arXiv:2601.22030).

    weight = 1 / (1 + strength * F / mean(F))

F is the diagonal of the empirical Fisher information on retain rows, its mean is over the entries
of one weight matrix. Entries that retain answers depend on move less.

PerTA weighs the importance for forgetting against that for retaining. This filter reads retain data
alone, and squares the gradients of batches, not of single rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from skunlearn.task_vectors.delta import Delta, dense
from skunlearn.task_vectors.filters.base import Context, Filter, only
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.errors import ConfigError


@dataclass(frozen=True)
class Fisher(Filter):
    """Options of the weighting.

    Attributes:
        strength: 0 or more. At 0 nothing changes, at 1 an entry of mean importance is halved.
    """

    strength: float = 1.0

    def __post_init__(self) -> None:
        if not self.strength >= 0:
            raise ConfigError(f"fisher.strength={self.strength}: give 0 or more")

    def __call__(self, taus: Sequence[TaskVector], context: Context) -> TaskVector:
        tau = only(taus)
        if self.strength == 0:
            return tau
        importance = context.fisher(tau.deltas)
        deltas: dict[str, Delta] = {}
        for name, delta in tau.deltas.items():
            fisher = importance[name]
            mean = fisher.mean().clamp(min=1e-30)  # a weight that no row depends on has mean 0
            deltas[name] = dense(delta) / (1 + self.strength * fisher / mean)
        return TaskVector(deltas, tau.safety)
