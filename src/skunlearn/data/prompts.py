"""Prompts alone, for evaluation."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from skunlearn.data.columns import column_names, find_prompt, read_prompt
from skunlearn.data.examples import Example, distinct
from skunlearn.data.memory import Given, rows_in_memory
from skunlearn.data.readers import read_rows
from skunlearn.data.text_files import Row
from skunlearn.utils.errors import DataError
from skunlearn.utils.registry import did_you_mean


def read_prompts(given: Given, column: str | None = None) -> tuple[Example, ...]:
    """The distinct prompts of a file, in any of the columns that a forget set may have.

    Of a conversation, the last thing that the user says is the prompt, and what was said before it
    is its history.

    Args:
        given: a file or folder, or rows in memory: a list of texts, of objects or of conversations,
            a table of pandas, a `datasets.Dataset`.
        column: the column of the prompt; recognised by its name when not given.

    Raises:
        DataError: when there is no column of prompts, or a row has no prompt.
    """
    if isinstance(given, str | PathLike):
        return _prompts(str(given), read_rows(Path(given)), column)
    name = "the given prompts"
    return _prompts(name, rows_in_memory(given, name), column)


def read_lookalikes(path: Path) -> tuple[Example, ...]:
    """The distinct harmless prompts of a file that are worded like harmful ones.

    In XSTest's form (a column `type` or `label`) its harmful contrasts are left out.

    Raises:
        DataError: when all rows are contrasts, there is no column of prompts, or a row has no
            prompt.
    """
    harmless = []
    for row, where in read_rows(path):
        is_contrast = str(row.get("type") or "").startswith("contrast")
        if not is_contrast and row.get("label") != "unsafe":
            harmless.append((row, where))
    if not harmless:
        raise DataError(
            f"{path}: all rows are contrasts, which are harmful: give harmless look-alikes"
        )
    return _prompts(str(path), harmless)


def _prompts(
    file: str, rows: Sequence[tuple[Row, str]], column: str | None = None
) -> tuple[Example, ...]:
    names = column_names(rows)
    if column is not None and column not in names:
        raise DataError(
            f"{file}: no column '{column}' (data.forget.prompt): {did_you_mean(column, names)}"
        )
    columns = find_prompt(names, rows, column)
    if columns is None:
        raise DataError(
            f"{file}: no column 'prompt' (columns: {', '.join(names)}): "
            f"{did_you_mean('prompt', names)}"
        )
    examples = []
    for row, where in rows:
        example = read_prompt(row, where, columns)
        if not example.prompt:
            raise DataError(f"{where}: no prompt: fill it in or delete the row")
        examples.append(example)
    return distinct(examples)
