"""Principal-component collapse, after RepSelect (Sondej et al., arXiv:2606.17168).

The strongest directions of a change are those that much else shares, retain data and a fine-tuning
attacker among it; what is left is selective. The authors collapse the components of each update's
gradient; this filter collapses those of the whole vector, which needs no retraining.
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
        components: the strongest singular directions of each weight that go, 0 or more; 0 changes
            nothing.
    """

    components: int = 2

    def __post_init__(self) -> None:
        if self.components < 0:
            raise ConfigError(f"collapse.components={self.components}: give 0 or more")

    def __call__(self, taus: Sequence[TaskVector], context: Context) -> TaskVector:
        tau = only(taus)
        if self.components == 0:
            return tau
        return TaskVector(
            {name: spectrum_cut(d, self.components, None) for name, d in tau.deltas.items()},
            tau.safety,
        )
