"""Files of every kind, and what is wrong with them."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from skunlearn.data.readers import read_hub, read_rows
from skunlearn.utils.errors import DataError

ROWS = [{"prompt": "p, one", "answer": "a"}, {"prompt": "zwei", "answer": "ü\nb"}]


def test_every_kind_reads_the_same_rows(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n")
    (tmp_path / "a.json").write_text(json.dumps({"version": 1, "data": ROWS}))
    (tmp_path / "b.json").write_text(json.dumps(ROWS))
    (tmp_path / "a.csv").write_text('\ufeffprompt,answer\n"p, one",a\nzwei,"ü\nb"\n')
    (tmp_path / "a.tsv").write_text('prompt\tanswer\np, one\ta\nzwei\t"ü\nb"\n')
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    for path in sorted(tmp_path.iterdir()):
        assert [row for row, _ in read_rows(path)] == ROWS, path.name


def test_rows_know_where_they_are(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    path.write_text('\n{"prompt": "p"}\n')
    assert read_rows(path) == [({"prompt": "p"}, f"{path}:2")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"", "has no rows"),
        ("a.csv", b"prompt,answer\n", "has no rows"),
        ("a.jsonl", b'{"prompt": "p"}\n{"prompt": \n', r"a\.jsonl:2: not valid JSON"),
        ("a.jsonl", b"[1]\n", r"a\.jsonl:1: expected an object"),
        ("a.json", b'"text"', "expected a list"),
        ("a.json", b"{", r"a\.json:1: not valid JSON"),
        ("a.csv", b"prompt,answer\na,b,c\n", r"a\.csv:2: more cells"),
        ("a.csv", b"\xff\xfe\x00", "not UTF-8"),
        ("a.parquet", b"nope", "not a readable Parquet"),
        ("a.xlsx", b"x", "unknown kind of file"),
    ],
)
def test_bad_files_are_one_clear_error(tmp_path: Path, name: str, content: bytes, message: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_rows(tmp_path / name)


def test_a_missing_file(tmp_path: Path):
    with pytest.raises(DataError, match="no such file"):
        read_rows(tmp_path / "nope.jsonl")


def test_without_a_hub_the_error_says_how_to_pass_a_file():
    with pytest.raises(DataError, match="pass the local file instead"):
        read_hub("no-such-org/no-such-set", None, "train")


def test_a_json_file_of_lines_and_a_csv_file_of_semicolons(tmp_path: Path):
    (tmp_path / "a.json").write_text("\n".join(json.dumps(row) for row in ROWS))
    (tmp_path / "a.csv").write_text('prompt;answer\np, one;a\nzwei;"ü\nb"\n')
    for path in sorted(tmp_path.iterdir()):
        assert [row for row, _ in read_rows(path)] == ROWS, path.name
