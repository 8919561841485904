"""What an attack is: it makes attacked situations, and tells what each cost the attacker."""

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
from skunlearn.utils.progress import Progress

On = Literal["edited", "base"]
BOTH: tuple[On, ...] = ("edited", "base")


@dataclass(frozen=True)
class BatteryOptions:
    """How much is measured of each situation.

    Attributes:
        prompts: most unseen harmful prompts.
        max_new_tokens: where an answer is cut.
        ordinary: most ordinary answers by which the KL from the base of attacked weights is told; 0
            leaves it out.
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
        examples: examples with answers that were shown to the model.
        steps: optimiser or search steps.
        queries: answers asked for each harmful prompt.
        seconds: of the attacker's computing, without the measurement.
    """

    examples: int = 0
    steps: int = 0
    queries: int = 1
    seconds: float = 0.0

    def __str__(self) -> str:
        known = ((self.examples, "examples"), (self.steps, "steps"), (round(self.seconds), "s"))
        parts = [f"{number} {unit}" for number, unit in known if number]
        parts += [f"{self.queries} queries a prompt"] if self.queries > 1 else []
        return ", ".join(parts) or "nothing"


@dataclass(frozen=True)
class Situation:
    """A model under attack, ready to be asked.

    Attributes:
        variant: which form of the attack this is.
        on: the model that is attacked.
        prompts: for each harmful prompt the forms it is asked in; the attacker wins with any of
            them.
        weights: a name for what was done to the weights; empty when only prompts are attacked.
        cost: the attacker's.
        numbers: what the attack measured itself, by name.
        note: what a reader must know about the number.
        trained: the prompts are others than those of all other situations: trained ones that the
            attack did not show.
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
    """What is attacked, and with what.

    Attributes:
        lm: the base; its tokenizer and template are the edited model's.
        edit: theta_u - theta_o.
        data: its train part is what an attacker has, `options.max_length` cuts its rows.
        prompts: unseen harmful prompts: what is measured.
        progress: is told of the work.
    """

    lm: LM
    edit: TaskVector
    data: Data
    prompts: tuple[Example, ...]
    progress: Progress = field(default_factory=Progress)

    def model(self, on: On) -> AbstractContextManager[None]:
        """A block inside which `lm` is the edited model, or the base."""
        return self.lm.edited(self.edit) if on == "edited" else nullcontext()

    @property
    def plain(self) -> tuple[tuple[Example, ...], ...]:
        """The measured prompts as they are."""
        return one_form_each(self.prompts)

    def forget(self, count: int) -> tuple[Example, ...]:
        """The first `count` forget examples that were trained on, one for each prompt."""
        return distinct(self.data.train.forget)[:count]

    def retain(self, count: int) -> tuple[Example, ...]:
        """The first `count` ordinary examples that were trained on, one for each prompt."""
        return distinct(self.data.train.retain)[:count]

    def hidden_nll(self, shown: Sequence[Example], name: str) -> dict[str, float]:
        """Mean NLL, by the model as it is now, of forget answers that were trained on but are not
        shown to it, nats a token, under a name; empty when all are shown."""
        keys = {example.key for example in shown}
        hidden = [
            example for example in distinct(self.data.train.forget) if example.key not in keys
        ]
        rows = [
            self.lm.template.encode(e, self.data.options.max_length)
            for e in hidden[: len(self.prompts)]
        ]
        value = nll_score(row_likelihoods(self.lm.model, rows)).value
        return {} if value is None else {name: round(value, 4)}


@dataclass(frozen=True)
class Attack(ABC):
    """The base of all attacks, which are frozen dataclasses of their options."""

    name: ClassVar[str]

    @abstractmethod
    def situations(self, target: Target) -> Situations:
        """The attacked situations, one after the other.

        The model is attacked from the moment a situation is given until the next one is asked for
        or the iterator is closed; then it is exactly what it was.
        """


def one_form_each(examples: Sequence[Example]) -> tuple[tuple[Example, ...], ...]:
    """Each prompt in one form."""
    return tuple((example,) for example in examples)


def disguised(example: Example, **changes: Any) -> Example:
    """The example in another form, for a judge that still reads what it was before."""
    return replace(example, **changes, intent=example.intent or example.prompt)


def at_least(attack: str, least: int, **values: Sequence[float] | float) -> None:
    """Check options.

    Raises:
        ConfigError: when one is empty or below `least`.
    """
    for name, value in values.items():
        numbers = value if isinstance(value, Sequence) else [value]
        if not numbers or min(numbers) < least:
            raise ConfigError(f"{attack}.{name}={value}: give {least} or more")


def random_words(examples: Sequence[Example], seed: int) -> tuple[Example, ...]:
    """The examples with answers that no model ever knew: words of all their answers in random
    order, as many as before.

    The control of an attack that optimises for an answer: if it is reached as well as the true one,
    reaching the true one tells nothing about knowledge.
    """
    words = sorted({word for example in examples for word in example.answer.split()})
    draw = random.Random(seed)
    return tuple(
        replace(example, answer=" ".join(draw.choices(words, k=len(example.answer.split()))))
        for example in examples
    )
