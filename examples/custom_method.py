"""A method of your own: one frozen dataclass in one file.

    skunlearn run --method examples/custom_method.py:BoundedAscent --set method.bound=3

Forget answers are made less likely until they are `bound` nats a token less likely than the base
finds them; ordinary answers are kept likely. Rows, steps, LoRA, strength, evaluation and report are
the library's.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from skunlearn.methods import Method, Scored
from skunlearn.methods.losses import answer_nll, capped
from skunlearn.utils.errors import ConfigError


@dataclass(frozen=True)
class BoundedAscent(Method):
    """Options of BoundedAscent.

    Attributes:
        bound: nats per token above the base's NLL where the ascent ends, above 0.
        retain_weight: of the ordinary answers, 0 or more.
    """

    edit_scale: ClassVar[float] = 1.0  # what is learnt is kept; -1 would negate it

    bound: float = 2.0
    retain_weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.bound > 0:
            raise ConfigError(f"method.bound={self.bound}: give a number above 0")

    @property
    def roles(self) -> tuple[str, ...]:
        return ("forget", "retain")

    @property
    def reference_roles(self) -> tuple[str, ...]:
        return ("forget",)  # the base's predictions are wanted on these rows

    def loss(self, scored: dict[str, Scored]) -> dict[str, torch.Tensor]:
        """`forget`, -bound or more, and `retain`; nats per token."""
        forget, retain = scored["forget"], scored["retain"]
        rise = answer_nll(forget.logits_NV, forget.labels_N) - answer_nll(
            forget.base, forget.labels_N
        )
        return {
            "forget": -capped(rise, self.bound),
            "retain": self.retain_weight * answer_nll(retain.logits_NV, retain.labels_N),
        }
