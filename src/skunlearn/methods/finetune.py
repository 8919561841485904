"""FT: fine-tuning on retain data (the weakest baseline of SKU, arXiv:2402.10058).

    L = NLL(y | x)                                                 on retain answers
    theta_u = theta_o + s (theta_trained - theta_o)

Average: over all scored tokens of a step.

Sign: the edit keeps what was learnt. A step makes retain answers likelier. Nothing acts on forget
answers: they only change as far as they share their style with retain answers.
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
