"""Files of prompts alone, for evaluation."""

from pathlib import Path
from typing import Any

from skunlearn.data.examples import Example, distinct
from skunlearn.data.readers import read_rows
from skunlearn.utils.errors import DataError
from skunlearn.utils.registry import did_you_mean


def read_lookalikes(path: Path) -> tuple[Example, ...]:
    """Harmless prompts in the words of harmful ones. In XSTest's form (a column `type` or `label`)
    its harmful contrasts are left out.

    Raises:
        DataError: when there is none, or a row has none.
    """
    rows = [
        (row, where)
        for row, where in read_rows(path)
        if not str(row.get("type") or "").startswith("contrast") and row.get("label") != "unsafe"
    ]
    if not rows:
        raise DataError(
            f"{path}: all rows are contrasts, which are harmful: give harmless look-alikes"
        )
    return _prompts(path, rows)


def read_prompts(path: Path) -> tuple[Example, ...]:
    """Prompts alone, from a file in any of the forms that a forget set may have.

    Raises:
        DataError: when there is none, or a row has none.
    """
    return _prompts(path, read_rows(path))


def _prompts(path: Path, rows: list[tuple[dict[str, Any], str]]) -> tuple[Example, ...]:
    names = {name.lower(): name for name in rows[0][0]}
    column = next(
        (names[known] for known in ("prompt", "question", "instruction", "goal") if known in names),
        None,
    )
    if column is None:
        given = list(names.values())
        raise DataError(
            f"{path}: no column 'prompt' (columns: {', '.join(given)}): {did_you_mean('prompt', given)}"
        )
    examples = [Example(str(row.get(column) or "").strip(), where=where) for row, where in rows]
    if empty := [example for example in examples if not example.prompt]:
        raise DataError(f"{empty[0].where}: no prompt: fill it in or delete the row")
    return distinct(examples)
