"""Reads rows from a file or a hub data set, each with its "file:line"."""

import csv
import json
from collections.abc import Callable, Iterator
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
            f"{path}: no such file: give a {'/'.join(SUFFIXES)} file, "
            "a named source or a hub data set id"
        )
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        kinds = ", ".join(SUFFIXES)
        raise DataError(
            f"{path}: unknown kind of file '{path.suffix}': convert it to one of {kinds}"
        )
    try:
        rows = list(_reader(suffix)(path))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 text ({error.reason} at byte {error.start}): save it as UTF-8"
        ) from error
    if not rows:
        raise DataError(
            f"{path}: the file has no rows: give a file with at least one prompt and answer"
        )
    return rows


def _reader(suffix: str) -> Callable[[Path], Iterator[tuple[Row, str]]]:
    """The function that reads files of a kind, one of `SUFFIXES`."""
    match suffix:
        case ".json":
            return _read_json
        case ".csv" | ".tsv":
            return _read_csv
        case ".parquet":
            return _read_parquet
        case _:
            return _read_jsonl


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
        lines = str(error).splitlines() or [type(error).__name__]
        raise DataError(
            f"data set '{name}' cannot be loaded from the hub ({lines[0][:120]}): "
            "download it elsewhere and pass the local file instead (--forget FILE or --retain FILE)"
        ) from error
    return [(dict(row), f"{name}:{number}") for number, row in enumerate(table, start=1)]


def _checked_object(value: Any, where: str) -> Row:
    """A row of a JSON file, which must be an object of whole characters."""
    if not isinstance(value, dict):
        raise DataError(
            f"{where}: expected an object with named fields, found {type(value).__name__}"
        )
    # JSON may spell half of a surrogate pair, "\ud83d", which no tokenizer and no file can hold.
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise DataError(
            f"{where}: half of a character ({half!r}): mend or delete the row"
        ) from error
    return value


def _read_jsonl(path: Path) -> Iterator[tuple[Row, str]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            where = f"{path}:{number}"
            try:
                value = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(
                    f"{where}: not valid JSON ({error.msg}): one object a line is expected"
                ) from error
            yield _checked_object(value, where), where


def _read_json(path: Path) -> Iterator[tuple[Row, str]]:
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":  # one object a line, as `Dataset.to_json` writes it
            yield from _read_jsonl(path)
            return
        raise DataError(f"{path}:{error.lineno}: not valid JSON ({error.msg})") from error
    if isinstance(value, dict):
        # An object with one list in it wraps the rows: {"version": 1, "data": [...]}.
        lists = [field for field in value.values() if isinstance(field, list)]
        value = lists[0] if len(lists) == 1 else [value]
    if not isinstance(value, list):
        raise DataError(f"{path}: expected a list of objects, found {type(value).__name__}")
    for number, row in enumerate(value, start=1):
        where = f"{path}[{number}]"
        yield _checked_object(row, where), where


def _read_csv(path: Path) -> Iterator[tuple[Row, str]]:
    csv.field_size_limit(2**31 - 1)  # a long answer is one cell
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = file.readline()
        file.seek(0)
        if delimiter == "," and "," not in header and ";" in header:
            delimiter = ";"
        reader = csv.DictReader(file, delimiter=delimiter, strict=True)
        try:
            for row in reader:
                where = f"{path}:{reader.line_num}"
                # DictReader puts the cells behind the last column under None.
                if None in row:
                    raise DataError(
                        f"{where}: more cells than the header has columns: quote cells with commas"
                    )
                yield dict(row), where
        except csv.Error as error:
            raise DataError(f"{path}:{reader.line_num}: not valid CSV ({error})") from error


def _read_parquet(path: Path) -> Iterator[tuple[Row, str]]:
    import pyarrow
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except pyarrow.ArrowException as error:
        raise DataError(f"{path}: not a readable Parquet file ({error})") from error
    for number, row in enumerate(rows, start=1):
        yield row, f"{path}[{number}]"
