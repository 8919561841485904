"""GA, random mismatch and KL (Yao et al., Large Language Model Unlearning, arXiv:2310.10683).

    L_fgt = -NLL(y | x)                                            on forget answers
    L_rdn =  NLL(y_k | x), k = 1..K                                answers of K retain prompts
    L_nor =  KL(p_theta_o || p_theta)                              on retain answers
    L = e1 L_fgt + e2 L_rdn + e3 L_nor
    theta_u = theta_o + s (theta_trained - theta_o)

Average: each term over all its scored tokens of a step, L_rdn over those of all K answers together.

Sign: the edit keeps what was learnt. A step makes forget answers less likely and unrelated answers
to forget prompts likelier, and holds the predictions on retain answers near the base model's. L_fgt
has no lower bound.

Differences to the authors' code:

- It averages over each row first and then over rows.
- It draws the K answers once for a batch, we for each row.
- It finds the beginning of an answer from padded lengths and averages the KL over prompt and
  padding too; we score answer tokens.
- It stops at a forget NLL of 100, we at the last step.
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
    mismatched: int = 5  # read by `Method.num_mismatched`

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
