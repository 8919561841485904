"""CE-U: cross-entropy unlearning (Yang, arXiv:2503.01224).

    q = softmax(z_theta with the answer's token at -inf),  held fixed
    L = cross-entropy(q, p_theta)            on forget answers, mean over tokens, the first k of
    each row left out theta_u = theta_o + s (theta_trained - theta_o)

A step makes forget answers less likely, by handing their probability to the other tokens in
proportion; its gradient fades with the token's probability. No retain data.
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
        skip: k, answer tokens left out at the start of each row, 0 or more.
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
        kept_N = position_in_row(forget.row_N) >= self.skip
        if not kept_N.any():
            raise TrainingError(
                f"method.skip={self.skip} leaves no token of the forget answers: give less"
            )
        logits_NV = forget.logits_NV[kept_N]
        return {"forget": ceu(logits_NV, forget.labels_N[kept_N])}


def ceu(logits_NV: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
    """L, mean over the tokens given."""
    return soft_cross_entropy(lowered(logits_NV, labels_N, float("inf")), logits_NV)
