"""SKU: Selective Knowledge negation Unlearning (Liu et al., arXiv:2402.10058, Findings of ACL
2024).

Stage 1 makes a copy of the model bad, stage 2 subtracts what it learnt:

    L_GD =  NLL(y | x)                       guided distortion: learn the harmful answer
    (eq. 2) L_RD =  NLL(y_k | x), k = 1..K           random disassociation: answers of other forget
    prompts (eq. 3) L_PD = -KL(p_theta_o || p_theta)         preservation divergence, on retain
    answers             (eq. 5) theta_bad = argmin  e1 L_GD + e2 L_RD + e3 L_PD theta_u   = theta_o
    - alpha (theta_bad - theta_o)                                               (eq. 6)

Each loss is a mean over all answer tokens of a step, for L_RD over those of all K answers together.
The authors' code takes the mean of each row first and then over rows, finds the beginning of an
answer from padded lengths (so prompt tokens are scored, or answer tokens are not), and averages the
KL over prompt and padding too (docs/paper.md).

Where we differ by default, and why (docs/paper.md):

- The sign of L_PD. KL is even to second order around theta_o, so a divergence that stage 1 grew
  does not turn into closeness under negation: theta_o - d is about as far from the base as theta_o
  + d. `pd_mode="preserve"` uses +KL, which keeps tau away from normal behaviour.
  `pd_mode="diverge"` is the paper; it is unbounded below, so the divergence stops counting at
  `pd_cap`.
- The first-order leak. KL cannot see a shift that only grows linearly: harmful and ordinary answers
  share style and fluency, which stage 1 learns too and negation takes away from both (perplexity on
  retain answers rises at a tiny KL). `pd_anchor` adds |NLL(y | x) - NLL_base(y | x)| of the step's
  retain answers together, so that what is learnt is harm, not style.
- What comes instead. Negation takes away without saying what should come in its place; a vector
  that teaches refusals is added beside it (`methods/gated_refusal.py`).
- No random disassociation by default (`rd_weight`), and K = 1 where it is asked for: it costs as
many rows as L_GD.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from skunlearn.methods.base import Method, Scored
from skunlearn.methods.losses import answer_nll, capped, kl
from skunlearn.utils.errors import ConfigError


@dataclass(frozen=True)
class SKU(Method):
    """Options of SKU; the authors' values in brackets.

    Attributes:
        gd_weight: e1, weight of guided distortion, 0 or more [2.5].
        rd_weight: e2, weight of random disassociation, 0 or more [2.5].
        pd_weight: e3, weight of preservation divergence, 0 or more [1].
        pd_mode: "diverge" is -KL as published, "preserve" +KL, "off" none [diverge].
        pd_anchor: with "preserve": weight of the change of the retain NLL, 0 or more [none].
        pd_cap: nats per token from where a maximised divergence stops counting [none].
        mismatched: K, random answers for each forget row [5].
    """

    edit_scale: ClassVar[float] = -1.0

    gd_weight: float = 1.0
    rd_weight: float = 0.0
    pd_weight: float = 1.0
    pd_mode: Literal["preserve", "diverge", "off"] = "preserve"
    pd_anchor: float = 2.0
    pd_cap: float = 1.0
    mismatched: int = 1  # an option here, a constant elsewhere

    def __post_init__(self) -> None:
        for name in ("gd_weight", "rd_weight", "pd_weight", "pd_anchor", "pd_cap", "mismatched"):
            if getattr(self, name) < 0:
                raise ConfigError(f"method.{name}={getattr(self, name)}: give 0 or more")
        if not {"forget", "mismatch"} & set(self.roles):
            raise ConfigError(
                "method.gd_weight and method.rd_weight are both 0: nothing harmful would be learnt"
            )

    @property
    def roles(self) -> tuple[str, ...]:
        wanted = {
            "forget": self.gd_weight > 0,
            "mismatch": self.rd_weight > 0 and self.mismatched > 0,
            "retain": self.pd_weight > 0 and self.pd_mode != "off",
        }
        return tuple(role for role, is_wanted in wanted.items() if is_wanted)

    @property
    def reference_roles(self) -> tuple[str, ...]:
        return ("retain",) if "retain" in self.roles else ()

    def loss(self, scored: dict[str, Scored]) -> dict[str, torch.Tensor]:
        """`gd`, `rd` and `pd`, each with its weight; nats per scored token of its rows."""
        terms: dict[str, torch.Tensor] = {}
        if "forget" in scored:
            terms["gd"] = self.gd_weight * answer_nll(
                scored["forget"].logits_NV, scored["forget"].labels_N
            )
        if "mismatch" in scored:
            terms["rd"] = self.rd_weight * answer_nll(
                scored["mismatch"].logits_NV, scored["mismatch"].labels_N
            )
        if "retain" in scored:
            terms["pd"] = self.pd_weight * self._preservation(scored["retain"])
        return terms

    def _preservation(self, retain: Scored) -> torch.Tensor:
        assert retain.base_logits_NV is not None
        divergence = kl(retain.base_logits_NV, retain.logits_NV)
        if self.pd_mode == "diverge":
            return -capped(divergence, self.pd_cap)
        if not self.pd_anchor:
            return divergence
        change = answer_nll(retain.logits_NV, retain.labels_N) - answer_nll(
            retain.base_logits_NV, retain.labels_N
        )
        return divergence + self.pd_anchor * change.abs()
