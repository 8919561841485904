"""Masks and scales by layer and by kind of module: where in the network the edit acts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from skunlearn.task_vectors.delta import Delta, scaled
from skunlearn.task_vectors.filters.base import Context, Filter, check_share, only
from skunlearn.task_vectors.parameter_names import kind_of, layer_of
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.registry import did_you_mean


@dataclass(frozen=True)
class Mask(Filter):
    """Options of the mask. A weight outside the decoder layers is scaled by `modules` alone.

    Attributes:
        first: where the layers that stay begin, as a share of the depth (0..1).
        last: where they end, as a share of the depth (0..1).
        modules: name of a kind of module ("q_proj") -> scale, 0 or more. Kinds that are not named
            stay as they are.
        bands: scales, 0 or more. The layers that the vector changes are divided into that many
            bands of equal size, from the bottom, and each band has its scale.
    """

    first: float = 0.0
    last: float = 1.0
    modules: dict[str, float] = field(default_factory=dict)
    bands: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_share("mask.first", self.first)
        check_share("mask.last", self.last)
        for kind, scale in self.modules.items():
            if not scale >= 0:
                raise ConfigError(f"mask.modules.{kind}={scale}: give 0 or more")
        for scale in self.bands:
            if not scale >= 0:
                raise ConfigError(f"mask.bands={list(self.bands)}: give scales of 0 or more")

    def __call__(self, taus: Sequence[TaskVector], context: Context) -> TaskVector:
        tau = only(taus)
        kinds = {kind_of(name) for name in tau.deltas}
        for kind in self.modules:
            if kind not in kinds:
                raise ConfigError(
                    f"mask.modules: the vector has no '{kind}': {did_you_mean(kind, kinds)}"
                )
        scale_of_layer = self._scale_of_layer(tau.deltas)
        deltas: dict[str, Delta] = {}
        for name, delta in tau.deltas.items():
            layer = layer_of(name)
            scale = self.modules.get(kind_of(name), 1.0)
            if layer is not None:
                if not self.first * context.depth <= layer < self.last * context.depth:
                    continue
                scale *= scale_of_layer.get(layer, 1.0)
            if scale:
                deltas[name] = scaled(delta, scale)
        if not deltas:
            raise ConfigError(
                "mask: nothing of the vector is left: widen first and last, or raise a scale"
            )
        return TaskVector(deltas, tau.safety)

    def _scale_of_layer(self, names: Iterable[str]) -> dict[int, float]:
        """Layer -> scale of its band, for the layers of these weights; empty without bands."""
        if not self.bands:
            return {}
        layers = set()
        for name in names:
            layer = layer_of(name)
            if layer is not None:
                layers.add(layer)
        scales = {}
        for position, layer in enumerate(sorted(layers)):
            band = position * len(self.bands) // len(layers)
            scales[layer] = self.bands[band]
        return scales
