"""Plain negation: learn the harmful answers, subtract what was learnt (Ilharco et al.,
arXiv:2212.04089).

    L = NLL(y | x)                           on forget answers
    theta_u = theta_o - s (theta_trained - theta_o)

The "task vector" baseline of SKU (arXiv:2402.10058): its guided distortion alone, no retain data. A
step makes forget answers likelier; the edit, which has the other sign, less likely.
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
