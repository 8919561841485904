"""PDU: constrained entropic unlearning by primal-dual steps (Entesari et al., arXiv:2506.05314).

    L_forget = (max_v z_v - mean_v z_v)^2                          on forget answers, logits z
    g = NLL(y | x) - (1 + a) NLL_theta_o(y | x)                    on retain answers
    in each step:  theta descends on L_forget + lambda g,  then  lambda <- max(0, lambda + eta g)
    theta_u = theta_o + s (theta_trained - theta_o)

Average: each term over its scored tokens of a step.

Sign: the edit keeps what was learnt. A step makes all tokens of the vocabulary equally likely in
forget answers, so that these become less likely. The constraint is g <= 0: the retain loss may rise
by the share a. The multiplier lambda grows while the constraint is violated, and falls to 0 while
it holds.

Differences: the bound is the paper's epsilon = (1 + a) L_retain(theta_o), but on each step's own
rows, so that difficult rows do not look like damage. In the authors' code it is a number to tune.
Their code can begin the dual steps later, and averages L_forget over prompt and padding too; we
begin at once and score answer tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from skunlearn.methods.base import Method, Scored, check_options
from skunlearn.methods.losses import answer_nll, logit_margin


@dataclass(frozen=True)
class PDU(Method):
    """Options of PDU; `dual_start` and `dual_step` are the defaults of the authors' code.

    Attributes:
        tolerance: a, the share by which the retain loss may rise, 0 or more.
        dual_start: lambda in the first step, 0 or more.
        dual_step: eta, above 0.
    """

    edit_scale: ClassVar[float] = 1.0

    tolerance: float = 0.1
    dual_start: float = 1.0
    dual_step: float = 1.0

    def __post_init__(self) -> None:
        check_options(self, above_0=("dual_step",))

    @property
    def roles(self) -> tuple[str, ...]:
        return ("forget", "retain")

    @property
    def reference_roles(self) -> tuple[str, ...]:
        return ("retain",)

    def weights(
        self, done: float, last: Mapping[str, float], terms: Mapping[str, float]
    ) -> dict[str, float]:
        """lambda, the weight of `retain`: one dual step on the violation of the step before."""
        if not last:
            return {"retain": self.dual_start}
        return {"retain": max(0.0, last["retain"] + self.dual_step * terms["retain"])}

    def loss(self, scored: dict[str, Scored]) -> dict[str, torch.Tensor]:
        """`forget`, in squared logits, and `retain`, g in nats per token, without lambda."""
        retain = scored["retain"]
        allowed = (1 + self.tolerance) * answer_nll(retain.base, retain.labels_N)
        violation = answer_nll(retain.logits_NV, retain.labels_N) - allowed
        return {"forget": logit_margin(scored["forget"].logits_NV), "retain": violation}
