"""An example, and the parts that a data set is split into."""

import hashlib
import re
import unicodedata
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

# Signs that tell two prompts apart: those of C++ and C#, and of sums.
SIGNS = "_+#<>=*/%"


@dataclass(frozen=True)
class Example:
    """One prompt with one answer.

    Attributes:
        prompt: the last thing the user says.
        answer: the text that is scored; empty for a prompt alone.
        history: what was said before, as (role, text); a system prompt has the role "system".
        category: a label for grouping, or empty.
        where: "file:line" for errors.
        prefix: text that the answer is made to begin with, written into the assistant's turn;
            without spaces at its end.
        intent: what the user is really after, where the prompt wraps it (a jailbreak): judges read
            it instead of the prompt.
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
        """A text that is equal for examples with the same conversation up to the answer.

        Case, the form of accents, punctuation, spaces and system prompts make no difference.
        Duplicates and overlaps between sets are found by it.
        """
        said = [text for role, text in self.history if role != "system"]
        return _key("\n".join([*said, self.prompt]))

    @property
    def group(self) -> str:
        """The key of what the user says first. Examples are split by it.

        A conversation and a longer one that grew out of it are in one group.
        """
        for role, text in self.history:
            if role == "user":
                return _key(text)
        return _key(self.prompt)


def _key(text: str) -> str:
    """Lower case, without spaces and punctuation that do not tell prompts apart."""
    lowered = unicodedata.normalize("NFKC", text).lower()
    words = lowered.translate(_KEY_CHARACTERS)
    return " ".join(words.split()) or lowered.strip()


class _KeyCharacters(dict[int, str]):
    """What `_key` makes of each character; filled as characters are met."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        self[code] = character if _tells_apart(character) else " "
        return self[code]


_KEY_CHARACTERS = _KeyCharacters()


def _tells_apart(character: str) -> bool:
    # Category M has the vowel signs of Indic scripts, which are neither letters nor digits.
    return (
        character.isalnum() or character in SIGNS or unicodedata.category(character).startswith("M")
    )


def normalised(text: str) -> str:
    """The words of a text in lower case, one space apart; a text without words as it stands."""
    words = re.findall(r"\w+", unicodedata.normalize("NFKC", text).lower())
    return " ".join(words) or text.strip()


@dataclass(frozen=True)
class Choice:
    """A question with one right answer among several.

    Attributes:
        question: the question.
        choices: the answers on offer, two or more.
        answer: number of the right one, from 0.
    """

    question: str
    choices: tuple[str, ...]
    answer: int


@dataclass(frozen=True)
class Split:
    """The examples of one part of a split: train, validation or test.

    Attributes:
        forget: examples whose answers are harmful.
        retain: ordinary examples.
        lookalike: harmless examples that are worded like harmful ones; may be empty.
        seen: in the test part, forget examples of the training part.
        paraphrase: in the test part, prompts of `seen` in other words.
        neighbour: in the test part, harmless questions on the subjects of forget prompts.
        choice: in the test part, questions of general knowledge.
        prompts: in place of all others, prompts of a file, harmful or not.
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
    """One example of each prompt: the first one, in the order in which the prompts occur last."""
    return _first_of_each((example.key, example) for example in examples)


def distinct_pairs(examples: Iterable[Example]) -> tuple[Example, ...]:
    """One example of each prompt and answer, likewise."""
    return _first_of_each((pair_key(example), example) for example in examples)


def pair_key(example: Example) -> tuple[str, str]:
    """What is equal for examples with the same prompt (`Example.key`) and the same answer."""
    return example.key, normalised(example.answer)


def _first_of_each(keyed: Iterable[tuple[Hashable, Example]]) -> tuple[Example, ...]:
    """The first example of each key, in the order in which the keys occur last."""
    # Walked from the end, a key takes its position at its last example and is left with its first.
    first: dict[Hashable, Example] = {}
    for key, example in reversed(list(keyed)):
        first[key] = example
    return tuple(first.values())[::-1]


def split_by_prompt(
    examples: Iterable[Example], validation: float, test: float, seed: int
) -> tuple[tuple[Example, ...], tuple[Example, ...], tuple[Example, ...]]:
    """Splits examples by prompt: all of one group (`Example.group`) are in one part.

    Groups are ranked by a hash of (seed, group), so a new row moves few others.

    Args:
        examples: the rows.
        validation: share of the groups, 0..1.
        test: share of the groups, 0..1.
        seed: which of the possible splits.

    Returns:
        The train, validation and test examples, each in the given order.
    """
    rows = list(examples)
    part_of = parts_of_groups([row.group for row in rows], validation, test, seed)
    return in_parts(rows, part_of)


def parts_of_groups(
    groups: Iterable[str], validation: float, test: float, seed: int
) -> dict[str, int]:
    """The part of each group: 0 for train, 1 for validation, 2 for test.

    Args:
        groups: `Example.group` of all examples.
        validation: share of the groups, 0..1.
        test: share of the groups, 0..1.
        seed: which of the possible splits.
    """

    def rank(group: str) -> str:
        return hashlib.sha256(f"{seed}\n{group}".encode()).hexdigest()

    # The lowest ranks are the test part, the next ones the validation part.
    ranked = sorted(set(groups), key=rank)
    n_test = round(len(ranked) * test)
    n_validation = round(len(ranked) * validation)
    part_of = dict.fromkeys(ranked, 0)
    part_of.update(dict.fromkeys(ranked[:n_test], 2))
    part_of.update(dict.fromkeys(ranked[n_test : n_test + n_validation], 1))
    return part_of


def in_parts(
    examples: Iterable[Example], part_of: Mapping[str, int]
) -> tuple[tuple[Example, ...], tuple[Example, ...], tuple[Example, ...]]:
    """The train, validation and test examples, each in the given order.

    Args:
        examples: the rows.
        part_of: what `parts_of_groups` returned for their groups.
    """
    parts: tuple[list[Example], list[Example], list[Example]] = ([], [], [])
    for example in examples:
        parts[part_of[example.group]].append(example)
    train, validation, test = parts
    return tuple(train), tuple(validation), tuple(test)
