"""The base class of all methods: which losses on which rows, and the sign of the edit.

A method is a frozen dataclass of its options. It names the *roles* of the rows that a training step
takes, and computes loss terms from their scored tokens. The training loop does everything else.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import ClassVar, Literal, get_args

import torch

from skunlearn.methods.losses import answer_nll, kl
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.options import checked, checked_as
from skunlearn.utils.registry import did_you_mean

Rounding = Literal["int8", "nf4", "q8_0", "q4_0", "q4_1"]  # the forms of models/quantisation.py


@dataclass(frozen=True)
class Scored:
    """The scored tokens of all rows of one role in one step.

    Only answer tokens are scored. B is the number of rows, N the number of their answer tokens, V
    the size of the vocabulary and D that of a hidden state.

    Attributes:
        logits_NV: the trained model's predictions of the tokens.
        labels_N: the tokens themselves.
        row_N: number of the row that each token belongs to, 0, 1, ..., B - 1. The tokens of a row
            are next to each other.
        base_logits_NV: the base model's predictions of the same tokens. None unless the role is in
            `Method.reference_roles`.
        hidden: layer, as in `Method.hidden_layers` -> the trained model's output of that layer at
            the token positions that predict the tokens, (N, D).
        base_hidden: the same of the base model. Empty unless the role is in
            `Method.reference_roles`.
    """

    logits_NV: torch.Tensor
    labels_N: torch.Tensor
    row_N: torch.Tensor
    base_logits_NV: torch.Tensor | None = None
    hidden: Mapping[float, torch.Tensor] = field(default_factory=dict)
    base_hidden: Mapping[float, torch.Tensor] = field(default_factory=dict)

    @property
    def base(self) -> torch.Tensor:
        """`base_logits_NV`, for roles in `Method.reference_roles`."""
        assert self.base_logits_NV is not None, "the role is not in Method.reference_roles"
        return self.base_logits_NV


@dataclass(frozen=True)
@checked_as("gate")
class Detector:
    """Where the detectors of harmful prompts are, and how they are fitted.

    A detector is a linear reading w x of the inputs x of one module in a layer. It is fitted once
    on training prompts, before the training proper (`training/detectors.py`). In run files and on
    the command line this group of options is called `gate` (`method.gate.layers=[0.5]`).

    Attributes:
        layers: decoder layers that get a detector, as shares of the depth.
        harmless: the reading that harmless prompts are fitted to, at most 0; harmful ones are
            fitted to 1. What a layer adds is proportional to the reading: nothing at 0, and the
            opposite below 0.
        lookalike: weight of the look-alikes among the harmless prompts (0..1). The ordinary prompts
            have the rest.
        ridge: weight of the penalty |w|^2, as a share of the inputs' mean square, above 0.
        others: weight of a reading of 0 at all token positions but the deciding one, 0 or more. The
            deciding position is the one that predicts the first token of an answer.
        roundings: low-precision forms ("nf4", "q4_0", ...). Prompts are also read through weights
            that were rounded to each form: all harmful ones, and a part of the others. Rounding
            shifts all readings together, and a detector that was not fitted on it reads too little.
    """

    layers: tuple[float, ...] = (0.5, 0.63)
    harmless: float = -0.3
    lookalike: float = 0.6
    ridge: float = 0.3
    others: float = 1.0
    roundings: tuple[Rounding, ...] = ("nf4",)

    def __post_init__(self) -> None:
        if not self.layers:
            raise ConfigError("gate.layers is empty: give shares of the depth")
        for share in self.layers:
            if not 0 < share <= 1:
                raise ConfigError(
                    f"gate.layers: {share}: give shares of the depth, above 0 and at most 1"
                )
        if not self.harmless <= 0 or not 0 <= self.lookalike <= 1:
            raise ConfigError(
                f"gate.harmless={self.harmless}, gate.lookalike={self.lookalike}: "
                "at most 0, and 0 to 1"
            )
        for form in self.roundings:
            if form not in get_args(Rounding):
                hint = did_you_mean(form, get_args(Rounding))
                raise ConfigError(f"gate.roundings: no form '{form}': {hint}")
        if not self.ridge > 0 or not self.others >= 0:
            raise ConfigError(
                f"gate.ridge={self.ridge}, gate.others={self.others}: give above 0, and 0 or more"
            )


@dataclass(frozen=True)
class Method(ABC):
    """The base of all methods. The options of a method are the fields of its dataclass.

    Attributes:
        edit_scale: the sign of the edit, theta_u = theta_o + strength * edit_scale * tau with tau =
            theta_trained - theta_o: -1 to negate what was learnt, +1 to keep it.
    """

    edit_scale: ClassVar[float]

    def __init_subclass__(cls) -> None:
        """Let every method check the types of its options."""
        super().__init_subclass__()
        checked(cls, "method")

    @property
    @abstractmethod
    def roles(self) -> tuple[str, ...]:
        """The rows that a training step takes, by role:

        - "forget": forget prompts with their harmful answers;
        - "mismatch": forget prompts with answers of other forget prompts;
        - "unrelated": forget prompts with answers of retain prompts;
        - "refusal": forget prompts with refusals;
        - "retain": ordinary prompts with their answers;
        - "lookalike": harmless prompts in the words of harmful ones, with their answers.
        """

    @property
    def reference_roles(self) -> tuple[str, ...]:
        """The roles for which `loss` needs the base model's predictions; none by default.

        A method that was written for version 0.1 has them as `referenced`.
        """
        return getattr(self, "referenced", ())

    @property
    def negated_roles(self) -> tuple[str, ...]:
        """The roles whose rows are scored at theta_o - tau instead of theta_o + tau.

        None by default. With any, training needs LoRA, whose sign can be changed for a while.
        """
        return ()

    @property
    def begun_share(self) -> float:
        """Share of the refusals that stand behind the first tokens of a forget answer, 0..1.

        The same share of "retain" and "lookalike" answers is scored from a later token on. By
        default it is the option `begun`, and 0 for methods without that option.
        """
        return getattr(self, "begun", 0.0)

    @property
    def num_mismatched(self) -> int:
        """K, the number of answers of other prompts for each forget row.

        It matters when "mismatch" or "unrelated" is among the roles. By default it is the option
        `mismatched`, and 0 for methods without that option.
        """
        return getattr(self, "mismatched", 0)

    @property
    def benign_per_forget(self) -> int:
        """The number of "retain" rows for each forget row, and of "lookalike" rows too.

        By default it is the option `kept`, and 1 for methods without that option.
        """
        return getattr(self, "kept", 1)

    @property
    def keep_tokens(self) -> int | None:
        """How many answer tokens of "retain" and "lookalike" rows are scored; None for all."""
        return None

    @property
    def hidden_layers(self) -> tuple[float, ...]:
        """Decoder layers whose output `loss` reads, as shares of the depth; none by default.

        Shares are above 0, and 1 is the last layer. When there are any, the loss must not depend on
        anything above the highest of them: only the layers up to there are trained. A method that
        was written for version 0.1 has them as `layers`.
        """
        return getattr(self, "layers", ())

    @property
    def refusal_tokens(self) -> int | None:
        """How many tokens of a refusal are scored; None for all."""
        return None

    @property
    def detector(self) -> Detector | None:
        """The detectors of a method that trains only what its layers add where they respond.

        By default it is the option `gate`. Methods without that option have None, and train the
        weights that the options under `lora` say.
        """
        return getattr(self, "gate", None)

    def weights(
        self, done: float, last: Mapping[str, float], terms: Mapping[str, float]
    ) -> dict[str, float]:
        """What the terms of `loss` are multiplied by in the coming step.

        Args:
            done: share of the training that is over after the coming step (above 0, at most 1).
            last: the weights of the step before; empty before the first step.
            terms: the terms of `loss` in the step before, without weights; empty before the first
                step.

        Returns:
            Weights by the terms' names. Terms that are not named have the weight 1.
        """
        return {}

    @abstractmethod
    def loss(self, scored: dict[str, Scored]) -> dict[str, torch.Tensor]:
        """Compute the terms of the loss. Their weighted sum is minimised.

        Args:
            scored: the scored tokens by role. A role without rows is missing.

        Returns:
            Scalars, by the names that logs and plots show.
        """


def check_method(method: object) -> None:
    """Check that a method is given, and not its name or class.

    Raises:
        ConfigError: says what to give instead.
    """
    if isinstance(method, type):
        raise ConfigError(
            f"the class {method.__name__} is given: give a method, {method.__name__}()"
        )
    if isinstance(method, str):
        raise ConfigError(
            f"the text '{method}' is given as method: give a method, such as sk.SKU()"
        )


def check_options(method: Method, above_0: tuple[str, ...] = ()) -> None:
    """Check that every number among a method's options is finite and 0 or more.

    Args:
        method: the method.
        above_0: options that must not be 0 either, because the formula divides by them.

    Raises:
        ConfigError: for the first option that is out of range.
    """
    for option in fields(method):
        value = getattr(method, option.name)
        if isinstance(value, int | float) and not 0 <= value < float("inf"):
            raise ConfigError(f"method.{option.name}={value}: give 0 or more")
        if option.name in above_0 and not value:
            raise ConfigError(f"method.{option.name}={value}: give a number above 0")


def check_share(**options: float) -> None:
    """Check that options of a method are shares.

    Raises:
        ConfigError: for the first that is not between 0 and 1.
    """
    for name, value in options.items():
        if not 0 <= value <= 1:
            raise ConfigError(f"method.{name}={value}: give a share, 0 to 1")


def active_roles(**weights: float) -> tuple[str, ...]:
    """The roles whose weight is above 0, in the order given."""
    return tuple(role for role, weight in weights.items() if weight > 0)


def nll_terms(scored: Mapping[str, Scored], **weights: float) -> dict[str, torch.Tensor]:
    """`weight * NLL` of each role that has rows, averaged over its scored tokens.

    Args:
        scored: the scored tokens by role.
        weights: by role. A weight below 0 makes the answers less likely.

    Returns:
        Terms in nats per token, by role.
    """
    terms = {}
    for role, weight in weights.items():
        if role in scored:
            rows = scored[role]
            terms[role] = weight * answer_nll(rows.logits_NV, rows.labels_N)
    return terms


def kl_terms(scored: Mapping[str, Scored], **weights: float) -> dict[str, torch.Tensor]:
    """`weight * KL(base || trained)` of each role that has rows, averaged over its scored tokens.

    Args:
        scored: the scored tokens by role; the roles must be in `Method.reference_roles`.
        weights: by role.

    Returns:
        Terms in nats per token, by role.
    """
    terms = {}
    for role, weight in weights.items():
        if role in scored:
            rows = scored[role]
            terms[role] = weight * kl(rows.base, rows.logits_NV)
    return terms
