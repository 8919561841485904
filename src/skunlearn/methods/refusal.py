"""Refusal: teach the model to decline harmful prompts, and nothing else, so that the vector can be
*added*.

    L_refuse = NLL(r | x)                       r: a short refusal, drawn per forget prompt and step
    L_keep   = KL(p_theta_o || p_theta)         on ordinary answers and on harmless look-alikes
    theta_refuse = argmin  w1 L_refuse + w2 L_keep
    theta_u = theta_o + beta (theta_refuse - theta_o)

Task arithmetic (Ilharco et al., arXiv:2212.04089) with a vector of its own for what should come in
place of compliance. Alone it is the IdkNLL kind of method (TOFU, arXiv:2401.06121) with a KL term;
beside a negated SKU vector it fills what negation leaves empty. Look-alikes are among its rows:
without them a model learns to refuse words instead of intent.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from skunlearn.methods.base import Method, Scored, check_options, kl_terms, nll_terms


class Declining:
    """The loss of `Refusal` and `GatedRefusal`, which differ in what is trained."""

    refusal_weight: float
    keep_weight: float

    @property
    def roles(self) -> tuple[str, ...]:
        return ("refusal", *self.reference_roles)

    @property
    def reference_roles(self) -> tuple[str, ...]:
        return ("retain", "lookalike") if self.keep_weight else ()

    def loss(self, scored: dict[str, Scored]) -> dict[str, torch.Tensor]:
        """`refusal`, and `retain` and `lookalike` where there are such rows; nats per scored
        token."""
        half = self.keep_weight / 2
        return nll_terms(scored, refusal=self.refusal_weight) | kl_terms(
            scored, retain=half, lookalike=half
        )


@dataclass(frozen=True)
class Refusal(Declining, Method):
    """Options of Refusal.

    Attributes:
        refusal_weight: weight of learning the refusals, above 0.
        keep_weight: weight of the KL to the base, half on ordinary and half on look-alike answers,
            0 or more.
        kept: ordinary rows, and as many look-alikes, for each forget row, 1 or more.
        keep_tokens: answer tokens that the KL reads, 1 or more: whether to decline is decided in
            the first few, and short rows leave time for more of them.
    """

    edit_scale: ClassVar[float] = 1.0

    refusal_weight: float = 1.0
    keep_weight: float = 8.0
    kept: int = 3  # options here, constants elsewhere
    keep_tokens: int = 8

    def __post_init__(self) -> None:
        check_options(self, above_0=("refusal_weight", "kept", "keep_tokens"))
