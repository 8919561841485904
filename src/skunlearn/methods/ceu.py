"""CE-U: cross-entropy unlearning (Yang, arXiv:2503.01224).

    q = softmax(z_theta with the logit of the answer's token at -inf), held fixed
    L = cross-entropy(q, p_theta)                                  on forget answers
    theta_u = theta_o + s (theta_trained - theta_o)

Average: over all scored tokens of a step. The first k tokens of each row are left out.

Sign: the edit keeps what was learnt. A step makes forget answers less likely: it hands their
probability to the other tokens in proportion. The gradient fades with the token's probability. No
retain data.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from skunlearn.methods.base import Method, Scored, check_options
from skunlearn.methods.losses import lowered, position_in_row, soft_cross_entropy
from skunlearn.utils.errors import TrainingError


@dataclass(frozen=True)
class CEU(Method):
    """Options of CE-U; the default is that of the authors' code.

    Attributes:
        skip: k, how many answer tokens are left out at the start of each row, 0 or more.
    """

    edit_scale: ClassVar[float] = 1.0

    skip: int = 1

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def roles(self) -> tuple[str, ...]:
        return ("forget",)

    def loss(self, scored: dict[str, Scored]) -> dict[str, torch.Tensor]:
        """`forget`, 0 or more, nats per scored token.

        Raises:
            TrainingError: when `skip` leaves no token.
        """
        forget = scored["forget"]
        is_scored_N = position_in_row(forget.row_N) >= self.skip
        if not is_scored_N.any():
            raise TrainingError(
                f"method.skip={self.skip} leaves no token of the forget answers: give less"
            )
        return {"forget": ceu(forget.logits_NV[is_scored_N], forget.labels_N[is_scored_N])}


def ceu(logits_NV: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
    """L, mean over the tokens given, 0 or more, nats per token."""
    target_NV = lowered(logits_NV, labels_N, float("inf"))
    return soft_cross_entropy(target_NV, logits_NV)
