"""Refusal: teach the model to refuse harmful prompts and nothing else, for a vector to be added.

    L_refuse = NLL(r | x)                                          on refusals of forget prompts
    L_keep   = KL(p_theta_o || p_theta)                            on retain answers and look-alikes
    L = w1 L_refuse + w2 L_keep
    theta_u = theta_o + beta (theta_trained - theta_o)

r is a short built-in refusal, drawn for each forget prompt and step. L_keep is half the KL on
retain answers and half that on answers to harmless look-alikes. Without look-alikes a model learns
to refuse words instead of intent.

Average: each term over its scored tokens of a step.

Sign: the edit keeps what was learnt. A step makes refusals likelier and holds the predictions on
harmless answers near the base model's.

The idea is task arithmetic (Ilharco et al., arXiv:2212.04089), with a vector of its own for what
should take the place of compliance. Alone it is a method of the IdkNLL kind (TOFU,
arXiv:2401.06121) with a KL term. Beside a negated SKU vector it says what the model should do
instead.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from skunlearn.methods.base import Method, Scored, check_options, kl_terms, nll_terms


class Declining:
    """The loss that `Refusal` and `GatedRefusal` share; they differ in what is trained."""

    refusal_weight: float
    keep_weight: float

    @property
    def roles(self) -> tuple[str, ...]:
        return ("refusal", *self.reference_roles)

    @property
    def reference_roles(self) -> tuple[str, ...]:
        return ("retain", "lookalike") if self.keep_weight else ()

    def loss(self, scored: dict[str, Scored]) -> dict[str, torch.Tensor]:
        """`refusal`, `retain` and `lookalike` where there are such rows, each with its weight.

        In nats per scored token of its rows.
        """
        half = self.keep_weight / 2
        terms = nll_terms(scored, refusal=self.refusal_weight)
        return terms | kl_terms(scored, retain=half, lookalike=half)


@dataclass(frozen=True)
class Refusal(Declining, Method):
    """Options of Refusal.

    Attributes:
        refusal_weight: w1, above 0.
        keep_weight: w2, half for retain and half for look-alike answers, 0 or more.
        kept: number of retain rows, and of look-alikes, for each forget row, 1 or more.
        keep_tokens: how many tokens of their answers the KL reads, 1 or more. The first few decide
            whether the model refuses, and short rows leave time for more of them.
    """

    edit_scale: ClassVar[float] = 1.0

    refusal_weight: float = 1.0
    keep_weight: float = 8.0
    kept: int = 3  # read by `Method.benign_per_forget`
    keep_tokens: int = 8

    def __post_init__(self) -> None:
        check_options(self, above_0=("refusal_weight", "kept", "keep_tokens"))
