"""Values of single cells: texts and lists of texts."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from skunlearn.utils.errors import DataError


def read_text(value: Any, where: str, field: str) -> str:
    """The text of a cell without spaces at its ends; an empty cell is an empty text.

    Args:
        value: the cell.
        where: "file:line", for the error.
        field: what the cell holds ("prompt", "answer"), for the error.

    Raises:
        DataError: when the value is neither text nor a number.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int | float) and not isinstance(value, bool):
        # NaN is how some programs write an empty cell, and the only number unequal to itself.
        is_nan = value != value
        return "" if is_nan else str(value)
    raise DataError(
        f"{where}: the {field} is {type(value).__name__}, not text: give a text there, or turns "
        "with role and content"
    )


def read_text_list(cell: str) -> list[str] | None:
    """The texts of a cell that holds a JSON list of texts; None for any other cell."""
    if not cell.lstrip().startswith("["):
        return None
    try:
        items = json.loads(cell)
    except (ValueError, RecursionError):
        return None
    if items and all(isinstance(item, str) for item in items):
        return list(items)
    return None


def mostly(values: Iterable[Any], is_one: Callable[[Any], bool]) -> bool:
    """Whether most cells that are not empty are of one kind.

    Args:
        values: the cells of a column.
        is_one: whether a cell is of that kind.
    """
    filled = 0
    found = 0
    for value in values:
        if value is not None and value != "":
            filled += 1
            found += is_one(value)
    return found > filled / 2
