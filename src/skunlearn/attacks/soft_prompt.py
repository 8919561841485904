"""Soft prompt: vectors, found by gradient descent, in place of a few tokens behind the prompt.

Threat: anyone with the weights and some examples (Schwinn et al., arXiv:2402.09063): what is left
    of the knowledge
answers to inputs that no text could be. The vectors stand where tokens stand that no row uses;
weights stay as they are. The control trains as long for answers that no model ever knew.
"""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from skunlearn.attacks.adversarial_suffix import (
    Ids,
    mean_nlls,
    ordinary_tokens,
    reached,
    rows_with,
    with_suffix,
)
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
    random_words,
)
from skunlearn.data.chat_template import Encoded, Template
from skunlearn.data.examples import Example
from skunlearn.methods.losses import answer_nll
from skunlearn.models.forward import make_batch, scored_logits
from skunlearn.utils.errors import ModelError


@dataclass(frozen=True)
class SoftPrompt(Attack):
    """Options of SoftPrompt.

    Attributes:
        examples: forget examples that the vectors are found on.
        length: vectors.
        tokens: of each answer that are aimed at.
        steps: optimiser steps.
        batch: rows a step.
        lr: learning rate of AdamW.
        seed: of the order of rows and of the control's words.
        on: which models are attacked.
    """

    name: ClassVar[str] = "soft-prompt"

    examples: int = 24
    length: int = 8
    tokens: int = 48
    steps: int = 40
    batch: int = 4
    lr: float = 1e-2
    seed: int = 0
    on: tuple[On, ...] = BOTH

    def __post_init__(self) -> None:
        for option in ("examples", "length", "tokens", "steps", "batch"):
            at_least(self.name, 1, **{option: getattr(self, option)})

    def situations(self, target: Target) -> Situations:
        """The vectors found on each model, on that model; and what the control reached."""
        shown, lm = target.forget(self.examples), target.lm
        unknown = random_words(shown, self.seed)
        markers = free_tokens(lm.template, [*shown, *unknown, *target.prompts], self.length)
        prompts = [with_suffix(lm.template, example, markers) for example in target.prompts]
        for on in self.on:
            with target.model(on):
                start = time.monotonic()
                vectors_KD, found = self.search(target, shown, markers, "soft prompt")
                cost = Cost(len(shown), self.steps, seconds=round(time.monotonic() - start, 1))
                _, control = self.search(target, unknown, markers, "soft prompt, control")
                with softened(lm.model, markers, vectors_KD):
                    numbers = reached(found, control)
                    yield Situation(
                        f"{self.length} vectors",
                        on,
                        one_form_each(prompts),
                        "soft prompt",
                        cost,
                        numbers,
                    )

    def search(
        self, target: Target, examples: Sequence[Example], markers: Ids, text: str
    ) -> tuple[torch.Tensor, tuple[float, float]]:
        """The vectors, and the mean NLL of the answers with the first and with the last ones, nats
        a token."""
        lm, draw = target.lm, random.Random(self.seed)
        rows = rows_with(lm.template, examples, markers, self.tokens)
        assert rows is not None  # free_tokens has tried them
        ids_K = torch.tensor(markers, device=lm.model.device)
        with torch.enable_grad():
            vectors_KD = lm.model.get_input_embeddings()(ids_K).detach().clone().requires_grad_()
            optimizer = torch.optim.AdamW([vectors_KD], lr=self.lr, weight_decay=0.0)
            (before,) = mean_nlls(lm, [rows])
            with softened(lm.model, markers, vectors_KD):
                for _ in target.progress.over(text, range(self.steps)):
                    self._step(lm.model, optimizer, draw.sample(rows, min(self.batch, len(rows))))
                (after,) = mean_nlls(lm, [rows])
        return vectors_KD.detach(), (before, after)

    @staticmethod
    def _step(model: Any, optimizer: torch.optim.Optimizer, rows: Sequence[Encoded]) -> None:
        batch = make_batch(model, rows)
        optimizer.zero_grad(set_to_none=True)
        answer_nll(scored_logits(model, batch), batch.labels_N).backward()
        optimizer.step()


@contextmanager
def softened(model: Any, markers: Ids, vectors_KD: torch.Tensor) -> Iterator[None]:
    """Inside the block the marker tokens are embedded as these vectors."""
    ids_K = torch.tensor(markers, device=vectors_KD.device)

    def swap(
        _module: Any, args: tuple[torch.Tensor, ...], hidden_BTD: torch.Tensor
    ) -> torch.Tensor:
        where_BTK = (args[0].unsqueeze(-1) == ids_K).to(hidden_BTD.dtype)
        kept_BT1 = 1 - where_BTK.sum(dim=-1, keepdim=True)
        return hidden_BTD * kept_BT1 + where_BTK @ vectors_KD.to(hidden_BTD.dtype)

    hook = model.get_input_embeddings().register_forward_hook(swap)
    try:
        yield
    finally:
        hook.remove()


def free_tokens(template: Template, examples: Sequence[Example], count: int) -> Ids:
    """Different tokens that none of the examples uses, and that stay themselves behind each of
    their prompts.

    Raises:
        ModelError: when the tokenizer has no `count` such tokens.
    """
    used = {t for e in examples for t in (*template.prompt_ids(e), *template.answer_ids(e.answer))}
    free = [token for token in reversed(ordinary_tokens(template)) if token not in used]
    spaced = [token for token in free if _text(template, token).startswith(" ")]
    chosen: Ids = ()
    for token in (*spaced, *free):
        if token not in chosen and _survives(template, examples, (*chosen, token)):
            chosen = (*chosen, token)
        if len(chosen) == count:
            return chosen
    raise ModelError(
        f"soft-prompt: the tokenizer has no {count} free tokens: lower --set soft-prompt.length"
    )


def _text(template: Template, token: int) -> str:
    return str(template.tokenizer.decode([token]))


def _survives(template: Template, examples: Sequence[Example], suffix: Ids) -> bool:
    ids = template.tokenizer(template.tokenizer.decode(list(suffix)), add_special_tokens=False)[
        "input_ids"
    ]
    return tuple(ids) == suffix and rows_with(template, examples, suffix, 1) is not None
