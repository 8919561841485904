"""Collapse of the principal components, after RepSelect (Sondej et al., arXiv:2606.17168).

The strongest singular directions of a change are shared with much else: retain data use them, and
so does an attacker's fine-tuning. Without them the rest of the change is more selective.

The authors collapse the components of each update's gradient. This filter collapses those of the
finished vector, which needs no new training.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from skunlearn.task_vectors.filters.base import Context, Filter, only
from skunlearn.task_vectors.filters.low_rank import spectrum_cut
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.errors import ConfigError


@dataclass(frozen=True)
class Collapse(Filter):
    """Options of the collapse.

    Attributes:
        components: how many of the strongest singular directions of each weight are removed, 0 or
            more; 0 changes nothing.
    """

    components: int = 2

    def __post_init__(self) -> None:
        if self.components < 0:
            raise ConfigError(f"collapse.components={self.components}: give 0 or more")

    def __call__(self, taus: Sequence[TaskVector], context: Context) -> TaskVector:
        tau = only(taus)
        if self.components == 0:
            return tau
        deltas = {name: spectrum_cut(d, self.components, None) for name, d in tau.deltas.items()}
        return TaskVector(deltas, tau.safety)
