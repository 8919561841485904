"""Rows that are in memory: lists, tables of pandas and others, and data sets of the hub's library.

They are recognised by what they can do, so none of these libraries is imported here.
"""

from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any

from skunlearn.data.examples import Example
from skunlearn.data.folders import dataset_rows
from skunlearn.data.json_tables import rows_of
from skunlearn.data.text_files import Row, Rows, checked_row
from skunlearn.utils.errors import DataError

# What may be given as a data set: a path, a named source or a hub id, or rows in memory.
Given = str | PathLike[str] | Iterable[Any]


def is_in_memory(given: Any) -> bool:
    """Whether a data set is given as rows rather than by a name or path."""
    return not isinstance(given, str | PathLike)


def rows_in_memory(given: Any, name: str) -> Rows:
    """The rows of a data set that is in memory, as (row, "name[number]").

    Args:
        given: a list of objects, of (prompt, answer), of prompts, of conversations or of
            `Example`; columns as lists; a table of pandas, polars or pyarrow; a
            `datasets.Dataset`.
        name: what it is called in errors.

    Raises:
        DataError: when it is none of these, or has no rows.
    """
    library = type(given).__module__.partition(".")[0]
    if library == "datasets":
        return dataset_rows(given, name)
    rows: Rows = []
    for number, item in enumerate(_items(given, name), start=1):
        where = f"{name}[{number}]"
        rows.append((checked_row(_row(item, where), where), where))
    if not rows:
        raise DataError(f"{name}: there are no rows: give at least one prompt and answer")
    return rows


def _items(given: Any, name: str) -> Iterable[Any]:
    """What each row is made from, whatever holds it."""
    if hasattr(given, "columns") and hasattr(given, "iterrows"):  # pandas
        return list(given.to_dict("records"))
    for method in ("to_dicts", "to_pylist"):  # polars and pyarrow
        if hasattr(given, method):
            return list(getattr(given, method)())
    if isinstance(given, Mapping):
        return rows_of(_plain(given), name)
    if isinstance(given, bytes) or not isinstance(given, Iterable):
        raise DataError(
            f"{name}: an object of type {type(given).__name__} holds no rows: give a file, a list "
            "of objects with prompt and answer, a table of pandas or a datasets.Dataset"
        )
    return given


def _row(item: Any, where: str) -> Row:
    """A row from one item of a list."""
    if isinstance(item, Example):
        turns = [*item.history, ("user", item.prompt)]
        if item.answer:
            turns.append(("assistant", item.answer))
        messages = [{"role": role, "content": text} for role, text in turns]
        return {"messages": messages}
    item = _plain(item)
    if isinstance(item, dict):
        return item
    if isinstance(item, str):
        return {"prompt": item}
    if isinstance(item, list) and len(item) == 2 and isinstance(item[0], str):
        return {"prompt": item[0], "answer": item[1]}
    if isinstance(item, list) and item and isinstance(item[0], dict):
        return {"messages": item}
    raise DataError(
        f"{where}: expected an object with named fields or (prompt, answer), found "
        f"{type(item).__name__}"
    )


def _plain(value: Any) -> Any:
    """A value as JSON has it: arrays become lists, and missing values None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_plain, value))
    return None if type(value).__name__ in ("NAType", "NaTType") else value
