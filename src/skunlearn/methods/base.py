"""What a method is: which losses on which rows, and the sign of the edit."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch


@dataclass(frozen=True)
class Scored:
    """The scored tokens of one role's rows in one step.

    Attributes:
        logits_NV: the trained model's predictions.
        labels_N: the tokens themselves.
        row_N: the row each token came from, 0, 1, ... within the role.
        base_logits_NV: the base's predictions of the same tokens; only for roles in `Method.referenced`.
    """

    logits_NV: torch.Tensor
    labels_N: torch.Tensor
    row_N: torch.Tensor
    base_logits_NV: torch.Tensor | None = None


@dataclass(frozen=True)
class Method(ABC):
    """The base of all methods, which are frozen dataclasses of their options.

    Attributes:
        edit_scale: theta_u = theta_o + strength * edit_scale * tau: -1 to negate what was learnt, +1 to keep it.
    """

    edit_scale: ClassVar[float]

    @property
    @abstractmethod
    def roles(self) -> tuple[str, ...]:
        """Which rows a step takes: any of "forget", "mismatch", "refusal", "retain", "lookalike"."""

    @property
    def referenced(self) -> tuple[str, ...]:
        """The roles whose base predictions `loss` needs."""
        return ()

    @property
    def mismatched(self) -> int:
        """K: mismatched answers for each forget row, when "mismatch" is among the roles."""
        return 0

    @property
    def kept(self) -> int:
        """Rows of "retain", and of "lookalike", for each forget row."""
        return 1

    @property
    def keep_tokens(self) -> int | None:
        """How many answer tokens of ordinary rows are read; None for all of them."""
        return None

    @abstractmethod
    def loss(self, scored: dict[str, Scored]) -> dict[str, torch.Tensor]:
        """The weighted terms, whose sum is minimised, by the names that logs and plots show."""
