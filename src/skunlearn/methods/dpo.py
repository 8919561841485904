"""DPO with refusals as the preferred answers (Rafailov et al., arXiv:2305.18290), alone and as
IdkDPO.

    r(y) = log(p_theta(y|x) / p_theta_o(y|x))            sum over a row's tokens
    L_pref = -2/beta  mean over rows of  log sigmoid(beta (r(refusal) - r(harmful answer)))
    L = L_pref + w NLL(y | x) on retain answers          DPO: w = 0, IdkDPO: w = 1
    theta_u = theta_o + s (theta_trained - theta_o)

A step widens the gap: refusals become likelier than forget answers, both as against the base. The
factor 2/beta is that of Zhang et al. (arXiv:2404.05868), who compare DPO with NPO; TOFU
(arXiv:2401.06121) brought "I don't know" as the preferred answer. Ours are the built-in refusals,
one drawn per forget row and step.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from skunlearn.methods.base import Method, Scored, active_roles, check_options, nll_terms
from skunlearn.methods.losses import preference, row_sums, token_log_ratio


@dataclass(frozen=True)
class DPO(Method):
    """Options of DPO; the default is the authors'.

    Attributes:
        beta: how soon a row that is well apart stops counting, above 0.
    """

    edit_scale: ClassVar[float] = 1.0

    beta: float = 0.1

    def __post_init__(self) -> None:
        check_options(self, above_0=("beta",))

    @property
    def roles(self) -> tuple[str, ...]:
        return ("forget", "refusal")

    @property
    def reference_roles(self) -> tuple[str, ...]:
        return ("forget", "refusal")

    def loss(self, scored: dict[str, Scored]) -> dict[str, torch.Tensor]:
        """`preference`, nats per row."""
        return {"preference": dpo(scored["refusal"], scored["forget"], self.beta)}


@dataclass(frozen=True)
class IdkDPO(Method):
    """Options of IdkDPO.

    Attributes:
        beta: how soon a row that is well apart stops counting, above 0.
        retain_weight: w, 0 or more.
    """

    edit_scale: ClassVar[float] = 1.0

    beta: float = 0.1
    retain_weight: float = 1.0

    def __post_init__(self) -> None:
        check_options(self, above_0=("beta",))

    @property
    def roles(self) -> tuple[str, ...]:
        return active_roles(forget=1.0, refusal=1.0, retain=self.retain_weight)

    @property
    def reference_roles(self) -> tuple[str, ...]:
        return ("forget", "refusal")

    def loss(self, scored: dict[str, Scored]) -> dict[str, torch.Tensor]:
        """`preference`, nats per row, and `retain`, nats per token."""
        preferred = dpo(scored["refusal"], scored["forget"], self.beta)
        return {"preference": preferred} | nll_terms(scored, retain=self.retain_weight)


def dpo(preferred: Scored, rejected: Scored, beta: float) -> torch.Tensor:
    """L_pref of rows that belong together by number: mean over rows, 0 or more, 2 log(2) / beta at
    theta_o."""
    won_B, lost_B = (
        row_sums(token_log_ratio(side.logits_NV, side.base, side.labels_N), side.row_N)
        for side in (preferred, rejected)
    )
    return preference(won_B - lost_B, beta)
