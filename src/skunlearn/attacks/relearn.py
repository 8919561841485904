"""Relearning: fine-tune the edited model for a short while, and see what comes back.

Threat: anyone with the weights and a few examples (Hu et al., arXiv:2406.13356; Lynch et al.,
    arXiv:2402.16835). Three
kinds of data: forget examples; half of the forget set, measured on the half that was not shown;
ordinary data only. The same on the base tells how much was merely learnt.
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
from skunlearn.training.train import TrainOptions, train
from skunlearn.utils.errors import ConfigError

LIKELIHOOD = SKU(
    pd_mode="off"
)  # NLL of what is in the forget place, with the sign of what must not be applied


@dataclass(frozen=True)
class Curve:
    """How long is trained, and where it is measured.

    Attributes:
        steps: optimiser steps after which the model is measured, rising.
        batch: rows a step.
        lr: peak learning rate; each point of the curve is a round that decays it to 0.
    """

    steps: tuple[int, ...] = (10, 20)
    batch: int = 5
    lr: float = 6e-4

    def __post_init__(self) -> None:
        at_least("curve", 1, steps=self.steps, batch=self.batch)
        if any(later <= earlier for earlier, later in pairwise(self.steps)):
            raise ConfigError(f"curve.steps={self.steps}: give numbers that rise")


@dataclass(frozen=True)
class Relearn(Attack):
    """Fine-tuning on forget examples.

    Attributes:
        examples: how many, each number in turn.
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
        """Each number of examples on each model, along the curve."""
        for count in self.examples:
            for on in self.on:
                yield from relearnt(
                    target, on, target.forget(count), target.prompts, "forget examples", self.curve
                )


@dataclass(frozen=True)
class RelearnHalf(Attack):
    """Fine-tuning on half of the forget prompts, measured on the other half.

    Attributes:
        curve: how long.
        on: which models are attacked.
    """

    name: ClassVar[str] = "relearn-half"

    curve: Curve = Curve()
    on: tuple[On, ...] = BOTH

    def situations(self, target: Target) -> Situations:
        """The other half before, on each model, and along the curve."""
        shown = list(target.forget(len(target.data.train.forget)))
        random.Random(0).shuffle(shown)
        shown = shown[: len(shown) // 2]
        keys = {example.key for example in shown}
        hidden = [e for e in target.data.test.seen if e.key not in keys][: len(target.prompts)]
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
        """Each model, along the curve."""
        for on in self.on:
            shown = target.retain(self.examples)
            yield from relearnt(target, on, shown, target.prompts, "ordinary examples", self.curve)


def relearnt(
    target: Target,
    on: On,
    shown: Sequence[Example],
    asked: Sequence[Example],
    text: str,
    curve: Curve,
) -> Situations:
    """The model at each point of the curve. Each goes on from the one before; nothing of it is
    written anywhere."""
    data = copy.copy(target.data)
    data.train = Split(forget=tuple(shown))
    total, seconds = None, 0.0
    with target.model(on):
        start_nll = target.hidden_nll(shown, "hidden_nll_before")
        for number, (before, after) in enumerate(pairwise((0, *curve.steps))):
            start = time.monotonic()
            options = TrainOptions(after - before, curve.batch, curve.lr, seed=number)
            so_far = attacked(target.lm.model, total) if total else nullcontext()
            with so_far, torch.enable_grad():
                tau = train(target.lm, LIKELIHOOD, data, options, progress=target.progress)
            total = total + tau if total else tau
            seconds += time.monotonic() - start
            with attacked(target.lm.model, total):
                variant = f"{len(shown)} {text}, {after} steps"
                cost = Cost(len(shown), after, seconds=round(seconds, 1))
                numbers = start_nll | target.hidden_nll(shown, "hidden_nll_after")
                yield Situation(variant, on, one_form_each(asked), variant, cost, numbers)
