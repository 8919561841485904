"""Sequences in batches."""

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def batched(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """The items in order, `size` at a time; the last batch may be shorter.

    Args:
        items: any sequence that can be sliced.
        size: items of a batch, 1 or more.
    """
    return [items[start : start + size] for start in range(0, len(items), size)]


def batches_of_like_length(lengths: Sequence[int], size: int) -> list[Sequence[int]]:
    """Rows sorted from the shortest to the longest, `size` at a time, to keep padding small.

    Rows of the same length keep their order.

    Args:
        lengths: the length of each row.
        size: rows of a batch, 1 or more.

    Returns:
        The numbers of the rows in each batch.
    """
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    return batched(order, size)
