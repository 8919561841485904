"""SimNPO: NPO without a reference model (Fan et al., arXiv:2410.07163).

    L_forget = -2/beta log sigmoid(beta (-1/|y| log p_theta(y|x) - delta))     on forget answers
    L = w1 L_forget + w2 NLL(y | x)                                NLL on retain answers
    theta_u = theta_o + s (theta_trained - theta_o)

The paper writes the offset as gamma = beta delta, outside of beta. The authors keep it at 0.

Average: L_forget over rows, the NLL over scored tokens.

Sign: the edit keeps what was learnt. A step makes forget answers less likely. Those that are still
likely per token, whatever their length, count most.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from skunlearn.methods.base import Method, Scored, active_roles, check_options, nll_terms
from skunlearn.methods.losses import preference, row_means, token_nll


@dataclass(frozen=True)
class SimNPO(Method):
    """Options of SimNPO; the defaults are the authors' on TOFU.

    Attributes:
        beta: above 0; the larger, the sooner an unlikely row stops counting.
        delta: NLL per token that counts as neutral, nats, 0 or more.
        forget_weight: w1, above 0.
        retain_weight: w2, 0 or more.
    """

    edit_scale: ClassVar[float] = 1.0

    beta: float = 4.5
    delta: float = 0.0
    forget_weight: float = 0.125
    retain_weight: float = 1.0

    def __post_init__(self) -> None:
        check_options(self, above_0=("beta", "forget_weight"))

    @property
    def roles(self) -> tuple[str, ...]:
        return active_roles(forget=self.forget_weight, retain=self.retain_weight)

    def loss(self, scored: dict[str, Scored]) -> dict[str, torch.Tensor]:
        """`forget`, nats per row, and `retain`, nats per token, each with its weight."""
        forget = self.forget_weight * simnpo(scored["forget"], self.beta, self.delta)
        return {"forget": forget} | nll_terms(scored, retain=self.retain_weight)


def simnpo(forget: Scored, beta: float, delta: float) -> torch.Tensor:
    """L_forget, mean over rows, 0 or more, nats per row."""
    nll_B = row_means(token_nll(forget.logits_NV, forget.labels_N), forget.row_N)
    return preference(nll_B - delta, beta)
