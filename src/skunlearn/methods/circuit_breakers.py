"""Circuit breakers by representation rerouting (Zou et al., arXiv:2406.04313).

    L_reroute = relu(cos(h_theta, h_theta_o))          hidden states h of forget answers
    L_retain  = ||h_theta - h_theta_o||_2              hidden states h of retain answers
    L = a (1 - t/2T) L_reroute + a t/2T L_retain       in step t of T
    theta_u = theta_o + s (theta_trained - theta_o)

Average: over the scored tokens of a step, then over the layers that are read.

Sign: the edit keeps what was learnt. Steps turn the hidden states of forget answers until they are
at right angles to the base model's, and leave those of retain answers where they were. At theta_o
the cosine is at its maximum and has no gradient: the first step follows rounding errors alone, and
the loss falls from the second step on.

Differences to the authors' code:

- Layers: they read layers 10 and 20 of 32 and train LoRA up to the higher one. We do so at the same
  shares of the depth.
- Retain rows: they hold the hidden states of all layers, we those of the layers that are read.
- Positions: they read prompts too, we the token positions that predict answer tokens.
- Schedule: their code stops it at step 150 of 300, ours is stretched over all steps.
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
        read: the layers that are read, as shares of the depth (above 0, 1 is the last).
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
        """Shift from rerouting alone to half rerouting, half retaining."""
        return {"reroute": self.alpha * (1 - done / 2), "retain": self.alpha * done / 2}

    def loss(self, scored: dict[str, Scored]) -> dict[str, torch.Tensor]:
        """`reroute`, 0..1, and `retain`, in units of the hidden states, without their weights."""
        forget, retain = scored["forget"], scored["retain"]
        cosines, distances = [], []
        for layer in self.read:
            cosines.append(alignment(forget.hidden[layer], forget.base_hidden[layer]))
            distances.append(distance(retain.hidden[layer], retain.base_hidden[layer]))
        return {"reroute": torch.stack(cosines).mean(), "retain": torch.stack(distances).mean()}
