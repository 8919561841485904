"""Weighting against a retain Fisher, as in PerTA: entries that ordinary answers depend on move
less.

weight = 1 / (1 + strength * F / mean(F))        F: diagonal Fisher of each weight on retain rows
"""

from collections.abc import Sequence
from dataclasses import dataclass

from skunlearn.task_vectors.filters.base import Context, Filter, dense, only
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.errors import ConfigError


@dataclass(frozen=True)
class Fisher(Filter):
    """Options of the weighting.

    Attributes:
        strength: 0 or more; 0 changes nothing, at 1 an entry of mean importance is halved.
    """

    strength: float = 1.0

    def __post_init__(self) -> None:
        if not self.strength >= 0:
            raise ConfigError(f"fisher.strength={self.strength}: give 0 or more")

    def __call__(self, taus: Sequence[TaskVector], context: Context) -> TaskVector:
        tau = only(taus)
        if self.strength == 0:
            return tau
        found = context.fisher(tau.deltas)
        weighted = {
            name: dense(d) / (1 + self.strength * found[name] / found[name].mean().clamp(min=1e-30))
            for name, d in tau.deltas.items()
        }
        return TaskVector(weighted, tau.safety)
