"""Relearning: fine-tune the edited model for a few steps, and measure what comes back.

Threat: anyone with the weights and a few examples (Hu et al., arXiv:2406.13356; Lynch et al.,
arXiv:2402.16835). There are three kinds of data: forget examples; half of the forget prompts,
evaluated on the half that was not shown; ordinary examples only. The same fine-tuning on the base
model shows how much is newly learnt rather than recovered.
"""

import copy
import random
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import torch

from skunlearn.attacks.base import (
    BOTH,
    Attack,
    Cost,
    On,
    Situation,
    Situations,
    Target,
    at_least,
    one_form_each,
)
from skunlearn.data.examples import Example, Split
from skunlearn.methods.sku import SKU
from skunlearn.task_vectors.apply import attacked
from skunlearn.task_vectors.vector import TaskVector
from skunlearn.training.train import TrainOptions, train
from skunlearn.utils.errors import ConfigError

# Without its other losses SKU minimises the NLL of the answers in the forget set, and the vector
# that it trains is one that `lm.apply` refuses.
LIKELIHOOD = SKU(pd_mode="off")


@dataclass(frozen=True)
class Curve:
    """How long the model is fine-tuned, and where it is evaluated on the way.

    Attributes:
        steps: numbers of optimiser steps after which the model is evaluated, rising.
        batch: rows in a step.
        lr: peak learning rate. Between two points of the curve it decays to 0, and then starts
            again.
    """

    steps: tuple[int, ...] = (10, 20)
    batch: int = 5
    lr: float = 6e-4

    def __post_init__(self) -> None:
        at_least("curve", 1, steps=self.steps, batch=self.batch)
        for earlier, later in pairwise(self.steps):
            if later <= earlier:
                raise ConfigError(f"curve.steps={self.steps}: give numbers that rise")


@dataclass(frozen=True)
class Relearn(Attack):
    """Fine-tuning on forget examples.

    Attributes:
        examples: how many; each number is tried in turn.
        curve: how long.
        on: which models are attacked.
    """

    name: ClassVar[str] = "relearn"

    examples: tuple[int, ...] = (50,)
    curve: Curve = Curve()
    on: tuple[On, ...] = BOTH

    def __post_init__(self) -> None:
        at_least(self.name, 1, examples=self.examples)

    def situations(self, target: Target) -> Situations:
        """Yield, for each number of examples, each model along the curve."""
        for count in self.examples:
            shown = target.forget(count)
            for on in self.on:
                yield from relearnt(
                    target, on, shown, target.prompts, "forget examples", self.curve
                )


@dataclass(frozen=True)
class RelearnHalf(Attack):
    """Fine-tuning on half of the forget prompts, evaluated on the other half.

    Attributes:
        curve: how long.
        on: which models are attacked.
    """

    name: ClassVar[str] = "relearn-half"

    curve: Curve = Curve()
    on: tuple[On, ...] = BOTH

    def situations(self, target: Target) -> Situations:
        """Yield each model on the other half, before fine-tuning and along the curve."""
        shown = list(target.forget(len(target.data.train.forget)))
        random.Random(0).shuffle(shown)
        shown = shown[: len(shown) // 2]
        shown_keys = {example.key for example in shown}
        other_half = []
        for example in target.data.test.seen:
            if example.key not in shown_keys:
                other_half.append(example)
        hidden = other_half[: len(target.prompts)]

        for on in self.on:
            with target.model(on):
                yield Situation("other half, before", on, one_form_each(hidden), trained=True)
            text = "of the forget prompts, other half asked"
            for situation in relearnt(target, on, shown, hidden, text, self.curve):
                yield replace(situation, trained=True)


@dataclass(frozen=True)
class RelearnBenign(Attack):
    """Fine-tuning on ordinary examples: what a user does who means no harm.

    Attributes:
        examples: how many.
        curve: how long.
        on: which models are attacked.
    """

    name: ClassVar[str] = "relearn-benign"

    examples: int = 50
    curve: Curve = Curve(steps=(20,))
    on: tuple[On, ...] = ("edited",)

    def __post_init__(self) -> None:
        at_least(self.name, 1, examples=self.examples)

    def situations(self, target: Target) -> Situations:
        """Yield each model along the curve."""
        shown = target.retain(self.examples)
        for on in self.on:
            yield from relearnt(target, on, shown, target.prompts, "ordinary examples", self.curve)


def relearnt(
    target: Target,
    on: On,
    shown: Sequence[Example],
    evaluated: Sequence[Example],
    text: str,
    curve: Curve,
) -> Situations:
    """Fine-tune one model and yield it at each point of the curve.

    Nothing of the fine-tuned model is written to disk.

    Args:
        target: the models.
        on: which of them is fine-tuned.
        shown: the examples that it is fine-tuned on.
        evaluated: the prompts that it is evaluated on.
        text: what the shown examples are, for the name of the situation.
        curve: how long.
    """
    data = copy.copy(target.data)
    data.train = Split(forget=tuple(shown))
    learnt: TaskVector | None = None
    seconds = 0.0
    with target.model(on):
        nll_before = target.hidden_nll(shown, "hidden_nll_before")
        for number, (before, after) in enumerate(pairwise((0, *curve.steps))):
            # Train from the point before to this one, starting from what has been learnt so far.
            start = time.monotonic()
            options = TrainOptions(after - before, curve.batch, curve.lr, seed=number)
            so_far = nullcontext() if learnt is None else attacked(target.lm.model, learnt)
            with so_far, torch.enable_grad():
                tau = train(target.lm, LIKELIHOOD, data, options, progress=target.progress)
            learnt = tau if learnt is None else learnt + tau
            seconds += time.monotonic() - start

            # Evaluate the model at this point.
            with attacked(target.lm.model, learnt):
                variant = f"{len(shown)} {text}, {after} steps"
                yield Situation(
                    variant,
                    on,
                    one_form_each(evaluated),
                    weights=variant,
                    cost=Cost(len(shown), after, seconds=round(seconds, 1)),
                    numbers=nll_before | target.hidden_nll(shown, "hidden_nll_after"),
                )
