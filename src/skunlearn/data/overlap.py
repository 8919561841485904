"""Prompts that are in the forget set and in the retain set."""

from collections.abc import Sequence
from typing import Literal

from skunlearn.data.examples import Example, pair_key
from skunlearn.utils.errors import DataError

OnOverlap = Literal["error", "drop"]


def overlapping(
    forget: Sequence[Example], retain: Sequence[Example], one_source: bool
) -> list[tuple[Example, Example]]:
    """The retain examples that the forget set has, too, each with the one there.

    Args:
        forget: examples of the forget set.
        retain: examples of the retain set.
        one_source: whether one file gives both sets. Its labels say which answers to a prompt are
            forgotten and which are kept, so prompts overlap only where the answers are the same.
    """

    def key(example: Example) -> object:
        return pair_key(example) if one_source else example.key

    forgotten: dict[object, Example] = {}
    for example in forget:
        forgotten[key(example)] = example
    both = []
    for example in retain:
        its_key = key(example)
        if its_key in forgotten:
            both.append((example, forgotten[its_key]))
    return both


def check_overlap(both: Sequence[tuple[Example, Example]], one_source: bool) -> None:
    """Refuses data in which a prompt is to be forgotten and retained.

    Args:
        both: what `overlapping` returned.
        one_source: likewise.
    """
    if not both:
        return
    retained, forgotten = both[0]
    what = "this prompt with this answer" if one_source else "this prompt"
    raise DataError(
        f"{retained.where}: {what} is in the retain set and in the forget set "
        f"({forgotten.where}; {len(both)} such rows): take it out of one of them, or drop such "
        "rows from the retain set with --set data.overlap=drop"
    )
