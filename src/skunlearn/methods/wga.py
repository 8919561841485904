"""WGA: weighted gradient ascent (Wang et al., arXiv:2502.19301).

    L_forget = p(y_n)^alpha log p(y_n)                             on forget tokens, weights fixed
    L = L_forget + w NLL(y | x)                                    NLL on retain answers
    theta_u = theta_o + s (theta_trained - theta_o)

Average: each term over its scored tokens of a step.

Sign: the edit keeps what was learnt. A step makes forget answers less likely. A token that is
unlikely already counts little, which bounds the ascent.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from skunlearn.methods.base import Method, Scored, active_roles, check_options, nll_terms
from skunlearn.methods.losses import reweighted_ascent


@dataclass(frozen=True)
class WGA(Method):
    """Options of WGA; the defaults are the authors'.

    Attributes:
        alpha: exponent of the weight, 0 or more; 0 is gradient ascent.
        retain_weight: w, 0 or more.
    """

    edit_scale: ClassVar[float] = 1.0

    alpha: float = 1.0
    retain_weight: float = 1.0

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def roles(self) -> tuple[str, ...]:
        return active_roles(forget=1.0, retain=self.retain_weight)

    def loss(self, scored: dict[str, Scored]) -> dict[str, torch.Tensor]:
        """`forget`, 0 or less, and `retain`; nats per scored token of its rows."""
        forget = scored["forget"]
        ascent = reweighted_ascent(forget.logits_NV, forget.labels_N, self.alpha)
        return {"forget": ascent} | nll_terms(scored, retain=self.retain_weight)
