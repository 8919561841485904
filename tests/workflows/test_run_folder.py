"""The run folder survives kills and refuses strangers."""

import os
from pathlib import Path

import pytest

from skunlearn.utils.errors import RunError
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
    (tmp_path / "lock").write_text("1")  # the first process of the machine is alive
    with pytest.raises(RunError, match="in use"), folder.lock():
        pass
    (tmp_path / "lock").write_text(str(2**22 + 1))  # no process can have this number
    with folder.lock():
        assert (tmp_path / "lock").read_text() == str(os.getpid())
    assert not (tmp_path / "lock").exists()
