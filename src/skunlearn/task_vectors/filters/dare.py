"""DARE (Yu et al., arXiv:2311.03099): drop entries at random and rescale the rest, so that the mean
change stays."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from skunlearn.task_vectors.filters.base import Context, Filter, dense, only
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.errors import ConfigError


@dataclass(frozen=True)
class Dare(Filter):
    """Options of DARE.

    Attributes:
        drop: share of the entries that is dropped, 0 or more and below 1; 0 changes nothing.
        seed: of the draws.
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
        draws = torch.Generator().manual_seed(self.seed)
        kept = {
            name: dense(d) * (torch.rand(d.shape, generator=draws) >= self.drop) / (1 - self.drop)
            for name, d in tau.deltas.items()
        }
        return TaskVector(kept, tau.safety)
