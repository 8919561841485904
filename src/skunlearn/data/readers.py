"""Reads rows from a file, a folder or a hub data set, each with its "file:line"."""

import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from skunlearn.data.folders import read_folder
from skunlearn.data.json_tables import read_json
from skunlearn.data.text_files import (
    PACKED,
    Row,
    Rows,
    checked_row,
    first_bytes,
    form_of,
    read_csv,
    read_jsonl,
)
from skunlearn.utils.errors import DataError

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
# Files that hold others, or whose form is not read, by what they begin with.
ARCHIVES = {
    b"PK\x03\x04": "a ZIP archive or an Excel table: unpack it, or save the table as CSV",
    b"\x28\xb5\x2f\xfd": "compressed by zstd: unpack it with 'zstd -d'",
    b"7z\xbc\xaf": "a 7z archive: unpack it",
    b"Rar!": "a RAR archive: unpack it",
    b"ARROW1": "an Arrow file: save it as Parquet, or give the folder of Dataset.save_to_disk",
    b"SQLite format 3": "a database: export the table as CSV",
    b"version https://git-lfs": "a pointer of git-lfs and not the data: run 'git lfs pull' there",
}
UNPACKING_ERRORS = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError)


def read_rows(path: Path) -> Rows:
    """All rows of a JSONL, JSON, CSV, TSV or Parquet file, or of a folder, as (row, "file:line").

    Text files may be compressed (.gz, .bz2, .xz). A folder is one that `Dataset.save_to_disk` has
    written, or a cloned data set repository, of which the split "train" is read.

    Raises:
        DataError: when it is missing, empty, or not what its suffix says.
    """
    try:
        return _read_rows(Path(path))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 text ({error.reason} at byte {error.start}): save it as UTF-8"
        ) from error
    except UNPACKING_ERRORS as error:
        raise DataError(f"{path}: cannot be unpacked ({error}): copy it again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _read_rows(path: Path) -> Rows:
    if path.is_dir():
        return read_folder(path)
    if not path.is_file():
        raise DataError(
            f"{path}: no such file: give a {'/'.join(SUFFIXES)} file, "
            "a named source or a hub data set id"
        )
    start = first_bytes(path)
    for magic, advice in ARCHIVES.items():
        if start.startswith(magic):
            raise DataError(f"{path}: this is {advice}, and give the data file itself")
    suffix = form_of(path)
    if suffix not in SUFFIXES:
        kinds = ", ".join(SUFFIXES)
        kind = "".join(path.suffixes[-2:]) if path.suffix.lower() in PACKED else path.suffix
        raise DataError(
            f"{path}: unknown kind of file '{kind}': unpack or convert it to one of {kinds} "
            "(the text forms also as .gz, .bz2 or .xz)"
        )
    rows = list(_reader(suffix)(path))
    if not rows:
        raise DataError(
            f"{path}: the file has no rows: give a file with at least one prompt and answer"
        )
    return rows


def _reader(suffix: str) -> Callable[[Path], Iterator[tuple[Row, str]]]:
    """The function that reads files of a kind, one of `SUFFIXES`."""
    match suffix:
        case ".json":
            return read_json
        case ".csv" | ".tsv":
            return read_csv
        case ".parquet":
            return _read_parquet
        case _:
            return read_jsonl


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


def _read_parquet(path: Path) -> Iterator[tuple[Row, str]]:
    import pyarrow
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except pyarrow.ArrowException as error:
        raise DataError(f"{path}: not a readable Parquet file ({error})") from error
    for number, row in enumerate(rows, start=1):
        where = f"{path}[{number}]"
        yield checked_row(row, where), where
