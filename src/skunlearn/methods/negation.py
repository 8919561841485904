"""Plain negation: learn the harmful answers, then subtract (Ilharco et al., arXiv:2212.04089).

    L = NLL(y | x)                                                 on forget answers
    theta_u = theta_o - s (theta_trained - theta_o)

It is the "task vector" baseline of SKU (arXiv:2402.10058): its guided distortion alone.

Average: over all scored tokens of a step.

Sign: the edit negates what was learnt. A step makes forget answers likelier, so the edit makes them
less likely. No retain data.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from skunlearn.methods.base import Method, Scored, nll_terms


@dataclass(frozen=True)
class Negation(Method):
    """Plain negation has no options."""

    edit_scale: ClassVar[float] = -1.0

    @property
    def roles(self) -> tuple[str, ...]:
        return ("forget",)

    def loss(self, scored: dict[str, Scored]) -> dict[str, torch.Tensor]:
        """`forget`; nats per forget token."""
        return nll_terms(scored, forget=1.0)
