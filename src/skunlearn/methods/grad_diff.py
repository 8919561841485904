"""GradDiff: ascent on forget answers, descent on retain ones (Liu et al., arXiv:2203.12817).

    L = -w1 NLL(y | x) on forget answers + w2 NLL(y | x) on retain answers
    theta_u = theta_o + s (theta_trained - theta_o)

It is a baseline of TOFU (arXiv:2401.06121).

Average: each term over its scored tokens of a step.

Sign: the edit keeps what was learnt. A step makes forget answers less likely and retain answers
likelier. The first term has no lower bound.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from skunlearn.methods.base import Method, Scored, active_roles, check_options, nll_terms


@dataclass(frozen=True)
class GradDiff(Method):
    """Options of GradDiff; the defaults are TOFU's.

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

    def loss(self, scored: dict[str, Scored]) -> dict[str, torch.Tensor]:
        """`forget`, 0 or less, and `retain`; nats per scored token of its rows."""
        return nll_terms(scored, forget=-self.forget_weight, retain=self.retain_weight)
