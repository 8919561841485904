"""SatImp: ascent weighted by saturation and importance (Yang et al., arXiv:2505.11953).

    L_forget = p(y_n)^b1 (1 - p(y_n))^b2 log p(y_n)                on forget tokens, weights fixed
    L = w1 L_forget + w2 NLL(y | x)                                NLL on retain answers
    theta_u = theta_o + s (theta_trained - theta_o)

Average: each term over its scored tokens of a step.

Sign: the edit keeps what was learnt. A step makes forget answers less likely. Tokens that are
unlikely already count little (saturation, b1), and so do those that the model is sure of
(importance, b2).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from skunlearn.methods.base import Method, Scored, active_roles, check_options, nll_terms
from skunlearn.methods.losses import reweighted_ascent


@dataclass(frozen=True)
class SatImp(Method):
    """Options of SatImp; the defaults are the authors'.

    Attributes:
        saturation: b1, 0 or more.
        importance: b2, 0 or more.
        forget_weight: w1, above 0.
        retain_weight: w2, 0 or more.
    """

    edit_scale: ClassVar[float] = 1.0

    saturation: float = 5.0
    importance: float = 1.0
    forget_weight: float = 1.0
    retain_weight: float = 0.1

    def __post_init__(self) -> None:
        check_options(self, above_0=("forget_weight",))

    @property
    def roles(self) -> tuple[str, ...]:
        return active_roles(forget=self.forget_weight, retain=self.retain_weight)

    def loss(self, scored: dict[str, Scored]) -> dict[str, torch.Tensor]:
        """`forget`, 0 or less, and `retain`, each with its weight; nats per scored token of its
        rows."""
        forget = scored["forget"]
        ascent = reweighted_ascent(
            forget.logits_NV, forget.labels_N, self.saturation, self.importance
        )
        terms = {"forget": self.forget_weight * ascent}
        return terms | nll_terms(scored, retain=self.retain_weight)
