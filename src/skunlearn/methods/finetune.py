"""FT: fine-tune on retain data and hope that the rest fades (the weakest baseline of SKU,
arXiv:2402.10058).

    L = NLL(y | x)                           on retain answers
    theta_u = theta_o + s (theta_trained - theta_o)

A step makes retain answers likelier. Nothing pushes on forget answers: they move as far as they
share style.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from skunlearn.methods.base import Method, Scored, nll_terms


@dataclass(frozen=True)
class FineTune(Method):
    """FT has no options."""

    edit_scale: ClassVar[float] = 1.0

    @property
    def roles(self) -> tuple[str, ...]:
        return ("retain",)

    def loss(self, scored: dict[str, Scored]) -> dict[str, torch.Tensor]:
        """`retain`; nats per retain token."""
        return nll_terms(scored, retain=1.0)
