"""KL minimisation: ascent on forget answers, KL on retain ones (TOFU, arXiv:2401.06121).

    L = -w1 NLL(y | x) on forget answers + w2 KL(p_theta_o || p_theta) on retain answers
    theta_u = theta_o + s (theta_trained - theta_o)

Average: each term over its scored tokens of a step.

Sign: the edit keeps what was learnt. A step makes forget answers less likely. The KL, which is 0 at
the start, holds the predictions on retain answers near the base model's.

Difference: TOFU's code averages the KL over prompt and padding too, we over answer tokens.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from skunlearn.methods.base import Method, Scored, active_roles, check_options, kl_terms, nll_terms


@dataclass(frozen=True)
class KLMinimisation(Method):
    """Options of KL minimisation; the defaults are TOFU's.

    Attributes:
        forget_weight: w1, above 0.
        retain_weight: w2, 0 or more.
    """

    edit_scale: ClassVar[float] = 1.0

    forget_weight: float = 1.0
    retain_weight: float = 1.0

    def __post_init__(self) -> None:
        check_options(self, above_0=("forget_weight",))

    @property
    def roles(self) -> tuple[str, ...]:
        return active_roles(forget=self.forget_weight, retain=self.retain_weight)

    @property
    def reference_roles(self) -> tuple[str, ...]:
        return active_roles(retain=self.retain_weight)

    def loss(self, scored: dict[str, Scored]) -> dict[str, torch.Tensor]:
        """`forget`, 0 or less, and `retain`, 0 or more; nats per scored token of its rows."""
        return nll_terms(scored, forget=-self.forget_weight) | kl_terms(
            scored, retain=self.retain_weight
        )
