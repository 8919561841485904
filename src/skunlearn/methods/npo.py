"""NPO: negative preference optimisation (Zhang et al., arXiv:2404.05868).

    L_forget = -2/beta log sigmoid(-beta log(p_theta(y|x) / p_theta_o(y|x)))
    L = L_forget + w NLL(y | x)                                    NLL on retain answers
    theta_u = theta_o + s (theta_trained - theta_o)

log p(y|x) is the sum over a row's tokens. With its retain term this is the paper's NPO + RT.

Average: L_forget over rows, the NLL over scored tokens.

Sign: the edit keeps what was learnt. A step makes forget answers less likely than they are for the
base model. A row that has become unlikely counts less and less, so the loss is bounded below by 0,
unlike that of gradient ascent.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from skunlearn.methods.base import Method, Scored, active_roles, check_options, nll_terms
from skunlearn.methods.losses import preference, row_sums, token_log_ratio


@dataclass(frozen=True)
class NPO(Method):
    """Options of NPO; the defaults are the authors'.

    Attributes:
        beta: above 0; the larger, the sooner an unlikely row stops counting. Near 0 the method is
            gradient ascent.
        retain_weight: w, 0 or more; 0 is NPO alone.
    """

    edit_scale: ClassVar[float] = 1.0

    beta: float = 0.1
    retain_weight: float = 1.0

    def __post_init__(self) -> None:
        check_options(self, above_0=("beta",))

    @property
    def roles(self) -> tuple[str, ...]:
        return active_roles(forget=1.0, retain=self.retain_weight)

    @property
    def reference_roles(self) -> tuple[str, ...]:
        return ("forget",)

    def loss(self, scored: dict[str, Scored]) -> dict[str, torch.Tensor]:
        """`forget`, nats per row, and `retain`, nats per token."""
        forget = npo(scored["forget"], self.beta)
        return {"forget": forget} | nll_terms(scored, retain=self.retain_weight)


def npo(forget: Scored, beta: float) -> torch.Tensor:
    """L_forget, mean over rows, nats per row: 0 or more, and 2 log(2) / beta at theta_o."""
    ratio_N = token_log_ratio(forget.logits_NV, forget.base, forget.labels_N)
    return preference(-row_sums(ratio_N, forget.row_N), beta)
