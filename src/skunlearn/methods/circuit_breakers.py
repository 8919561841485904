"""Circuit breakers by representation rerouting (Zou et al., arXiv:2406.04313).

    L_reroute = relu(cos(h_theta(x), h_theta_o(x)))      on forget answers: hidden states at right
    angles to the base's L_retain  = ||h_theta(x) - h_theta_o(x)||_2          on retain answers:
    hidden states stay L = a (1 - t/2T) L_reroute + a t/2T L_retain         step t of T; means over
    layers and scored tokens theta_u = theta_o + s (theta_trained - theta_o)

Steps turn the hidden states of forget answers away from where they were. At theta_o the cosine is
at its maximum, where it has no gradient: the first step is set off by rounding alone, and is noise;
from the second on the loss falls.

The authors read layers 10 and 20 of 32 and train LoRA up to the higher one, as we do at the same
shares of the depth. They hold all layers' hidden states on retain rows, we those that are read;
they read prompts too, we the positions that predict answer tokens. Their code stops the schedule at
step 150 of 300; ours is stretched over the steps there are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from skunlearn.methods.base import Method, Scored, check_options
from skunlearn.methods.losses import alignment, distance
from skunlearn.utils.errors import ConfigError


@dataclass(frozen=True)
class CircuitBreakers(Method):
    """Options of circuit breakers; the defaults are the authors' for Llama-3-8B.

    Attributes:
        alpha: a, weight of both terms together, above 0.
        read: which layers are read, as shares of the depth (above 0, 1 is the last).
    """

    edit_scale: ClassVar[float] = 1.0

    alpha: float = 10.0
    read: tuple[float, ...] = (10 / 32, 20 / 32)

    def __post_init__(self) -> None:
        check_options(self, above_0=("alpha",))
        if not self.read or not all(0 < share <= 1 for share in self.read):
            raise ConfigError(
                f"method.read={list(self.read)}: give shares of the depth, above 0 and at most 1"
            )

    @property
    def roles(self) -> tuple[str, ...]:
        return ("forget", "retain")

    @property
    def reference_roles(self) -> tuple[str, ...]:
        return ("forget", "retain")

    @property
    def hidden_layers(self) -> tuple[float, ...]:
        return self.read

    def weights(
        self, done: float, last: Mapping[str, float], terms: Mapping[str, float]
    ) -> dict[str, float]:
        """From all on rerouting to half and half."""
        return {"reroute": self.alpha * (1 - done / 2), "retain": self.alpha * done / 2}

    def loss(self, scored: dict[str, Scored]) -> dict[str, torch.Tensor]:
        """`reroute`, 0..1, and `retain`, units of the hidden states, without their weights."""
        forget, retain = scored["forget"], scored["retain"]
        turned = [alignment(forget.hidden[layer], forget.base_hidden[layer]) for layer in self.read]
        moved = [distance(retain.hidden[layer], retain.base_hidden[layer]) for layer in self.read]
        return {"reroute": torch.stack(turned).mean(), "retain": torch.stack(moved).mean()}
