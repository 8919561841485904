"""The forget and the retain set, and how both are split by prompt."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from skunlearn.data.builtin_sets import PARTS
from skunlearn.data.examples import Example, in_parts, parts_of_groups, split_by_prompt
from skunlearn.data.pairs import Side as SideName
from skunlearn.utils.errors import DataError

FEWEST_PROMPTS = 10

# The examples of one set in its parts: train, validation and test.
Parts = Sequence[tuple[Example, ...]]
Shares = tuple[float, float, int]  # of validation and test, and the seed of the split


@dataclass(frozen=True)
class Side:
    """The forget or the retain set before it is split.

    Attributes:
        side: which of them.
        given: what the user gave, for errors.
        examples: all examples.
        parts: the fixed parts of a built-in set; empty for the user's data.
    """

    side: SideName
    given: str
    examples: tuple[Example, ...]
    parts: Parts = ()

    def without(self, unwanted: Iterable[Example]) -> "Side":
        """The set without some of its examples."""
        numbers = set(map(id, unwanted))

        def is_wanted(example: Example) -> bool:
            return id(example) not in numbers

        def left(examples: Sequence[Example]) -> tuple[Example, ...]:
            return tuple(filter(is_wanted, examples))

        parts = tuple(map(left, self.parts))
        return replace(self, examples=left(self.examples), parts=parts)


def split_sides(forget: Side, retain: Side, shares: Shares) -> tuple[Parts, Parts]:
    """Both sets in their parts. A prompt that is in both of them is in one part only.

    Args:
        forget: the forget set.
        retain: the retain set.
        shares: of validation and test, and the seed.

    Raises:
        DataError: when a set has too few prompts.
    """
    prompts = set(_keys(forget.examples)) & set(_keys(retain.examples))
    if prompts and not forget.parts and not retain.parts:
        groups = [example.group for example in (*forget.examples, *retain.examples)]
        part_of = parts_of_groups(groups, *shares)
        forget_parts: Parts = in_parts(forget.examples, part_of)
        retain_parts: Parts = in_parts(retain.examples, part_of)
    else:
        forget_parts = forget.parts or split_by_prompt(forget.examples, *shares)
        retain_parts = retain.parts or split_by_prompt(retain.examples, *shares)
    for side, parts in ((forget, forget_parts), (retain, retain_parts)):
        if not side.parts:
            _check_parts(side, parts)
    return forget_parts, retain_parts


def _keys(examples: Iterable[Example]) -> Iterable[str]:
    for example in examples:
        yield example.key


def _check_parts(side: Side, parts: Parts) -> None:
    """Refuses a set with too few prompts, or with none in one of its parts."""
    prompts = len({example.group for example in side.examples})
    if prompts < FEWEST_PROMPTS:
        raise DataError(
            f"{side.given}: {prompts} distinct prompts are left for the {side.side} set: "
            f"give {FEWEST_PROMPTS} or more, "
            "since whole prompts are split into train, validation and test"
        )
    for name, part in zip(PARTS, parts, strict=True):
        if not part:
            raise DataError(
                f"{side.given}: of {prompts} prompts none is left for the {name} part: "
                "give it a larger share"
            )
