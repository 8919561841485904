"""The run folder survives kills and refuses strangers."""

import os
from pathlib import Path

import pytest
from locks import other_process_holds

from skunlearn.utils.errors import RunError
from skunlearn.utils.files import append_lines, read_json, write_json
from skunlearn.workflows.run_folder import RunFolder


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
    with (
        other_process_holds(tmp_path / "lock") as owner,
        pytest.raises(RunError, match=f"in use by process {owner}"),
        folder.lock(),
    ):
        pass
    (tmp_path / "lock").write_text("1")  # left by a kill, and its number belongs to another now
    with folder.lock():
        assert (tmp_path / "lock").read_text() == str(os.getpid())
    assert not (tmp_path / "lock").exists()


@pytest.mark.parametrize("name", ["completions.jsonl", "state", "results.json", "tune.journal"])
def test_nothing_works_in_a_folder_with_links(name: str, tmp_path: Path):
    folder = RunFolder(tmp_path / "run")
    folder.claim({})
    (folder / name).symlink_to(tmp_path)
    with pytest.raises(RunError, match=f"{name} is a link"), folder.lock():
        pass
    assert not (folder / "lock").exists()
    (folder / name).unlink()
    (folder / "model").symlink_to(tmp_path)  # nothing is written into one that is there
    with folder.lock():
        pass


def test_files_are_not_written_through_links(tmp_path: Path):
    mine = tmp_path / "mine"
    mine.write_text("mine")
    for name in ("a.json", "a.json.partial", "rows.jsonl"):
        (tmp_path / name).symlink_to(mine)
    write_json(tmp_path / "a.json", {"a": 1})
    assert read_json(tmp_path / "a.json") == {"a": 1} and not (tmp_path / "a.json").is_symlink()
    with pytest.raises(RunError, match="is a link"):
        append_lines(tmp_path / "rows.jsonl", [{}])
    assert mine.read_text() == "mine"
