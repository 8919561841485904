"""Items a few at a time."""

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def batched(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """The items in order, `size` at a time; the last batch may be shorter.

    Args:
        items: any sequence that can be sliced.
        size: 1 or more.
    """
    return [items[start : start + size] for start in range(0, len(items), size)]


def batches_of_like_length(lengths: Sequence[int], size: int) -> list[Sequence[int]]:
    """Numbers of the rows from the shortest to the longest, `size` at a time, so that little is padded.

    Rows of one length keep their order.

    Args:
        lengths: of each row.
        size: 1 or more.
    """
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    return batched(order, size)
