"""Files and folders are private and written whole; JSON lines survive a kill."""

import stat
from pathlib import Path

import pytest

from skunlearn.utils.files import (
    append_lines,
    read_json,
    read_lines,
    whole_folder,
    write_json,
    write_text,
)


def test_files_are_private(tmp_path: Path):
    write_json(tmp_path / "a.json", {"x": 1})
    append_lines(tmp_path / "b.jsonl", [{"x": 1}])
    for name in ("a.json", "b.jsonl"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_a_failed_write_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "a.json"
    write_json(path, {"x": 1})
    with pytest.raises(ValueError):
        write_json(path, {"x": float("nan")})
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert read_json(path) == {"x": 1}


def test_a_torn_last_line_is_cut_off_and_the_next_one_is_whole(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    append_lines(path, [{"n": 1}, {"n": 2}])
    with path.open("a") as file:
        file.write('{"n": 3, "half')
    assert read_lines(path) == [{"n": 1}, {"n": 2}]
    append_lines(path, [{"n": 3}])
    assert read_lines(path) == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_a_text_may_hold_any_line_separator(tmp_path: Path):
    rows = [{"answer": "one\u2028two\x85three\u2029"}, {"answer": "\n\r\x0b\x0c\x1c"}]
    append_lines(tmp_path / "a.jsonl", rows)
    assert read_lines(tmp_path / "a.jsonl") == rows


def test_a_folder_appears_only_when_whole(tmp_path: Path):
    with pytest.raises(KeyError), whole_folder(tmp_path / "model") as partial:
        (partial / "half").write_text("x")
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with whole_folder(tmp_path / "model") as partial:
        (partial / "whole").write_text("x")
    assert [p.name for p in (tmp_path / "model").iterdir()] == ["whole"]
