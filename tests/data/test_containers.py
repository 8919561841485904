"""The same rows in every container."""

import bz2
import gzip
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest

from skunlearn.data.dataset import Data
from skunlearn.data.readers import read_rows
from skunlearn.utils.errors import DataError

ROWS = [{"prompt": f"question {n}, one", "answer": f"ü\n{n}"} for n in range(12)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
INDEXED = {name: {str(n): row[name] for n, row in enumerate(ROWS)} for name in ROWS[0]}
COLUMNS = {name: [row[name] for row in ROWS] for name in ROWS[0]}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the library's own, so that nothing is left in the user's."""
    folder = tmp_path_factory.mktemp("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)


def csv(delimiter: str) -> str:
    cells = "".join(f'"{row["prompt"]}"{delimiter}"{row["answer"]}"\n' for row in ROWS)
    return f"prompt{delimiter}answer\n{cells}"


TEXTS = {
    "rows.jsonl": LINES,
    "rows.ndjson": LINES,
    "lines.json": LINES,
    "list.json": json.dumps(ROWS),
    "wrapped.json": json.dumps({"version": 1, "data": ROWS}),
    "splits.json": json.dumps({"train": ROWS, "test": ROWS[:1]}),
    "columns.json": json.dumps(INDEXED),
    "lists.json": json.dumps(COLUMNS),
    "split.json": json.dumps(
        {"columns": list(ROWS[0]), "index": [0], "data": [list(row.values()) for row in ROWS]}
    ),
    "by_index.json": json.dumps({str(n): row for n, row in enumerate(ROWS)}),
    "by_name.json": json.dumps({f"harm-{n}": row for n, row in enumerate(ROWS)}),
    "commas.csv": csv(","),
    "semicolons.csv": csv(";"),
    "tabs.csv": csv("\t"),
    "bars.csv": csv("|"),
    "rows.tsv": csv("\t"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_every_text_form_plain_and_compressed(tmp_path: Path, name: str):
    packs: dict[str, Callable[[bytes], bytes]] = {
        "": bytes,
        ".gz": gzip.compress,
        ".bz2": bz2.compress,
        ".xz": lzma.compress,
    }
    for suffix, pack in packs.items():
        path = tmp_path / (name + suffix)
        path.write_bytes(pack(TEXTS[name].encode()))
        assert [row for row, _ in read_rows(path)] == ROWS, path.name
    # What a file begins with counts, not its name.
    (tmp_path / f"un{name}.gz").write_text(TEXTS[name])
    assert [row for row, _ in read_rows(tmp_path / f"un{name}.gz")] == ROWS


def test_folders_that_the_library_saved(tmp_path: Path):
    table = datasets.Dataset.from_list(ROWS)
    table.save_to_disk(tmp_path / "saved")
    datasets.DatasetDict({"train": table, "test": table.select([0])}).save_to_disk(
        tmp_path / "splits"
    )
    for name in ("saved", "splits", "splits/train"):
        assert [row for row, _ in read_rows(tmp_path / name)] == ROWS
    datasets.DatasetDict({"a": table, "b": table}).save_to_disk(tmp_path / "others")
    with pytest.raises(DataError, match=r"several splits \(a, b\): give one of them alone"):
        read_rows(tmp_path / "others")


@pytest.mark.parametrize("name", ["data/train-00000-of-00001.parquet", "train.jsonl"])
def test_a_cloned_repository(tmp_path: Path, name: str):
    path = tmp_path / "cloned" / name
    path.parent.mkdir(parents=True)
    table = datasets.Dataset.from_list(ROWS)
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_json(path)
    (tmp_path / "cloned/README.md").write_text("---\nlicense: mit\n---\n# Rows\n")
    assert [row for row, _ in read_rows(tmp_path / "cloned")] == ROWS
    assert Data(tmp_path / "cloned").fingerprint == Data(ROWS).fingerprint


def test_what_cannot_be_read_says_what_it_is_and_what_to_do(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "rows.zip", "w") as archive:
        archive.writestr("rows.jsonl", LINES)
    contents = {
        "rows.xlsx": (tmp_path / "rows.zip").read_bytes(),
        "rows.jsonl.zst": b"\x28\xb5\x2f\xfd123",
        "rows.tar.gz": gzip.compress(b"x"),
        "torn.jsonl.gz": gzip.compress(LINES.encode())[:-20],
        "pointer.parquet": b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
        "rows.arrow": b"ARROW1\0\0",
        "two.json": json.dumps({"a": ROWS, "b": ROWS}).encode(),
        "deep.json": b"[" * 100_000,
        "digits.jsonl": b'{"a": ' + b"1" * 5000 + b"}",
        "bare": b"x",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "empty").mkdir()
    messages = {
        "rows.zip": "a ZIP archive or an Excel table: unpack it",
        "rows.xlsx": "an Excel table: .*save the table as CSV",
        "rows.jsonl.zst": "compressed by zstd: unpack it",
        "rows.tar.gz": r"unknown kind of file '\.tar\.gz': unpack or convert it",
        "torn.jsonl.gz": "cannot be unpacked .*copy it again",
        "pointer.parquet": "pointer of git-lfs and not the data",
        "rows.arrow": "save it as Parquet",
        "two.json": r"several lists of rows \(a, b\)",
        "deep.json": r"deep\.json: JSON that cannot be read",
        "digits.jsonl": r"digits\.jsonl:1: JSON that cannot be read",
        "bare": "unknown kind of file ''",
        "empty": "this folder cannot be read as a data set .*give one of the data files",
    }
    for name, message in messages.items():
        with pytest.raises(DataError, match=message):
            read_rows(tmp_path / name)
