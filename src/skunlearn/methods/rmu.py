"""RMU: representation misdirection for unlearning (Li et al., WMDP, arXiv:2403.03218).

    L_forget = ||h_theta(x) - c u||^2 / D                on forget answers: hidden states of a layer
    to a random place L_retain = ||h_theta(x) - h_theta_o(x)||^2 / D       on retain answers: hidden
    states stay L = L_forget + w L_retain                            mean over scored tokens and the
    D dimensions theta_u = theta_o + s (theta_trained - theta_o)

u is a fixed random direction of length 1, its entries drawn uniformly from 0..1 first, as the
authors draw it. A step moves the hidden states of forget answers towards c u; what that does to
their likelihood is left to the layers above.

The authors read layer 7 of 32 and train the down projections of layers 5 to 7; we read the same
share of the depth, and train what `lora` says of the layers up to there (`--set lora.frozen=0.625
--set lora.modules=[down_proj]` is theirs). They read whole texts, we the positions that predict
answer tokens. c and w want tuning with the model: theirs are 6.5 and 1200 for Zephyr-7B.
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
        steering: c, how far from 0 forget answers are sent, above 0.
        retain_weight: w, 0 or more.
        layer: which layer is read, as a share of the depth (above 0, 1 is the last).
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
        """`forget` and `retain`, squared units of the hidden states."""
        hidden_ND = scored["forget"].hidden[self.layer]
        terms = {
            "forget": squared_distance(
                hidden_ND, self.steering * direction(hidden_ND.shape[1]).to(hidden_ND.device)
            )
        }
        if retain := scored.get("retain"):
            moved = squared_distance(retain.hidden[self.layer], retain.base_hidden[self.layer])
            terms["retain"] = self.retain_weight * moved
        return terms


def direction(dimensions: int) -> torch.Tensor:
    """u: the same random direction of length 1 for everybody, (D,)."""
    u_D = torch.rand(dimensions, generator=torch.Generator().manual_seed(0))
    return u_D / u_D.norm()
