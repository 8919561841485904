"""IdkNLL: learn to refuse (the preference optimisation baseline of TOFU, arXiv:2401.06121).

    L = w1 NLL(r | x) on refusals of forget prompts + w2 NLL(y | x) on retain answers
    theta_u = theta_o + s (theta_trained - theta_o)

Average: each term over its scored tokens of a step.

Sign: the edit keeps what was learnt. A step makes refusals and retain answers likelier. Forget
answers are not used.

Difference: r are the built-in refusals, not variants of "I don't know". `methods/refusal.py` is our
own method of this kind, with a KL and look-alikes in place of the retain NLL.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from skunlearn.methods.base import Method, Scored, active_roles, check_options, nll_terms


@dataclass(frozen=True)
class IdkNLL(Method):
    """Options of IdkNLL; the defaults are TOFU's.

    Attributes:
        refusal_weight: w1, above 0.
        retain_weight: w2, 0 or more.
    """

    edit_scale: ClassVar[float] = 1.0

    refusal_weight: float = 1.0
    retain_weight: float = 1.0

    def __post_init__(self) -> None:
        check_options(self, above_0=("refusal_weight",))

    @property
    def roles(self) -> tuple[str, ...]:
        return active_roles(refusal=self.refusal_weight, retain=self.retain_weight)

    def loss(self, scored: dict[str, Scored]) -> dict[str, torch.Tensor]:
        """`refusal` and `retain`, each with its weight; nats per scored token of its rows."""
        return nll_terms(scored, refusal=self.refusal_weight, retain=self.retain_weight)
