"""Sequences in batches."""

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")

# A full batch of 128 rows of 512 tokens each, which ordinary prompts never reach.
MOST_TOKENS = 128 * 512


def batched(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """The items in order, `size` at a time; the last batch may be shorter.

    Args:
        items: any sequence that can be sliced.
        size: items of a batch, 1 or more.
    """
    return [items[start : start + size] for start in range(0, len(items), size)]


def batches_of_like_length(
    lengths: Sequence[int], size: int, most: int = MOST_TOKENS
) -> list[Sequence[int]]:
    """Rows sorted from the shortest to the longest, `size` at a time, to keep padding small.

    Rows of the same length keep their order. A batch that would be too large when all its rows are
    padded to the longest is divided: a very long row is then in a batch of its own.

    Args:
        lengths: the length of each row.
        size: rows of a batch, 1 or more.
        most: tokens of a batch with its padding.

    Returns:
        The numbers of the rows in each batch.
    """
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    batches: list[Sequence[int]] = []
    for batch in batched(order, size):
        batches += divided(batch, lengths, most)
    return batches


def divided(
    batch: Sequence[int], lengths: Sequence[int], most: int = MOST_TOKENS
) -> list[list[int]]:
    """A batch in parts of at most `most` tokens with padding; one row alone may have more.

    Args:
        batch: numbers of rows, from the shortest to the longest.
        lengths: the length of each row.
        most: tokens of a part.
    """
    parts: list[list[int]] = [[]]
    for row in batch:
        tokens = lengths[row] * (len(parts[-1]) + 1)
        if parts[-1] and tokens > most:
            parts.append([])
        parts[-1].append(row)
    return parts
