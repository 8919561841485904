"""The run folder survives kills and refuses strangers."""

import os
import stat
from pathlib import Path

import pytest

from skunlearn.utils.errors import RunError
from skunlearn.utils.files import (
    append_lines,
    read_json,
    read_lines,
    whole_folder,
    write_json,
    write_text,
)
from skunlearn.utils.hashing import file_sha256, named_files, sampled_sha256
from skunlearn.workflows.run_folder import RunFolder


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


def test_a_run_folder_is_for_one_run_only(tmp_path: Path):
    folder = RunFolder(tmp_path / "run")
    folder.claim({"train": {"steps": 3}})
    folder.claim({"train": {"steps": 3}})
    with pytest.raises(RunError, match=r"train.steps: 3 there, 4 now"):
        folder.claim({"train": {"steps": 4}})


def test_a_folder_of_something_else_is_refused(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="not a run folder"):
        RunFolder(tmp_path).claim({})


def test_two_processes_do_not_share_a_folder(tmp_path: Path):
    folder = RunFolder(tmp_path)
    (tmp_path / "lock").write_text("1")  # the first process of the machine is alive
    with pytest.raises(RunError, match="in use"), folder.lock():
        pass
    (tmp_path / "lock").write_text(str(2**22 + 1))  # no process can have this number
    with folder.lock():
        assert (tmp_path / "lock").read_text() == str(os.getpid())
    assert not (tmp_path / "lock").exists()


def test_a_folder_appears_only_when_whole(tmp_path: Path):
    with pytest.raises(KeyError), whole_folder(tmp_path / "model") as partial:
        (partial / "half").write_text("x")
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with whole_folder(tmp_path / "model") as partial:
        (partial / "whole").write_text("x")
    assert [p.name for p in (tmp_path / "model").iterdir()] == ["whole"]


def test_a_change_in_the_middle_of_a_big_file_is_seen(tmp_path: Path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(bytes(9_000_000))
    before = sampled_sha256(path)
    with path.open("r+b") as file:
        file.seek(4_000_000)
        file.write(b"\1" * 200_000)  # a small matrix
    assert sampled_sha256(path) != before


def test_files_that_settings_name(tmp_path: Path):
    code, rows = tmp_path / "mine.py", tmp_path / "rows.jsonl"
    code.write_text("x")
    rows.write_text("y")
    found = named_files(
        {"judge": f"{code}:Judge", "files": [str(rows), "offline", 3, None], "n": {"a": True}}
    )
    assert set(found) == {f"{code}:Judge", str(rows)} and found[str(rows)] == file_sha256(rows)
