"""DARE (Yu et al., arXiv:2311.03099): drop entries at random and rescale the others.

Each entry is dropped with probability p and divided by 1 - p otherwise, so that the expected change
stays the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from skunlearn.task_vectors.delta import Delta, dense
from skunlearn.task_vectors.filters.base import Context, Filter, only
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.errors import ConfigError


@dataclass(frozen=True)
class Dare(Filter):
    """Options of DARE.

    Attributes:
        drop: p, the probability that an entry is dropped, 0 or more and below 1; 0 changes nothing.
        seed: of the random draws.
    """

    drop: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.drop < 1:
            raise ConfigError(f"dare.drop={self.drop}: give a share, 0 or more and below 1")

    def __call__(self, taus: Sequence[TaskVector], context: Context) -> TaskVector:
        tau = only(taus)
        if self.drop == 0:
            return tau
        # One generator for all weights, in the vector's order.
        draws = torch.Generator().manual_seed(self.seed)
        deltas: dict[str, Delta] = {}
        for name, delta in tau.deltas.items():
            stays = torch.rand(delta.shape, generator=draws) >= self.drop
            deltas[name] = dense(delta) * stays / (1 - self.drop)
        return TaskVector(deltas, tau.safety)
