"""GCG: greedy coordinate gradient, one suffix for several prompts, on a budget (Zou et al.,
arXiv:2307.15043).

Threat: anyone with the weights and time; a suffix found once is typed by everybody. Each step takes
    the gradient of the
answers' NLL with respect to the suffix's tokens, swaps one token for one of those it points at,
tries a batch of such swaps and keeps the best if it is better. The control searches as long for
answers that no model ever knew.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from skunlearn.attacks.adversarial_suffix import (
    Ids,
    encoded,
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
from skunlearn.data.chat_template import Encoded
from skunlearn.data.examples import Example
from skunlearn.methods.losses import answer_nll
from skunlearn.models.lm import LM
from skunlearn.utils.errors import ModelError


@dataclass(frozen=True)
class Gcg(Attack):
    """Options of GCG.

    Attributes:
        examples: forget examples that the suffix is found on.
        length: tokens of the suffix.
        tokens: of each answer that are aimed at.
        steps: search steps.
        width: swaps tried in a step.
        top: tokens that the gradient offers for each place.
        seed: of the swaps and of the control's words.
        on: which models are attacked.
    """

    name: ClassVar[str] = "gcg"

    examples: int = 2
    length: int = 12
    tokens: int = 16
    steps: int = 24
    width: int = 24
    top: int = 64
    seed: int = 0
    on: tuple[On, ...] = BOTH

    def __post_init__(self) -> None:
        for option in ("examples", "length", "tokens", "steps", "width", "top"):
            at_least(self.name, 1, **{option: getattr(self, option)})

    def situations(self, target: Target) -> Situations:
        """The suffix found on each model, on that model; and what the control reached."""
        shown = target.forget(self.examples)
        for on in self.on:
            with target.model(on):
                start = time.monotonic()
                suffix, found = self.search(target, shown, "GCG")
                seconds = time.monotonic() - start
                _, control = self.search(target, random_words(shown, self.seed), "GCG, control")
                prompts = [
                    with_suffix(target.lm.template, example, suffix) for example in target.prompts
                ]
                numbers = reached(found, control)
                cost = Cost(len(shown), self.steps, seconds=round(seconds, 1))
                yield Situation(
                    f"one suffix of {self.length} tokens",
                    on,
                    one_form_each(prompts),
                    "",
                    cost,
                    numbers,
                )

    def search(
        self, target: Target, examples: Sequence[Example], text: str
    ) -> tuple[Ids, tuple[float, float]]:
        """The best suffix, and the mean NLL of the answers with the first and with the best one,
        nats a token.

        Raises:
            ModelError: when no suffix survives the way through text.
        """
        lm, draw = target.lm, random.Random(self.seed)
        allowed = ordinary_tokens(lm.template)
        best = tuple(lm.tokenizer(" !" * self.length, add_special_tokens=False)["input_ids"])[
            : self.length
        ]
        rows = rows_with(lm.template, examples, best, self.tokens)
        if rows is None:
            raise ModelError(
                "gcg: this tokenizer does not keep a suffix behind a prompt: leave gcg out with --only"
            )
        (first,) = mean_nlls(lm, [rows])
        loss = first
        for _ in target.progress.over(text, range(self.steps)):
            offers_LK = self._offers(lm, examples, best, allowed)
            swaps: dict[Ids, list[Encoded]] = {}
            for _ in range(self.width):
                at = draw.randrange(len(best))
                swap = (*best[:at], draw.choice(offers_LK[at]), *best[at + 1 :])
                if swap != best and (rows := rows_with(lm.template, examples, swap, self.tokens)):
                    swaps[swap] = rows
            losses = mean_nlls(lm, list(swaps.values()))
            if losses and min(losses) < loss:
                loss, best = min(zip(losses, swaps, strict=True))
        return best, (first, loss)

    def _offers(
        self, lm: LM, examples: Sequence[Example], suffix: Ids, allowed: Sequence[int]
    ) -> list[list[int]]:
        """For each place the tokens that the gradient says would lower the loss most."""
        slope_LV = suffix_gradient(lm, examples, suffix, self.tokens)
        allowed_V = torch.full((slope_LV.shape[1],), float("inf"), device=slope_LV.device)
        allowed_V[list(allowed)] = 0.0
        best_LK = (
            (slope_LV + allowed_V).topk(min(self.top, len(allowed)), dim=1, largest=False).indices
        )
        return best_LK.tolist()


@torch.enable_grad()
def suffix_gradient(lm: LM, examples: Sequence[Example], suffix: Ids, tokens: int) -> torch.Tensor:
    """Gradient of the mean answer NLL with respect to the one-hot of each suffix token, (L, V),
    nats a token."""
    embedding = lm.model.get_input_embeddings()
    total_LD = torch.zeros((), device=lm.model.device)
    for example in examples:
        found = encoded(lm.template, example, suffix, tokens)
        assert found is not None  # only suffixes that survive get here
        row, at = found
        ids_T = torch.tensor(row.prompt_ids + row.answer_ids, device=lm.model.device)
        hidden_1TD = embedding(ids_T[None]).detach().requires_grad_()
        logits_TV = lm.model(inputs_embeds=hidden_1TD, use_cache=False).logits[0]
        first = len(row.prompt_ids)
        loss = answer_nll(logits_TV[first - 1 : -1], ids_T[first:])
        (slope_1TD,) = torch.autograd.grad(loss, hidden_1TD)
        total_LD = total_LD + slope_1TD[0, at : at + len(suffix)]
    return total_LD.float() @ embedding.weight.detach().float().T / len(examples)
