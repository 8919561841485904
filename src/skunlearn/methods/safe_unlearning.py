"""Safe Unlearning (Zhang et al., arXiv:2407.02855).

    L_unlearn = -log sigmoid(-beta 1/|y| log(p_theta(y|x) / p_theta_o(y|x)))   on forget answers
    L_safe    =  NLL(r | x)                                        on refusals of forget prompts
    L_normal  =  NLL(y | x)                                        on retain answers
    L = w1 L_unlearn + w2 L_safe + L_normal
    theta_u = theta_o + s (theta_trained - theta_o)

Average: L_unlearn over rows, the others over their scored tokens of a step.

Sign: the edit keeps what was learnt. A step makes forget answers less likely per token than they
are for the base model, and refusals and retain answers likelier. L_unlearn is NPO's loss with two
changes: the log-ratio is a mean over a row's tokens, and there is no factor 2/beta.

Difference: the authors write a safe answer to each forget prompt. Ours are the built-in refusals,
one drawn for each forget row and step.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from skunlearn.methods.base import Method, Scored, active_roles, check_options, nll_terms
from skunlearn.methods.losses import preference, row_means, token_log_ratio


@dataclass(frozen=True)
class SafeUnlearning(Method):
    """Options of Safe Unlearning; the defaults are the authors'.

    Attributes:
        unlearn_weight: w1, above 0.
        safe_weight: w2, 0 or more.
        beta: above 0; the larger, the sooner an unlikely row stops counting.
    """

    edit_scale: ClassVar[float] = 1.0

    unlearn_weight: float = 0.3
    safe_weight: float = 0.5
    beta: float = 1.0

    def __post_init__(self) -> None:
        check_options(self, above_0=("unlearn_weight", "beta"))

    @property
    def roles(self) -> tuple[str, ...]:
        return active_roles(forget=1.0, refusal=self.safe_weight, retain=1.0)

    @property
    def reference_roles(self) -> tuple[str, ...]:
        return ("forget",)

    def loss(self, scored: dict[str, Scored]) -> dict[str, torch.Tensor]:
        """`forget`, nats per row, `refusal` and `retain`, nats per token, each with its weight."""
        forget = scored["forget"]
        ratio_N = token_log_ratio(forget.logits_NV, forget.base, forget.labels_N)
        ratio_B = row_means(ratio_N, forget.row_N)
        unlearn = self.beta / 2 * preference(-ratio_B, self.beta)  # without NPO's factor 2/beta
        terms = {"forget": self.unlearn_weight * unlearn}
        return terms | nll_terms(scored, refusal=self.safe_weight, retain=1.0)
