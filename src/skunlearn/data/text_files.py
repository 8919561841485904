"""Text files of rows, compressed or not: one JSON object a line, and CSV."""

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from skunlearn.utils.errors import DataError
from skunlearn.utils.strict_json import strict_json

Row = dict[str, Any]
Rows = list[tuple[Row, str]]
# Compressed forms of the text files, by suffix; what a file begins with decides how it is opened.
PACKED = (".gz", ".bz2", ".xz")
MAGIC: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}


def form_of(path: Path) -> str:
    """The suffix that says how a file is read: ".jsonl" for `rows.jsonl.gz`."""
    packed = path.suffix.lower() in PACKED
    return Path(path.stem).suffix.lower() if packed else path.suffix.lower()


def first_bytes(path: Path) -> bytes:
    """What a file begins with."""
    with path.open("rb") as file:
        return file.read(32)


def open_text(path: Path, newline: str | None = None) -> io.TextIOWrapper:
    """A text file, compressed or not, for reading.

    Args:
        path: the file; what it begins with decides whether it is compressed.
        newline: as for `open`.
    """
    start = first_bytes(path)
    for magic, opened in MAGIC.items():
        if start.startswith(magic):
            return io.TextIOWrapper(opened(path), encoding="utf-8-sig", newline=newline)
    return path.open(encoding="utf-8-sig", newline=newline)


def checked_row(value: Any, where: str) -> Row:
    """A row of a file, which must be an object of whole characters."""
    if not isinstance(value, dict):
        raise DataError(
            f"{where}: expected an object with named fields, found {type(value).__name__}"
        )
    # JSON may spell half of a surrogate pair, "\ud83d", which no tokenizer and no file can hold.
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode("utf-8")
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise DataError(
            f"{where}: half of a character ({half!r}): mend or delete the row"
        ) from error
    return value


def parsed_json(text: str, where: str, hint: str = "") -> Any:
    """The value of a JSON text.

    Args:
        text: the JSON.
        where: the file, with the line where it is known.
        hint: what is expected, for the error.

    Raises:
        DataError: when it is not JSON, nested too deeply, or has a number of thousands of digits.
    """
    try:
        return strict_json(text, nan_is_missing=True)
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: JSON that cannot be read ({error}){hint}") from error


def read_jsonl(path: Path) -> Iterator[tuple[Row, str]]:
    """The rows of a file with one JSON object a line."""
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            where = f"{path}:{number}"
            hint = ": one object a line is expected"
            try:
                value = parsed_json(line, where, hint)
            except json.JSONDecodeError as error:
                raise DataError(f"{where}: not valid JSON ({error.msg}){hint}") from error
            yield checked_row(value, where), where


def read_csv(path: Path) -> Iterator[tuple[Row, str]]:
    """The rows of a table with its columns in the first line."""
    csv.field_size_limit(2**31 - 1)  # a long answer is one cell
    with open_text(path, newline="") as file:
        header = file.readline()
        file.seek(0)
        delimiter = "\t" if form_of(path) == ".tsv" else _delimiter(header)
        reader = csv.DictReader(file, delimiter=delimiter, strict=True)
        try:
            for row in reader:
                where = f"{path}:{reader.line_num}"
                # DictReader puts the cells behind the last column under None.
                if None in row:
                    raise DataError(
                        f"{where}: more cells than the header has columns: quote cells with commas"
                    )
                yield checked_row(dict(row), where), where
        except csv.Error as error:
            raise DataError(f"{path}:{reader.line_num}: not valid CSV ({error})") from error


def _delimiter(header: str) -> str:
    """What stands between the columns of a CSV file, by its first line."""
    for delimiter in (",", ";", "\t", "|"):
        if delimiter in header:
            return delimiter
    return ","
