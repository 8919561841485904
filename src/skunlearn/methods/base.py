"""What a method is: which losses on which rows, and the sign of the edit."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import ClassVar, Literal, get_args

import torch

from skunlearn.methods.losses import answer_nll, kl
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.registry import did_you_mean

Rounding = Literal["int8", "nf4", "q8_0", "q4_0", "q4_1"]  # the forms of models/quantisation.py


@dataclass(frozen=True)
class Scored:
    """The scored tokens of one role's rows in one step.

    Attributes:
        logits_NV: the trained model's predictions.
        labels_N: the tokens themselves.
        row_N: the row each token came from, 0, 1, ... within the role.
        base_logits_NV: the base's predictions of the same tokens; only for roles in
            `Method.reference_roles`.
        hidden: what each of `Method.hidden_layers` puts out where the tokens are predicted, (N, D).
        base_hidden: the same of the base; only for roles in `Method.reference_roles`.
    """

    logits_NV: torch.Tensor
    labels_N: torch.Tensor
    row_N: torch.Tensor
    base_logits_NV: torch.Tensor | None = None
    hidden: Mapping[float, torch.Tensor] = field(default_factory=dict)
    base_hidden: Mapping[float, torch.Tensor] = field(default_factory=dict)

    @property
    def base(self) -> torch.Tensor:
        """`base_logits_NV`, for roles that have them."""
        assert self.base_logits_NV is not None, "the role is not in Method.reference_roles"
        return self.base_logits_NV


@dataclass(frozen=True)
class Detector:
    """Where gates are, and how they are fitted.

    Attributes:
        layers: their decoder layers, as shares of the depth.
        harmless: what harmless prompts are read as, at most 0, where harmful ones are read as 1. At
            a reading of 0 nothing is added; below it the push is the other way.
        lookalike: share of the look-alikes among the harmless, the rest being ordinary prompts
            (0..1).
        ridge: weight of |w|^2, as a share of the inputs' mean square, above 0.
        others: weight of all tokens but the deciding ones, 0 or more.
        roundings: forms ("nf4", "q4_0", ...) that the weights go through and back, each for all
            harmful rows and a part of the others. Rounding moves all readings alike, and a gate
            that has not seen it stays shut.
    """

    layers: tuple[float, ...] = (0.5, 0.63)
    harmless: float = -0.3
    lookalike: float = 0.6
    ridge: float = 0.3
    others: float = 1.0
    roundings: tuple[Rounding, ...] = ()

    def __post_init__(self) -> None:
        if not self.layers:
            raise ConfigError("gate.layers is empty: give shares of the depth")
        if not self.harmless <= 0 or not 0 <= self.lookalike <= 1:
            raise ConfigError(
                f"gate.harmless={self.harmless}, gate.lookalike={self.lookalike}: at most 0, and 0 to 1"
            )
        unknown = [form for form in self.roundings if form not in get_args(Rounding)]
        if unknown:
            raise ConfigError(
                f"gate.roundings: no form '{unknown[0]}': {did_you_mean(unknown[0], get_args(Rounding))}"
            )
        if not self.ridge > 0 or not self.others >= 0:
            raise ConfigError(
                f"gate.ridge={self.ridge}, gate.others={self.others}: give above 0, and 0 or more"
            )


@dataclass(frozen=True)
class Method(ABC):
    """The base of all methods, which are frozen dataclasses of their options.

    Attributes:
        edit_scale: theta_u = theta_o + strength * edit_scale * tau: -1 to negate what was learnt,
            +1 to keep it.
    """

    edit_scale: ClassVar[float]

    @property
    @abstractmethod
    def roles(self) -> tuple[str, ...]:
        """Which rows a step takes: any of "forget", "mismatch" (forget prompts with answers of
        other ones), "unrelated" (with answers of retain prompts), "refusal" (with refusals),
        "retain", "lookalike"."""

    @property
    def reference_roles(self) -> tuple[str, ...]:
        """The roles whose base predictions `loss` needs."""
        return getattr(self, "referenced", ())  # its name until 0.1

    @property
    def num_mismatched(self) -> int:
        """K: answers of other prompts for each forget row, when "mismatch" or "unrelated" is among
        the roles. The option `mismatched` of methods that have it."""
        return getattr(self, "mismatched", 0)

    @property
    def benign_per_forget(self) -> int:
        """Rows of "retain", and of "lookalike", for each forget row. The option `kept` of methods
        that have it."""
        return getattr(self, "kept", 1)

    @property
    def keep_tokens(self) -> int | None:
        """How many answer tokens of ordinary rows are read; None for all of them."""
        return None

    @property
    def hidden_layers(self) -> tuple[float, ...]:
        """Decoder layers whose output `loss` reads, as shares of the depth (above 0, 1 is the
        last). A method that names some is taken to depend on nothing above the highest: only the
        layers up to there are trained."""
        return getattr(self, "layers", ())  # its name until 0.1

    @property
    def refusal_tokens(self) -> int | None:
        """How many tokens of a refusal are read; None for all of them."""
        return None

    @property
    def detector(self) -> Detector | None:
        """Where only what a detector writes is trained, instead of `lora`; None for methods that
        train all that it says. The option `gate` of methods that have it."""
        return getattr(self, "gate", None)

    def weights(
        self, done: float, last: Mapping[str, float], terms: Mapping[str, float]
    ) -> dict[str, float]:
        """What terms of `loss` are multiplied by in the coming step; those not named count once.

        Args:
            done: share of the training that is over after the coming step (above 0, at most 1).
            last: the weights of the step before; empty before the first.
            terms: what `loss` gave in the step before, without these weights; empty before the
                first.
        """
        return {}

    @abstractmethod
    def loss(self, scored: dict[str, Scored]) -> dict[str, torch.Tensor]:
        """The weighted terms, whose sum is minimised, by the names that logs and plots show."""


def check_options(method: Method, above_0: tuple[str, ...] = ()) -> None:
    """Every number among the options is finite and 0 or more, and above 0 where the formula divides
    by it.

    Raises:
        ConfigError: for the first that is not.
    """
    for option in fields(method):
        value = getattr(method, option.name)
        if isinstance(value, int | float) and not 0 <= value < float("inf"):
            raise ConfigError(f"method.{option.name}={value}: give 0 or more")
        if option.name in above_0 and not value:
            raise ConfigError(f"method.{option.name}={value}: give a number above 0")


def active_roles(**weights: float) -> tuple[str, ...]:
    """The roles whose weight is above 0."""
    return tuple(role for role, weight in weights.items() if weight > 0)


def nll_terms(scored: Mapping[str, Scored], **weights: float) -> dict[str, torch.Tensor]:
    """`weight * NLL` of each role that has rows, mean over its tokens, nats; a weight below 0 makes
    it unlikely."""
    return {
        role: weight * answer_nll(scored[role].logits_NV, scored[role].labels_N)
        for role, weight in weights.items()
        if role in scored
    }


def kl_terms(scored: Mapping[str, Scored], **weights: float) -> dict[str, torch.Tensor]:
    """`weight * KL(base || trained)` of each role that has rows, mean over its tokens, nats."""
    return {
        role: weight * kl(scored[role].base, scored[role].logits_NV)
        for role, weight in weights.items()
        if role in scored
    }
