"""GA + random mismatch + KL (Yao et al., Large Language Model Unlearning, arXiv:2310.10683).

    L_fgt = -NLL(y | x)                      on forget answers: away from the harmful answer
    L_rdn =  NLL(y_k | x), k = 1..K          answers of K retain prompts to the forget prompt
    instead L_nor =  KL(p_theta_o || p_theta)        on retain answers theta_u = theta_o + s (argmin
    e1 L_fgt + e2 L_rdn + e3 L_nor  -  theta_o)

A step makes forget answers less likely, unrelated ones likelier, and keeps predictions on retain
answers near the base's. L_fgt has no lower bound; the authors stop at a forget NLL of 100, we at
the last step.

Each loss is a mean over all answer tokens of a step (of all K answers together). The authors' code
takes the mean of each row first and then over rows, draws the K answers once for a batch, finds the
beginning of an answer from padded lengths, and averages the KL over prompt and padding too; we draw
for each row and score answer tokens.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from skunlearn.methods.base import Method, Scored, active_roles, check_options, kl_terms, nll_terms


@dataclass(frozen=True)
class GAMismatch(Method):
    """Options of GA + mismatch; the defaults are the authors'.

    Attributes:
        forget_weight: e1, 0 or more.
        unrelated_weight: e2, 0 or more.
        retain_weight: e3, 0 or more.
        mismatched: K, retain answers for each forget row, 0 or more.
    """

    edit_scale: ClassVar[float] = 1.0

    forget_weight: float = 0.5
    unrelated_weight: float = 1.0
    retain_weight: float = 1.0
    mismatched: int = 5  # an option here, a constant elsewhere

    def __post_init__(self) -> None:
        check_options(self, above_0=("forget_weight",))

    @property
    def roles(self) -> tuple[str, ...]:
        return active_roles(
            forget=self.forget_weight,
            unrelated=self.unrelated_weight * self.mismatched,
            retain=self.retain_weight,
        )

    @property
    def reference_roles(self) -> tuple[str, ...]:
        return active_roles(retain=self.retain_weight)

    def loss(self, scored: dict[str, Scored]) -> dict[str, torch.Tensor]:
        """`forget`, `unrelated` and `retain`, each with its weight; nats per scored token of its
        rows."""
        terms = nll_terms(scored, forget=-self.forget_weight, unrelated=self.unrelated_weight)
        return terms | kl_terms(scored, retain=self.retain_weight)
