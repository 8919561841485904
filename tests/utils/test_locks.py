"""One process at a time has a lock, and none that has ended."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from locks import CODE, other_process_holds

from skunlearn.utils.errors import RunError
from skunlearn.utils.locks import locked

RACE = """
import os, sys
from pathlib import Path
from skunlearn.utils.errors import RunError
from skunlearn.utils.locks import locked
folder = Path(sys.argv[1])
for _ in range(400):
    try:
        with locked(folder / "lock", "in use by"):
            os.close(os.open(folder / "inside", os.O_CREAT | os.O_EXCL))  # fails for a second one
            os.unlink(folder / "inside")
    except RunError:
        pass
"""


def test_two_processes_never_both_get_in(tmp_path: Path):
    words = [sys.executable, "-c", RACE, str(tmp_path)]
    racers = [subprocess.Popen(words, stderr=subprocess.PIPE) for _ in range(3)]
    for racer in racers:
        assert racer.communicate()[1] == b"" and racer.returncode == 0


def test_a_killed_process_frees_its_lock(tmp_path: Path):
    path = tmp_path / "lock"
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == b"locked\n"
    with pytest.raises(RunError, match=str(process.pid)), locked(path, "in use by"):
        pass
    process.kill()
    process.communicate()
    assert path.read_text() == str(process.pid)
    with locked(path, "in use by"):
        assert path.read_text() == str(os.getpid())


def test_a_process_may_take_its_own_lock_again(tmp_path: Path):
    path = tmp_path / "lock"
    with locked(path, ""), locked(path, ""):
        pass
    assert not path.exists()
    with other_process_holds(path), pytest.raises(RunError), locked(path, ""):
        pass


def test_a_link_is_not_locked(tmp_path: Path):
    target = tmp_path / "target"
    target.write_text("mine")
    (tmp_path / "lock").symlink_to(target)
    with pytest.raises(OSError, match="lock"), locked(tmp_path / "lock", ""):
        pass
    assert target.read_text() == "mine"
