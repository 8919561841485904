"""Masks and scales by layer and by kind of module: where in the network the edit acts."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from skunlearn.task_vectors.filters.base import Context, Filter, check_share, only
from skunlearn.task_vectors.parameter_names import kind_of, layer_of
from skunlearn.task_vectors.vector import LowRank, TaskVector
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.registry import did_you_mean


@dataclass(frozen=True)
class Mask(Filter):
    """Options of the mask.

    Attributes:
        first: where the layers that stay begin, as a share of the depth (0..1).
        last: where they end (0..1).
        modules: scale, 0 or more, by the last name of the module ("q_proj"); those not named stay
            as they are.
        bands: scale, 0 or more, of each of so many equal bands of the layers that the vector has,
            from the bottom.
    """

    first: float = 0.0
    last: float = 1.0
    modules: dict[str, float] = field(default_factory=dict)
    bands: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_share("mask.first", self.first)
        check_share("mask.last", self.last)
        if low := [name for name, scale in self.modules.items() if not scale >= 0]:
            raise ConfigError(f"mask.modules.{low[0]}={self.modules[low[0]]}: give 0 or more")
        if not all(scale >= 0 for scale in self.bands):
            raise ConfigError(f"mask.bands={list(self.bands)}: give scales of 0 or more")

    def __call__(self, taus: Sequence[TaskVector], context: Context) -> TaskVector:
        tau = only(taus)
        kinds = {kind_of(name) for name in tau.deltas}
        if odd := [name for name in self.modules if name not in kinds]:
            raise ConfigError(
                f"mask.modules: the vector has no '{odd[0]}': {did_you_mean(odd[0], kinds)}"
            )
        layers = sorted({layer for name in tau.deltas if (layer := layer_of(name)) is not None})
        bands = {
            layer: self.bands[at * len(self.bands) // len(layers)]
            for at, layer in enumerate(layers)
            if self.bands
        }
        deltas = {}
        for name, delta in tau.deltas.items():
            layer = layer_of(name)
            scale = self.modules.get(kind_of(name), 1.0) * bands.get(
                -1 if layer is None else layer, 1.0
            )
            inside = (
                layer is None or self.first * context.depth <= layer < self.last * context.depth
            )
            if inside and scale:
                deltas[name] = delta.scaled(scale) if isinstance(delta, LowRank) else delta * scale
        if not deltas:
            raise ConfigError(
                "mask: nothing of the vector is left: widen first and last, or raise a scale"
            )
        return TaskVector(deltas, tau.safety)
