"""GCG: greedy coordinate gradient, one suffix for several prompts (Zou et al., arXiv:2307.15043).

Threat: anyone with the weights and time; a suffix that was found once can be typed by everybody.

Each search step takes the gradient of the answers' mean NLL with respect to the one-hot vectors of
the suffix tokens. It then tries a batch of suffixes in which one token is swapped for one that the
gradient favours, and keeps the best of them if it lowers the NLL. The control runs the same search
towards answers of random words, which no model has ever learnt.
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
        examples: forget examples on which the suffix is searched.
        length: tokens in the suffix.
        tokens: tokens at the start of each answer that the search makes likelier.
        steps: search steps.
        width: swaps that are tried in a step.
        top: tokens that the gradient proposes for each position of the suffix.
        seed: seed of the swaps and of the control's words.
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
        at_least(self.name, 1, examples=self.examples, length=self.length, tokens=self.tokens)
        at_least(self.name, 1, steps=self.steps, width=self.width, top=self.top)

    def situations(self, target: Target) -> Situations:
        """Yield each model with the suffix found on it behind the evaluated prompts."""
        shown = target.forget(self.examples)
        for on in self.on:
            with target.model(on):
                start = time.monotonic()
                suffix, found = self.search(target, shown, "GCG")
                seconds = round(time.monotonic() - start, 1)

                unknown = random_words(shown, self.seed)
                _, control = self.search(target, unknown, "GCG, control")

                template = target.lm.template
                prompts = [with_suffix(template, example, suffix) for example in target.prompts]
                yield Situation(
                    f"one suffix of {self.length} tokens",
                    on,
                    one_form_each(prompts),
                    cost=Cost(len(shown), self.steps, seconds=seconds),
                    numbers=reached(found, control),
                )

    def search(
        self, target: Target, examples: Sequence[Example], text: str
    ) -> tuple[Ids, tuple[float, float]]:
        """Search the suffix that makes the answers of these examples likeliest.

        Args:
            target: its model is used as it is now.
            examples: prompts with the answers that are aimed at.
            text: a name for the progress report.

        Returns:
            The best suffix, and the mean NLL of the answers with the first suffix and with the best
            one, nats per token.

        Raises:
            ModelError: when the first suffix is tokenised otherwise behind a prompt.
        """
        lm = target.lm
        draw = random.Random(self.seed)
        allowed = ordinary_tokens(lm.template)

        # The search starts from exclamation marks, as in the paper.
        ids = lm.tokenizer(" !" * self.length, add_special_tokens=False)["input_ids"]
        best: Ids = tuple(ids)[: self.length]
        rows = rows_with(lm.template, examples, best, self.tokens)
        if rows is None:
            raise ModelError(
                "gcg: this tokenizer does not keep a suffix behind a prompt: "
                "leave gcg out with --only"
            )
        (first_loss,) = mean_nlls(lm, [rows])
        best_loss = first_loss

        for _ in target.progress.over(text, range(self.steps)):
            proposals = self._proposals(lm, examples, best, allowed)
            tried: dict[Ids, list[Encoded]] = {}
            for _ in range(self.width):
                position = draw.randrange(len(best))
                token = draw.choice(proposals[position])
                suffix = (*best[:position], token, *best[position + 1 :])
                if suffix == best:
                    continue
                rows = rows_with(lm.template, examples, suffix, self.tokens)
                if rows:
                    tried[suffix] = rows

            losses = mean_nlls(lm, list(tried.values()))
            if losses and min(losses) < best_loss:
                best_loss, best = min(zip(losses, tried, strict=True))
        return best, (first_loss, best_loss)

    def _proposals(
        self, lm: LM, examples: Sequence[Example], suffix: Ids, allowed: Sequence[int]
    ) -> list[list[int]]:
        """For each position of the suffix the allowed tokens with the lowest gradient.

        To first order these lower the loss most when they are put there.
        """
        gradient_LV = suffix_gradient(lm, examples, suffix, self.tokens)
        penalty_V = torch.full((gradient_LV.shape[1],), float("inf"), device=gradient_LV.device)
        penalty_V[list(allowed)] = 0.0
        count = min(self.top, len(allowed))
        proposals_LK = (gradient_LV + penalty_V).topk(count, dim=1, largest=False).indices
        return proposals_LK.tolist()


@torch.enable_grad()
def suffix_gradient(lm: LM, examples: Sequence[Example], suffix: Ids, tokens: int) -> torch.Tensor:
    """Gradient of the answers' mean NLL with respect to the one-hot vectors of the suffix tokens.

    Args:
        lm: the model.
        examples: prompts with their answers, over which the mean is taken.
        suffix: L token ids, which stay the same behind each of the prompts.
        tokens: how many tokens of each answer are scored.

    Returns:
        The gradient, (L, V), in nats per token.
    """
    embedding = lm.model.get_input_embeddings()
    total_LD = torch.zeros((), device=lm.model.device)
    for example in examples:
        found = encoded(lm.template, example, suffix, tokens)
        assert found is not None  # the search only keeps suffixes that can be encoded
        row, start = found
        ids_T = torch.tensor(row.prompt_ids + row.answer_ids, device=lm.model.device)
        embedded_1TD = embedding(ids_T[None]).detach().requires_grad_()
        logits_TV = lm.model(inputs_embeds=embedded_1TD, use_cache=False).logits[0]
        # The logits at one position predict the token at the next one.
        first = len(row.prompt_ids)
        loss = answer_nll(logits_TV[first - 1 : -1], ids_T[first:])
        (gradient_1TD,) = torch.autograd.grad(loss, embedded_1TD)
        total_LD = total_LD + gradient_1TD[0, start : start + len(suffix)]
    # Chain rule: an embedding is the one-hot vector times the embedding matrix.
    return total_LD.float() @ embedding.weight.detach().float().T / len(examples)
