"""The sizes of a run's steps without a tokenizer: a token is taken to be four letters."""

from dataclasses import dataclass
from typing import Any
from zlib import crc32

from skunlearn.data.chat_template import Encoded
from skunlearn.data.dataset import Data
from skunlearn.data.examples import Example
from skunlearn.workflows.config import Run
from skunlearn.workflows.planning.requirements import StepSize, step_sizes

LETTERS_A_TOKEN = 4  # about, in English
# About how many tokens a chat template puts around a prompt, and around each turn before it.
TURN_TOKENS = 24


def estimated_steps(run: Run, model: Any, data: Data) -> list[StepSize]:
    """The sizes of all steps of all vectors.

    Args:
        run: the settings.
        model: with or without weights; it decides how rows are batched.
        data: its training split is used.
    """
    lm = _SkeletonLM(model)
    steps: list[StepSize] = []
    for stage in run.stages(run.make_method()):
        steps += step_sizes(stage, lm, data)
    return steps


class _LetterTemplate:
    """A chat template for which no tokenizer is needed: a token is four letters.

    The rows have about the right lengths, and equal texts have equal tokens, so that beginnings
    that rows share are found.
    """

    def encode(self, example: Example, max_length: int) -> Encoded:
        text = ""
        for _, earlier in example.history:
            text += earlier
        text += example.prompt + example.prefix
        turns = 1 + len(example.history)
        prompt = (0,) * TURN_TOKENS * turns + _tokens(text)
        prompt = prompt[: max_length - 1]
        return Encoded(prompt, self.answer_ids(example.answer)[: max_length - len(prompt)])

    def answer_ids(self, answer: str) -> tuple[int, ...]:
        return (*_tokens(answer), 0)


def _tokens(text: str) -> tuple[int, ...]:
    pieces = range(0, len(text), LETTERS_A_TOKEN)
    return tuple(crc32(text[start : start + LETTERS_A_TOKEN].encode()) for start in pieces)


@dataclass(frozen=True)
class _SkeletonLM:
    """What `step_sizes` reads of an LM, for a model without weights and tokenizer."""

    model: Any
    template: _LetterTemplate = _LetterTemplate()
