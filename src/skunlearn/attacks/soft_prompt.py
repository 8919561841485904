"""Soft prompt: trained vectors in place of the embeddings of a few tokens behind the prompt.

Threat: anyone with the weights and some examples (Schwinn et al., arXiv:2402.09063). What is left
of the knowledge may answer to inputs that no text can produce.

The vectors are the embeddings of marker tokens, which occur in none of the texts; the weights stay
as they are. The control trains as long towards answers of random words, which no model has ever
learnt.
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
from skunlearn.data.chat_template import Template
from skunlearn.data.examples import Example
from skunlearn.methods.losses import answer_nll
from skunlearn.models.forward import make_batch, scored_logits
from skunlearn.utils.errors import ModelError
from skunlearn.utils.hooks import temporary_hooks


@dataclass(frozen=True)
class SoftPrompt(Attack):
    """Options of SoftPrompt.

    Attributes:
        examples: forget examples that the vectors are trained on.
        length: how many vectors.
        tokens: tokens at the start of each answer that training makes likelier.
        steps: optimiser steps.
        batch: rows in a step.
        lr: learning rate of AdamW.
        seed: seed of the rows of each step and of the control's words.
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
        at_least(self.name, 1, examples=self.examples, length=self.length, tokens=self.tokens)
        at_least(self.name, 1, steps=self.steps, batch=self.batch)

    def situations(self, target: Target) -> Situations:
        """Yield each model with the vectors trained on it behind the evaluated prompts."""
        lm = target.lm
        shown = target.forget(self.examples)
        unknown = random_words(shown, self.seed)
        markers = free_tokens(lm.template, [*shown, *unknown, *target.prompts], self.length)
        prompts = [with_suffix(lm.template, example, markers) for example in target.prompts]
        for on in self.on:
            with target.model(on):
                start = time.monotonic()
                vectors_KD, found = self.search(target, shown, markers, "soft prompt")
                seconds = round(time.monotonic() - start, 1)
                _, control = self.search(target, unknown, markers, "soft prompt, control")
                with softened(lm.model, markers, vectors_KD):
                    yield Situation(
                        f"{self.length} vectors",
                        on,
                        one_form_each(prompts),
                        weights="soft prompt",
                        cost=Cost(len(shown), self.steps, seconds=seconds),
                        numbers=reached(found, control),
                    )

    def search(
        self, target: Target, examples: Sequence[Example], markers: Ids, text: str
    ) -> tuple[torch.Tensor, tuple[float, float]]:
        """Train the vectors that make the answers of these examples likeliest.

        Args:
            target: its model is used as it is now.
            examples: prompts with the answers that are aimed at.
            markers: K tokens from `free_tokens`.
            text: a name for the progress report.

        Returns:
            The vectors, (K, D), and the mean NLL of the answers with the first vectors and with the
            last ones, nats per token.
        """
        lm = target.lm
        draw = random.Random(self.seed)
        rows = rows_with(lm.template, examples, markers, self.tokens)
        assert rows is not None  # free_tokens has tried the markers behind these prompts

        ids_K = torch.tensor(markers, device=lm.model.device)
        with torch.enable_grad():
            # The vectors start as the embeddings of the markers.
            vectors_KD = lm.model.get_input_embeddings()(ids_K).detach().clone().requires_grad_()
            optimizer = torch.optim.AdamW([vectors_KD], lr=self.lr, weight_decay=0.0)
            (before,) = mean_nlls(lm, [rows])
            with softened(lm.model, markers, vectors_KD):
                for _ in target.progress.over(text, range(self.steps)):
                    drawn = draw.sample(rows, min(self.batch, len(rows)))
                    batch = make_batch(lm.model, drawn)
                    optimizer.zero_grad(set_to_none=True)
                    loss = answer_nll(scored_logits(lm.model, batch), batch.labels_N)
                    loss.backward()
                    optimizer.step()
                (after,) = mean_nlls(lm, [rows])
        return vectors_KD.detach(), (before, after)


@contextmanager
def softened(model: Any, markers: Ids, vectors_KD: torch.Tensor) -> Iterator[None]:
    """A block inside which the K marker tokens are embedded as these vectors, (K, D)."""
    ids_K = torch.tensor(markers, device=vectors_KD.device)

    def swap(
        _module: Any, args: tuple[torch.Tensor, ...], hidden_BTD: torch.Tensor
    ) -> torch.Tensor:
        # 1 where a token is the k-th marker, so that the product picks the k-th vector.
        is_marker_BTK = (args[0].unsqueeze(-1) == ids_K).to(hidden_BTD.dtype)
        unmarked_BT1 = 1 - is_marker_BTK.sum(dim=-1, keepdim=True)
        return hidden_BTD * unmarked_BT1 + is_marker_BTK @ vectors_KD.to(hidden_BTD.dtype)

    with temporary_hooks([model.get_input_embeddings().register_forward_hook(swap)]):
        yield


def free_tokens(template: Template, examples: Sequence[Example], count: int) -> Ids:
    """Choose tokens that can mark the positions of the vectors.

    Args:
        template: renders the prompts.
        examples: prompts and answers in which none of the tokens may occur.
        count: how many tokens, 1 or more.

    Returns:
        Different tokens that stay themselves, as text, behind each of the prompts.

    Raises:
        ModelError: when the vocabulary has fewer such tokens.
    """
    used: set[int] = set()
    for example in examples:
        used.update(template.prompt_ids(example))
        used.update(template.answer_ids(example.answer))

    # Tokens late in the vocabulary are rare ones. Those that begin with a space are tried first,
    # since they do not merge with the text before them.
    free = []
    spaced = []
    for token in reversed(ordinary_tokens(template)):
        if token in used:
            continue
        free.append(token)
        if str(template.tokenizer.decode([token])).startswith(" "):
            spaced.append(token)

    chosen: Ids = ()
    for token in (*spaced, *free):
        if token not in chosen and _survives(template, examples, (*chosen, token)):
            chosen = (*chosen, token)
        if len(chosen) == count:
            return chosen
    raise ModelError(
        f"soft-prompt: the tokenizer has no {count} free tokens: lower --set soft-prompt.length"
    )


def _survives(template: Template, examples: Sequence[Example], suffix: Ids) -> bool:
    """Whether the suffix, written as text, is tokenised as itself, alone and behind each prompt."""
    text = template.tokenizer.decode(list(suffix))
    ids = template.tokenizer(text, add_special_tokens=False)["input_ids"]
    return tuple(ids) == suffix and rows_with(template, examples, suffix, 1) is not None
