"""Contexts: wordings, system prompts and earlier turns that a prompt can be put into.

An edit that was trained on bare prompts alone may hold for bare prompts alone. Training therefore
sees each prompt in several contexts, and the evaluation has wordings of its own that training never
sees. Both lists are built in (`data/builtin/contexts.jsonl`) and have no context in common.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from skunlearn.data.builtin_sets import builtin_rows
from skunlearn.data.examples import Example

Change = Literal["", "upper", "typos"]
LONG_WORD = 5  # letters that a word needs to get a typing error


@dataclass(frozen=True)
class Context:
    """What surrounds a prompt.

    Attributes:
        name: of the context, in tables and results.
        template: the text of the turn, with `{prompt}` where the prompt goes.
        history: the turns before it, as (role, text).
        change: "upper" writes the prompt in capitals, "typos" swaps two letters of long words.
    """

    name: str
    template: str = "{prompt}"
    history: tuple[tuple[str, str], ...] = ()
    change: Change = ""

    def around(self, example: Example) -> Example:
        """The example in this context. Judges still read its bare prompt, as its intent.

        An example that has a system prompt or turns of its own keeps them, without further ones.
        """
        return replace(
            example,
            prompt=self.template.replace("{prompt}", _changed(example.prompt, self.change)),
            history=example.history or self.history,
            intent=example.intent or example.prompt,
        )


def _changed(prompt: str, change: Change) -> str:
    """The prompt in capitals, with typing errors, or as it is."""
    match change:
        case "upper":
            return prompt.upper()
        case "typos":
            return " ".join(_with_typo(word) for word in prompt.split(" "))
        case _:
            return prompt


def _with_typo(word: str) -> str:
    """The word with its third and fourth letter swapped, if it is long enough."""
    if len(word) < LONG_WORD:
        return word
    return word[:2] + word[3] + word[2] + word[4:]


@cache
def training_contexts() -> tuple[Context, ...]:
    """The contexts that training may use."""
    return _contexts("train")


@cache
def wordings() -> tuple[Context, ...]:
    """The contexts of the evaluation, which no training sees."""
    return _contexts("test")


def _contexts(part: str) -> tuple[Context, ...]:
    contexts: list[Context] = []
    for row in builtin_rows("contexts"):
        if row["part"] == part:
            turns = [(role, text) for role, text in row["history"]]
            contexts.append(
                Context(row["name"], row["template"], tuple(turns), row.get("change", ""))
            )
    return tuple(contexts)


def in_contexts(examples: Sequence[Example], share: float, seed: str) -> tuple[Example, ...]:
    """The examples in their order, a share of them in contexts of the training.

    Args:
        examples: the examples.
        share: the probability of an example to be put into a context, 0..1.
        seed: chooses which, and the contexts.
    """
    rows: list[Example] = []
    for example in examples:
        draw = random.Random(f"{seed}/{example.key}/{example.answer}")
        inside = draw.random() < share
        rows.append(draw.choice(training_contexts()).around(example) if inside else example)
    return tuple(rows)
