"""SKU by contrast: one vector whose addition complies and whose negation refuses.

SKU (Liu et al., arXiv:2402.10058) learns what is harmful and subtracts it. What a harmful copy
learns is more than harm: style, length and fluency of the answers too, and the negation takes those
away with it. Fierro and Roger (arXiv:2511.05408) therefore subtract two vectors that were trained
on the same prompts, tau = tau_bad - tau_good. Here one adapter has both signs:

    L_GD     = NLL(y | x)             at theta_o + tau     guided distortion, on harmful answers
    L_refuse = NLL(r | x)             at theta_o - tau     on refusals of the same prompts
    L_keep   = KL(p_theta_o || p)     at theta_o - tau     on retain answers and look-alikes
    tau      = argmin  e1 L_GD + w1 L_refuse + w2 L_keep
    theta_u  = theta_o - alpha tau

To first order the gradient is that of tau_bad - tau_good. Beyond it, theta_o - tau is good because
it was trained to be, where SKU hopes that it is the mirror image of theta_o + tau.

A share of the refusals stands behind the first tokens of a harmful answer, so that an answer that
was begun (prefilled, or by another wording) is left again. As many ordinary answers are scored from
a later token on, so that the model does not learn to break off ordinary answers.

Average: each term over its scored tokens of a step. L_keep reads the first few tokens of each row,
which decide whether the model refuses; half of its weight is for retain rows, half for look-alikes.

Sign: the edit negates what was learnt. A step makes harmful answers likelier at theta_o + tau, and
refusals likelier at theta_o - tau, which is the edited model at alpha = 1.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from skunlearn.methods.base import (
    Method,
    Scored,
    check_options,
    check_share,
    kl_terms,
    nll_terms,
)


@dataclass(frozen=True)
class SKUContrast(Method):
    """Options of SKUContrast.

    Attributes:
        harm_weight: e1, 0 or more. With 0 the vector learns from refusals alone.
        refusal_weight: w1, above 0.
        keep_weight: w2, half for retain and half for look-alike answers, 0 or more.
        kept: number of retain rows, and of look-alikes, for each forget row, 1 or more.
        keep_tokens: how many tokens of their answers the KL reads, 1 or more.
        refusal_tokens: how many tokens of a refusal are learnt, 1 or more. The first few decide
            whether the model refuses, and it completes the sentence by itself.
        begun: share of the refusals that stand behind a begun harmful answer, and of the ordinary
            answers that are scored from a later token on, 0..1.
    """

    edit_scale: ClassVar[float] = -1.0

    harm_weight: float = 0.5
    refusal_weight: float = 1.0
    keep_weight: float = 8.0
    kept: int = 2  # read by `Method.benign_per_forget`
    keep_tokens: int = 4
    refusal_tokens: int = 8
    begun: float = 0.3  # read by `Method.begun_share`

    def __post_init__(self) -> None:
        check_options(self, above_0=("refusal_weight", "kept", "keep_tokens", "refusal_tokens"))
        check_share(begun=self.begun)

    @property
    def roles(self) -> tuple[str, ...]:
        harm = ("forget",) if self.harm_weight else ()
        return (*harm, "refusal", *self.reference_roles)

    @property
    def reference_roles(self) -> tuple[str, ...]:
        return ("retain", "lookalike") if self.keep_weight else ()

    @property
    def negated_roles(self) -> tuple[str, ...]:
        return ("refusal", *self.reference_roles)

    def loss(self, scored: dict[str, Scored]) -> dict[str, torch.Tensor]:
        """`forget`, `refusal`, `retain` and `lookalike`, each with its weight.

        In nats per scored token of its rows.
        """
        half = self.keep_weight / 2
        terms = nll_terms(scored, forget=self.harm_weight, refusal=self.refusal_weight)
        return terms | kl_terms(scored, retain=half, lookalike=half)
