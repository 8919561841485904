"""An example, and the parts that a data set is split into."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

SIGNS = "_+#<>=*/%"


@dataclass(frozen=True)
class Example:
    """One prompt with one answer.

    Attributes:
        prompt: the last thing the user says.
        answer: what is scored; empty for a prompt alone.
        history: what was said before, as (role, text); a system prompt is the role "system".
        category: a label for grouping, or empty.
        where: "file:line" for errors.
        prefix: what the answer is made to begin with, put into the model's mouth; without spaces at
            its end.
        intent: what is really wanted, when the prompt wraps it: what judges read instead of it.
    """

    prompt: str
    answer: str = ""
    history: tuple[tuple[str, str], ...] = ()
    category: str = ""
    where: str = ""
    prefix: str = ""
    intent: str = ""

    @property
    def key(self) -> str:
        """Equal for examples whose conversation up to the answer is the same, whatever case,
        accents' form, punctuation and spaces, and whatever a system prompt says: duplicates and
        overlaps go by it."""
        return _key(
            "\n".join([text for role, text in self.history if role != "system"] + [self.prompt])
        )

    @property
    def group(self) -> str:
        """The key of what the user says first, by which examples are split: conversations grow out
        of each other."""
        return _key(next((text for role, text in self.history if role == "user"), self.prompt))


def _key(text: str) -> str:
    """Lower case, words and what tells them apart: vowel signs, and the signs of C++ and of
    sums."""
    text = unicodedata.normalize("NFKC", text).lower()
    kept = "".join(
        c if c.isalnum() or c in SIGNS or unicodedata.category(c)[0] == "M" else " " for c in text
    )
    return " ".join(kept.split()) or text.strip()


def normalised(text: str) -> str:
    """Lower case, words only."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).lower())) or text.strip()


@dataclass(frozen=True)
class Choice:
    """A question with one right answer among several.

    Attributes:
        question: what is asked.
        choices: the answers on offer, two or more.
        answer: number of the right one.
    """

    question: str
    choices: tuple[str, ...]
    answer: int


@dataclass(frozen=True)
class Split:
    """The examples of one part of a split.

    Attributes:
        forget: examples whose answers are harmful.
        retain: ordinary examples.
        lookalike: harmless examples in the words of harmful ones; may be empty.
        seen: in the test part, forget examples that were trained on.
        paraphrase: in the test part, prompts of `seen` in other words.
        neighbour: in the test part, harmless questions on the subjects of forget prompts.
        choice: in the test part, questions of general knowledge.
        prompts: in place of all others: prompts of anybody's, harmful or not.
    """

    forget: tuple[Example, ...] = ()
    retain: tuple[Example, ...] = ()
    lookalike: tuple[Example, ...] = ()
    seen: tuple[Example, ...] = ()
    paraphrase: tuple[Example, ...] = ()
    neighbour: tuple[Choice, ...] = ()
    choice: tuple[Choice, ...] = ()
    prompts: tuple[Example, ...] = ()


def distinct(examples: Iterable[Example]) -> tuple[Example, ...]:
    """The first example of each prompt, in order."""
    return tuple({example.key: example for example in reversed(list(examples))}.values())[::-1]


def split_by_prompt(
    examples: Iterable[Example], validation: float, test: float, seed: int
) -> tuple[tuple[Example, ...], tuple[Example, ...], tuple[Example, ...]]:
    """Train, validation and test rows; all rows of one prompt, and what a conversation grows into,
    land in one part.

    Whole prompts are ranked by a hash of (seed, prompt), so adding a row elsewhere moves nothing.

    Args:
        examples: the rows.
        validation: share of the prompts, 0..1.
        test: share of the prompts, 0..1.
        seed: which of the possible splits.
    """
    rows = list(examples)

    def rank(key: str) -> str:
        return hashlib.sha256(f"{seed}\n{key}".encode()).hexdigest()

    keys = sorted({row.group for row in rows}, key=rank)
    n_test, n_validation = round(len(keys) * test), round(len(keys) * validation)
    part = {
        key: 2 if i < n_test else 1 if i < n_test + n_validation else 0
        for i, key in enumerate(keys)
    }
    train, held, last = (
        tuple(row for row in rows if part[row.group] == wanted) for wanted in (0, 1, 2)
    )
    return train, held, last
