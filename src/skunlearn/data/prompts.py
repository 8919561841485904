"""Files of prompts alone, for evaluation."""

from collections.abc import Sequence
from pathlib import Path

from skunlearn.data.columns import column_names, find_prompt, read_prompt
from skunlearn.data.examples import Example, distinct
from skunlearn.data.readers import Row, read_rows
from skunlearn.utils.errors import DataError
from skunlearn.utils.registry import did_you_mean


def read_prompts(path: Path) -> tuple[Example, ...]:
    """The distinct prompts of a file, in any of the columns that a forget set may have.

    Of a conversation, the last thing that the user says is the prompt, and what was said before it
    is its history.

    Raises:
        DataError: when there is no column of prompts, or a row has no prompt.
    """
    return _prompts(path, read_rows(path))


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
    return _prompts(path, harmless)


def _prompts(path: Path, rows: Sequence[tuple[Row, str]]) -> tuple[Example, ...]:
    names = column_names(rows)
    columns = find_prompt(names)
    if columns is None:
        raise DataError(
            f"{path}: no column 'prompt' (columns: {', '.join(names)}): "
            f"{did_you_mean('prompt', names)}"
        )
    examples = []
    for row, where in rows:
        example = read_prompt(row, where, columns)
        if not example.prompt:
            raise DataError(f"{where}: no prompt: fill it in or delete the row")
        examples.append(example)
    return distinct(examples)
