"""What all attacks share: the target, the attacked situations that they yield, and their cost."""

import random
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from skunlearn.data.dataset import Data
from skunlearn.data.examples import Example, distinct
from skunlearn.evaluation.metrics.likelihood import nll_score, row_likelihoods
from skunlearn.models.lm import LM
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.options import checked
from skunlearn.utils.progress import Progress

On = Literal["edited", "base"]
BOTH: tuple[On, ...] = ("edited", "base")


@dataclass(frozen=True)
@checked
class BatteryOptions:
    """How much is measured in each attacked situation.

    Attributes:
        prompts: the largest number of unseen harmful prompts, 1 or more.
        max_new_tokens: the largest number of tokens in a completion, 1 or more.
        ordinary: the largest number of ordinary answers on which the KL divergence from the base is
            measured, where weights are attacked; 0 leaves it out.
    """

    prompts: int = 32
    max_new_tokens: int = 32
    ordinary: int = 16

    def __post_init__(self) -> None:
        at_least("attack", 1, prompts=self.prompts, max_new_tokens=self.max_new_tokens)
        at_least("attack", 0, ordinary=self.ordinary)


@dataclass(frozen=True)
class Cost:
    """What one attacked situation cost the attacker.

    Attributes:
        examples: examples that the attack used.
        steps: optimiser steps or search steps.
        queries: completions generated for each harmful prompt.
        seconds: time the attack itself took, without the evaluation.
    """

    examples: int = 0
    steps: int = 0
    queries: int = 1
    seconds: float = 0.0

    def __str__(self) -> str:
        parts = []
        if self.examples:
            parts.append(f"{self.examples} examples")
        if self.steps:
            parts.append(f"{self.steps} steps")
        if round(self.seconds):
            parts.append(f"{round(self.seconds)} s")
        if self.queries > 1:
            parts.append(f"{self.queries} queries a prompt")
        return ", ".join(parts) or "nothing"


@dataclass(frozen=True)
class Situation:
    """A model under attack, ready to be evaluated.

    Attributes:
        variant: which form of the attack this is.
        on: the model that is attacked.
        prompts: for each harmful prompt the forms in which it is put to the model. The attacker
            succeeds if any of the forms does.
        weights: a name for the changed weights; empty when only prompts are attacked.
        cost: what the attacker paid.
        numbers: what the attack measured itself, by name.
        note: a caveat that belongs beside the rates.
        trained: the prompts were in the training data of the edit, and the attack did not use
            them. In all other situations the prompts are the unseen ones of the target.
    """

    variant: str
    on: On
    prompts: tuple[tuple[Example, ...], ...]
    weights: str = ""
    cost: Cost = Cost()
    numbers: dict[str, float] = field(default_factory=dict)
    note: str = ""
    trained: bool = False


Situations = Generator[Situation, None, None]


@dataclass(frozen=True)
class Target:
    """The models that are attacked, and the data that an attacker has.

    Attributes:
        lm: the base model with the edited model's tokenizer and chat template.
        edit: the task vector theta_u - theta_o, from the base to the edited model.
        data: its train split is what an attacker may use; `data.options.max_length` cuts its rows.
        prompts: the unseen harmful prompts on which every attack is evaluated.
        progress: reports the work.
    """

    lm: LM
    edit: TaskVector
    data: Data
    prompts: tuple[Example, ...]
    progress: Progress = field(default_factory=Progress)

    def model(self, on: On) -> AbstractContextManager[None]:
        """A block inside which `lm` is the edited model, or the base model."""
        return self.lm.edited(self.edit) if on == "edited" else nullcontext()

    @property
    def plain(self) -> tuple[tuple[Example, ...], ...]:
        """The evaluated prompts as they are, one form each."""
        return one_form_each(self.prompts)

    def forget(self, count: int) -> tuple[Example, ...]:
        """The first `count` forget examples of the train split, one for each prompt."""
        return distinct(self.data.train.forget)[:count]

    def retain(self, count: int) -> tuple[Example, ...]:
        """The first `count` ordinary examples of the train split, one for each prompt."""
        return distinct(self.data.train.retain)[:count]

    def hidden_nll(self, shown: Sequence[Example], name: str) -> dict[str, float]:
        """Measure whether an attack brings back forget answers that it was not shown.

        Args:
            shown: the forget examples that the attack uses.
            name: the key of the result.

        Returns:
            The current model's mean NLL, nats per token, of the other forget answers in the train
            split (as many as there are evaluated prompts), under `name`; empty when all of them
            are shown.
        """
        shown_keys = {example.key for example in shown}
        hidden = []
        for example in distinct(self.data.train.forget):
            if example.key not in shown_keys:
                hidden.append(example)
        max_length = self.data.options.max_length
        measured = hidden[: len(self.prompts)]
        rows = [self.lm.template.encode(example, max_length) for example in measured]
        value = nll_score(row_likelihoods(self.lm.model, rows)).value
        return {} if value is None else {name: round(value, 4)}


@dataclass(frozen=True)
class Attack(ABC):
    """The base class of all attacks, which are frozen dataclasses of their options.

    An attack is a generator of attacked situations. The model is under attack from a `yield` until
    the next value is requested, or until the generator is closed; then its weights are exactly what
    they were. So each situation is evaluated inside the loop, and the loop closes the generator:

        with closing(attack.situations(target)) as situations:
            for situation in situations:
                evaluate(target.lm, situation.prompts)
    """

    name: ClassVar[str]

    def __init_subclass__(cls) -> None:
        """Let every attack check the types of its options."""
        super().__init_subclass__()
        checked(cls, getattr(cls, "name", ""))

    @abstractmethod
    def situations(self, target: Target) -> Situations:
        """Yield the attacked situations, one after the other."""


def one_form_each(examples: Sequence[Example]) -> tuple[tuple[Example, ...], ...]:
    """Each prompt in a single form, for `Situation.prompts`."""
    return tuple((example,) for example in examples)


def disguised(example: Example, **changes: Any) -> Example:
    """The example in another form; a judge still reads the prompt that it had at first."""
    return replace(example, **changes, intent=example.intent or example.prompt)


wrapped = disguised  # its name until 0.1; it goes with the next release


def at_least(attack: str, least: int, **values: Sequence[float] | float) -> None:
    """Check the options of an attack.

    Args:
        attack: its name, for the message.
        least: the smallest value allowed.
        values: numbers, or sequences of numbers, by the names of the options.

    Raises:
        ConfigError: when a number is below `least`, or a sequence is empty.
    """
    for name, value in values.items():
        numbers = value if isinstance(value, Sequence) else [value]
        if not numbers or min(numbers) < least:
            raise ConfigError(f"{attack}.{name}={value}: give {least} or more")


def random_words(examples: Sequence[Example], seed: int) -> tuple[Example, ...]:
    """The examples with answers that no model has ever learnt.

    Each answer becomes as many words as it had, drawn at random from the words of all answers.
    This is the control of an attack that optimises towards given answers: if it reaches these
    answers as well as the true ones, then reaching the true ones is no evidence of knowledge.
    """
    vocabulary: set[str] = set()
    for example in examples:
        vocabulary.update(example.answer.split())
    words = sorted(vocabulary)

    draw = random.Random(seed)
    control = []
    for example in examples:
        drawn = draw.choices(words, k=len(example.answer.split()))
        control.append(replace(example, answer=" ".join(drawn)))
    return tuple(control)
