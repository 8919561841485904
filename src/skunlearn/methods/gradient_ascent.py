"""GA: gradient ascent on forget answers (Jang et al., arXiv:2210.01504).

    L = -NLL(y | x)                                                on forget answers
    theta_u = theta_o + s (theta_trained - theta_o)

Average: over all scored tokens of a step.

Sign: the edit keeps what was learnt. A step makes forget answers less likely. The loss has no lower
bound and nothing protects other answers, so many steps ruin the model.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from skunlearn.methods.base import Method, Scored, nll_terms


@dataclass(frozen=True)
class GradientAscent(Method):
    """GA has no options."""

    edit_scale: ClassVar[float] = 1.0

    @property
    def roles(self) -> tuple[str, ...]:
        return ("forget",)

    def loss(self, scored: dict[str, Scored]) -> dict[str, torch.Tensor]:
        """`forget`, 0 or less; nats per forget token."""
        return nll_terms(scored, forget=-1.0)
