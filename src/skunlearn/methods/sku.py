"""SKU: Selective Knowledge negation Unlearning (Liu et al., arXiv:2402.10058).

Stage 1 trains a copy of the model to be harmful, stage 2 subtracts what it learnt:

    L_GD =  NLL(y | x)                     guided distortion, on forget answers              (eq. 2)
    L_RD =  NLL(y_k | x), k = 1..K         random disassociation, other forget answers       (eq. 3)
    L_PD = -KL(p_theta_o || p_theta)       preservation divergence, on retain answers        (eq. 5)
    theta_bad = argmin  e1 L_GD + e2 L_RD + e3 L_PD
    theta_u   = theta_o - alpha (theta_bad - theta_o)                                        (eq. 6)

Average: each term over all its scored tokens of a step, L_RD over those of all K answers together.

Sign: the edit negates what was learnt. A step makes forget answers likelier, so the edit makes them
less likely.

Differences to the authors' code: it averages over each row first and then over rows, finds the
beginning of an answer from padded lengths (so it scores prompt tokens, or misses answer tokens),
and averages the KL over prompt and padding too (docs/paper.md).

Where our defaults differ from the paper, and why (docs/paper.md):

- The sign of L_PD. Near theta_o the KL is the same on both sides, to second order: theta_o - d is
  about as far from the base as theta_o + d. A divergence that stage 1 has learnt therefore does not
  become closeness when it is negated. `pd_mode="preserve"` uses +KL, which keeps tau away from
  normal behaviour. `pd_mode="diverge"` is the paper's. That term is unbounded below, so it stops
  counting at `pd_cap`.
- The first-order leak. The KL hardly notices small changes that grow linearly: harmful and ordinary
  answers share style and fluency. Stage 1 learns those too, and negation takes them away from both,
  so that the perplexity of retain answers rises at a tiny KL. `pd_anchor` adds |NLL(y | x) -
  NLL_base(y | x)| over all retain answers of a step, so that harm is learnt and not style.
- What takes the place of compliance. Negation removes something and says nothing about what should
  come instead. A vector that teaches refusals is added beside it (`methods/gated_refusal.py`).
- Random disassociation is off by default (`rd_weight`), and K = 1 where it is on: it costs as many
  rows as L_GD.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch

from skunlearn.methods.base import Method, Scored
from skunlearn.methods.losses import answer_nll, capped, kl
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.options import INFINITE


@dataclass(frozen=True)
class SKU(Method):
    """Options of SKU; the authors' values in brackets.

    Attributes:
        gd_weight: e1, weight of guided distortion, 0 or more [2.5].
        rd_weight: e2, weight of random disassociation, 0 or more [2.5].
        pd_weight: e3, weight of preservation divergence, 0 or more [1].
        pd_mode: "diverge" is -KL as published, "preserve" is +KL, "off" is none [diverge].
        pd_anchor: with "preserve", weight of the change of the retain NLL, 0 or more [none].
        pd_cap: with "diverge", nats per token above which the divergence stops counting [none].
        mismatched: K, the number of other answers for each forget row [5].
    """

    edit_scale: ClassVar[float] = -1.0

    gd_weight: float = 1.0
    rd_weight: float = 0.0
    pd_weight: float = 1.0
    pd_mode: Literal["preserve", "diverge", "off"] = "preserve"
    pd_anchor: float = 2.0
    pd_cap: float = field(default=1.0, metadata={INFINITE: True})
    mismatched: int = 1  # read by `Method.num_mismatched`

    def __post_init__(self) -> None:
        for name in ("gd_weight", "rd_weight", "pd_weight", "pd_anchor", "pd_cap", "mismatched"):
            value = getattr(self, name)
            if value < 0:
                raise ConfigError(f"method.{name}={value}: give 0 or more")
        if not {"forget", "mismatch"} & set(self.roles):
            raise ConfigError(
                "method.gd_weight and method.rd_weight are both 0: nothing harmful would be learnt"
            )

    @property
    def roles(self) -> tuple[str, ...]:
        roles = []
        if self.gd_weight > 0:
            roles.append("forget")
        if self.rd_weight > 0 and self.mismatched > 0:
            roles.append("mismatch")
        if self.pd_weight > 0 and self.pd_mode != "off":
            roles.append("retain")
        return tuple(roles)

    @property
    def reference_roles(self) -> tuple[str, ...]:
        return ("retain",) if "retain" in self.roles else ()

    def loss(self, scored: dict[str, Scored]) -> dict[str, torch.Tensor]:
        """`gd`, `rd` and `pd`, each with its weight; nats per scored token of its rows."""
        terms: dict[str, torch.Tensor] = {}
        if "forget" in scored:
            forget = scored["forget"]
            terms["gd"] = self.gd_weight * answer_nll(forget.logits_NV, forget.labels_N)
        if "mismatch" in scored:
            mismatch = scored["mismatch"]
            terms["rd"] = self.rd_weight * answer_nll(mismatch.logits_NV, mismatch.labels_N)
        if "retain" in scored:
            terms["pd"] = self.pd_weight * self._preservation(scored["retain"])
        return terms

    def _preservation(self, retain: Scored) -> torch.Tensor:
        """L_PD in the mode of the options, without its weight."""
        divergence = kl(retain.base, retain.logits_NV)
        if self.pd_mode == "diverge":
            return -capped(divergence, self.pd_cap)
        if not self.pd_anchor:
            return divergence
        base_nll = answer_nll(retain.base, retain.labels_N)
        change = answer_nll(retain.logits_NV, retain.labels_N) - base_nll
        return divergence + self.pd_anchor * change.abs()
