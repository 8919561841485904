"""RMU: representation misdirection for unlearning (Li et al., WMDP, arXiv:2403.03218).

    L_forget = ||h_theta - c u||^2 / D                             hidden states h of forget answers
    L_retain = ||h_theta - h_theta_o||^2 / D                       hidden states h of retain answers
    L = L_forget + w L_retain
    theta_u = theta_o + s (theta_trained - theta_o)

h are the outputs of one layer, D their size. u is a fixed random direction of length 1. Its entries
are drawn uniformly from 0..1 before it is normalised, as the authors draw it.

Average: each term over its scored tokens of a step, and over the D dimensions.

Sign: the edit keeps what was learnt. A step moves the hidden states of forget answers to c u and
leaves those of retain answers where they were. What that does to the likelihood of forget answers
is left to the layers above.

Differences to the authors' code:

- Layers: they read layer 7 of 32 and train the down projections of layers 5 to 7. We read the layer
  at that share of the depth, and train what the options under `lora` say of the layers up to there.
  (`--set lora.frozen=0.625 --set lora.modules=[down_proj]` is theirs.)
- Positions: they read whole texts, we the token positions that predict answer tokens.
- c and w must be tuned to the model: theirs are 6.5 and 1200 for Zephyr-7B.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from skunlearn.methods.base import Method, Scored, active_roles, check_options
from skunlearn.methods.losses import squared_distance
from skunlearn.utils.errors import ConfigError


@dataclass(frozen=True)
class RMU(Method):
    """Options of RMU; the defaults are those of the authors' code.

    Attributes:
        steering: c, the length of the vector that forget answers are moved to, above 0.
        retain_weight: w, 0 or more.
        layer: the layer that is read, as a share of the depth (above 0, 1 is the last).
    """

    edit_scale: ClassVar[float] = 1.0

    steering: float = 20.0
    retain_weight: float = 100.0
    layer: float = 0.25

    def __post_init__(self) -> None:
        check_options(self, above_0=("steering", "layer"))
        if self.layer > 1:
            raise ConfigError(f"method.layer={self.layer}: give a share of the depth, at most 1")

    @property
    def roles(self) -> tuple[str, ...]:
        return active_roles(forget=1.0, retain=self.retain_weight)

    @property
    def reference_roles(self) -> tuple[str, ...]:
        return active_roles(retain=self.retain_weight)

    @property
    def hidden_layers(self) -> tuple[float, ...]:
        return (self.layer,)

    def loss(self, scored: dict[str, Scored]) -> dict[str, torch.Tensor]:
        """`forget` and `retain` with its weight, in squared units of the hidden states."""
        hidden_ND = scored["forget"].hidden[self.layer]
        target_D = self.steering * direction(hidden_ND.shape[1]).to(hidden_ND.device)
        terms = {"forget": squared_distance(hidden_ND, target_D)}
        if "retain" in scored:
            retain = scored["retain"]
            moved = squared_distance(retain.hidden[self.layer], retain.base_hidden[self.layer])
            terms["retain"] = self.retain_weight * moved
        return terms


def direction(dimensions: int) -> torch.Tensor:
    """u, (D,): a random direction of length 1, the same in every run."""
    u_D = torch.rand(dimensions, generator=torch.Generator().manual_seed(0))
    return u_D / u_D.norm()
