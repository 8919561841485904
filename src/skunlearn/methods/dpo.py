"""DPO with refusals as the preferred answers (Rafailov et al., arXiv:2305.18290), and IdkDPO.

    r(y) = log(p_theta(y|x) / p_theta_o(y|x))                      sum over a row's tokens
    L_pref = -2/beta log sigmoid(beta (r(refusal) - r(harmful answer)))
    L = L_pref + w NLL(y | x)                                      NLL on retain answers
    theta_u = theta_o + s (theta_trained - theta_o)

w is 0 for DPO and 1 for IdkDPO.

Average: L_pref over rows, the NLL over scored tokens.

Sign: the edit keeps what was learnt. A step makes refusals likelier and forget answers less likely,
both in comparison with the base model.

The factor 2/beta is from Zhang et al. (arXiv:2404.05868), who compare DPO with NPO. TOFU
(arXiv:2401.06121) introduced "I don't know" as the preferred answer.

Difference: our preferred answers are the built-in refusals, one drawn for each forget row and step.
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
        beta: above 0; the larger, the sooner a row whose answers are far apart stops counting.
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
        beta: above 0; the larger, the sooner a row whose answers are far apart stops counting.
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
    """L_pref, mean over rows, nats per row: 0 or more, and 2 log(2) / beta at theta_o.

    Args:
        preferred: the refusals.
        rejected: the forget answers; row b is to the same prompt as row b of the refusals.
        beta: above 0.
    """
    return preference(_row_log_ratios(preferred) - _row_log_ratios(rejected), beta)


def _row_log_ratios(rows: Scored) -> torch.Tensor:
    """r of each row, (B,)."""
    ratio_N = token_log_ratio(rows.logits_NV, rows.base, rows.labels_N)
    return row_sums(ratio_N, rows.row_N)
