"""JSON files whose rows stand in one value: a list, an object around it, or columns."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from skunlearn.data.text_files import Row, checked_row, open_text, parsed_json, read_jsonl
from skunlearn.utils.errors import DataError


def read_json(path: Path) -> Iterator[tuple[Row, str]]:
    """The rows of a JSON file.

    Read are a list of objects, an object around such a list, one object a line as
    `Dataset.to_json` writes them, and the forms of pandas: columns as objects or lists, rows by
    their index, and "split".

    Raises:
        DataError: when it is not JSON, or holds something else.
    """
    with open_text(path) as file:
        text = file.read()
    try:
        value = parsed_json(text, str(path))
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            yield from read_jsonl(path)
            return
        raise DataError(f"{path}:{error.lineno}: not valid JSON ({error.msg})") from error
    rows = rows_of(value, str(path)) if isinstance(value, dict) else value
    if not isinstance(rows, list):
        raise DataError(f"{path}: expected a list of objects, found {type(value).__name__}")
    for number, row in enumerate(rows, start=1):
        where = f"{path}[{number}]"
        yield checked_row(row, where), where


def rows_of(table: dict[str, Any], file: str) -> list[Any]:
    """The rows of a JSON object.

    Args:
        table: the object.
        file: where it is from, for the error.

    Raises:
        DataError: when it has several lists of rows.
    """
    if isinstance(table.get("columns"), list) and isinstance(table.get("data"), list):
        return [_with_names(table["columns"], cells) for cells in table["data"]]
    lists: dict[str, list[Any]] = {}
    for name, value in table.items():
        if _are_rows(value):
            lists[name] = value
    if lists:
        # One list of objects in it: the rows. Several are the splits of a data set.
        if len(lists) > 1 and "train" not in lists:
            raise DataError(
                f"{file}: has several lists of rows ({', '.join(lists)}): save one of them as a "
                "file of its own"
            )
        return lists.get("train") or next(iter(lists.values()))
    columns = list(table.values())
    if _are_lists(columns):
        return _transposed(table)
    if columns and all(map(_is_filled_object, columns)):
        return _transposed(table) if all(map(_is_number, columns[0])) else columns
    return [table]


def _is_filled_object(value: Any) -> bool:
    return isinstance(value, dict) and bool(value)


def _is_number(key: Any) -> bool:
    return str(key).lstrip("-").isdecimal()


def _are_rows(value: Any) -> bool:
    """Whether a value is a list of objects, none of them a turn of a conversation."""
    if not isinstance(value, list) or not value:
        return False
    return all(map(_is_row, value))


def _is_row(value: Any) -> bool:
    return isinstance(value, dict) and not _is_turn(value)


def _is_turn(value: Any) -> bool:
    return isinstance(value, dict) and bool({"role", "from"} & set(value))


def _are_lists(columns: list[Any]) -> bool:
    """Whether all values are lists of one length, so that they are columns."""
    lengths = set()
    for column in columns:
        if not isinstance(column, list) or any(map(_is_turn, column)):
            return False
        lengths.add(len(column))
    return len(lengths) == 1


def _with_names(names: list[Any], cells: Any) -> Any:
    """A row from its cells; what is no list of cells stays as it is, for the error."""
    if not isinstance(cells, list) or len(cells) != len(names):
        return cells
    return dict(zip(map(str, names), cells, strict=True))


def _transposed(columns: dict[str, Any]) -> list[Row]:
    """Rows from columns, which are lists, or objects with the cells by the number of the row."""
    rows: dict[Any, Row] = {}
    for name, column in columns.items():
        cells = column.items() if isinstance(column, dict) else enumerate(column)
        for number, cell in cells:
            rows.setdefault(number, {})[name] = cell
    return list(rows.values())
