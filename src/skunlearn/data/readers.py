"""Rows out of a file or a hub data set, each with the place it came from."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from skunlearn.utils.errors import DataError

Row = dict[str, Any]
SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")


def read_rows(path: Path) -> list[tuple[Row, str]]:
    """All rows of a JSONL, JSON, CSV, TSV or Parquet file as (row, "file:line").

    Raises:
        DataError: when it is missing, empty, or not what its suffix says.
    """
    if not path.is_file():
        raise DataError(
            f"{path}: no such file: give a {'/'.join(SUFFIXES)} file, a named source or a hub data set id"
        )
    readers = {
        ".json": _json,
        ".csv": _csv,
        ".tsv": _csv,
        ".parquet": _parquet,
        ".jsonl": _jsonl,
        ".ndjson": _jsonl,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"{path}: unknown kind of file '{path.suffix}': convert it to one of {', '.join(SUFFIXES)}"
        )
    try:
        rows = list(reader(path))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 text ({error.reason} at byte {error.start}): save it as UTF-8"
        ) from error
    if not rows:
        raise DataError(
            f"{path}: the file has no rows: give a file with at least one prompt and answer"
        )
    return rows


def read_hub(name: str, config: str | None, split: str) -> list[tuple[Row, str]]:
    """All rows of one split of a hub data set.

    Raises:
        DataError: when the hub cannot be reached or has no such data set.
    """
    import datasets

    datasets.disable_progress_bars()
    try:
        table = datasets.load_dataset(name, config, split=split)
    except Exception as error:  # the hub client raises a dozen kinds, none of them ours to mend
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise DataError(
            f"data set '{name}' cannot be loaded from the hub ({reason}): "
            "download it elsewhere and pass the local file instead (--forget FILE or --retain FILE)"
        ) from error
    return [(dict(row), f"{name}:{number}") for number, row in enumerate(table, start=1)]


def _object(value: Any, where: str) -> Row:
    if not isinstance(value, dict):
        raise DataError(
            f"{where}: expected an object with named fields, found {type(value).__name__}"
        )
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (
        UnicodeEncodeError
    ) as error:  # "\ud83d" alone: JSON may say it, no tokenizer and no file can hold it
        raise DataError(
            f"{where}: half of a character ({error.object[error.start]!r}): mend or delete the row"
        ) from error
    return value


def _jsonl(path: Path) -> Iterator[tuple[Row, str]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                where = f"{path}:{number}"
                try:
                    yield _object(json.loads(line), where), where
                except json.JSONDecodeError as error:
                    raise DataError(
                        f"{where}: not valid JSON ({error.msg}): one object a line is expected"
                    ) from error


def _json(path: Path) -> Iterator[tuple[Row, str]]:
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not valid JSON ({error.msg})") from error
    if isinstance(value, dict):  # {"data": [...]}, the one list in a wrapper
        lists = [v for v in value.values() if isinstance(v, list)]
        value = lists[0] if len(lists) == 1 else [value]
    if not isinstance(value, list):
        raise DataError(f"{path}: expected a list of objects, found {type(value).__name__}")
    for number, row in enumerate(value, start=1):
        yield _object(row, f"{path}[{number}]"), f"{path}[{number}]"


def _csv(path: Path) -> Iterator[tuple[Row, str]]:
    csv.field_size_limit(2**31 - 1)  # a long answer is one cell
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(
            file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True
        )
        try:
            for row in reader:
                where = f"{path}:{reader.line_num}"
                if None in row:
                    raise DataError(
                        f"{where}: more cells than the header has columns: quote cells with commas"
                    )
                yield dict(row), where
        except csv.Error as error:
            raise DataError(f"{path}:{reader.line_num}: not valid CSV ({error})") from error


def _parquet(path: Path) -> Iterator[tuple[Row, str]]:
    import pyarrow
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except pyarrow.ArrowException as error:
        raise DataError(f"{path}: not a readable Parquet file ({error})") from error
    for number, row in enumerate(rows, start=1):
        yield row, f"{path}[{number}]"
