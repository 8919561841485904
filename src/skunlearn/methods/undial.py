"""UNDIAL: self-distillation with adjusted logits (Dong et al., arXiv:2402.10052).

    q = softmax(z_theta_o - beta onehot(y_n))                      base logits z, held fixed
    L_forget = cross-entropy(q, p_theta)                           on forget answers
    L = L_forget + w NLL(y | x)                                    NLL on retain answers
    theta_u = theta_o + s (theta_trained - theta_o)

Average: each term over its scored tokens of a step.

Sign: the edit keeps what was learnt. A step pulls the predictions to fixed targets in which the
forget answer's token is less likely. The change is bounded, and the other tokens keep their order.

Differences: the code that peers share averages over prompt and padding, and lowers a wrong token
there (the label -100 counts from the end of the vocabulary). We score answer tokens only. The
authors use no retain term, which is the default (w = 0).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from skunlearn.methods.base import Method, Scored, active_roles, check_options, nll_terms
from skunlearn.methods.losses import lowered, soft_cross_entropy


@dataclass(frozen=True)
class UNDIAL(Method):
    """Options of UNDIAL; the defaults are the authors'.

    Attributes:
        beta: what is subtracted from the logit of the answer's token, above 0.
        retain_weight: w, 0 or more.
    """

    edit_scale: ClassVar[float] = 1.0

    beta: float = 10.0
    retain_weight: float = 0.0

    def __post_init__(self) -> None:
        check_options(self, above_0=("beta",))

    @property
    def roles(self) -> tuple[str, ...]:
        return active_roles(forget=1.0, retain=self.retain_weight)

    @property
    def reference_roles(self) -> tuple[str, ...]:
        return ("forget",)

    def loss(self, scored: dict[str, Scored]) -> dict[str, torch.Tensor]:
        """`forget` and `retain`, each with its weight; nats per scored token of its rows."""
        forget = scored["forget"]
        target_NV = lowered(forget.base, forget.labels_N, self.beta)
        terms = {"forget": soft_cross_entropy(target_NV, forget.logits_NV)}
        return terms | nll_terms(scored, retain=self.retain_weight)
