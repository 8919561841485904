"""Somebody's run folder runs no code, trusts no model's code and sends the key nowhere, until the
user names what it would do."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from skunlearn.cli.main import app
from skunlearn.evaluation.judges import make_judge
from skunlearn.studio.session import open_session
from skunlearn.utils.consent import allowing
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.progress import Progress
from skunlearn.utils.settings import read_run
from skunlearn.workflows.config import make_run
from skunlearn.workflows.edited_model import EditSource, open_edited_model

Finished = Callable[..., Path]
CODE = """
from __future__ import annotations
from dataclasses import dataclass
from pathlib import Path
from skunlearn.methods.sku import SKU
Path({marker!r}).touch()

@dataclass(frozen=True)
class Mine(SKU):
    mine: float | None = None
"""


class Foreign:
    """A copy of a finished run whose run file has been changed."""

    def __init__(self, run: Path, folder: Path) -> None:
        shutil.copytree(run, folder / "run")
        self.run = folder / "run"
        self.marker = folder / "executed"
        self.code = folder / "evil.py"
        self.code.write_text(CODE.format(marker=str(self.marker)))
        self.name = f"{self.code}:Mine"

    def change(self, section: str, **values: Any) -> None:
        tree = yaml.safe_load((self.run / "run.yaml").read_text())
        if isinstance(tree.get(section), dict):
            tree[section] |= values
        else:
            tree[section] = values
        (self.run / "run.yaml").write_text(yaml.safe_dump(tree))


@pytest.fixture
def foreign(finished: Finished, tmp_path: Path) -> Foreign:
    return Foreign(finished("Llama"), tmp_path)


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in arguments], catch_exceptions=False)


def commands(run: Path) -> dict[str, list[object]]:
    out = run.parent / "out"
    return {
        "run": ["run", run / "run.yaml", "--out", out],
        "run of a folder": ["run", run],
        "plan": ["plan", run / "run.yaml"],
        "attack": ["attack", run, "--out", out],
        "export": ["export", run, "--out", out],
        "evaluate": ["evaluate", run, "--out", out],
        "tune": ["tune", run],
    }


@pytest.mark.parametrize("command", commands(Path()))
def test_no_command_runs_the_code_that_a_run_folder_names(foreign: Foreign, command: str):
    foreign.change("method", name=foreign.name)
    with pytest.raises(ConfigError, match=r"run\.yaml .*--allow-code"):
        invoke(*commands(foreign.run)[command])
    assert not foreign.marker.exists() and not (foreign.run.parent / "out").exists()


def test_neither_do_verify_and_the_studio(foreign: Foreign, tmp_path: Path):
    assert invoke("export", foreign.run, "--out", tmp_path / "export").exit_code == 0
    foreign.change("method", name=foreign.name)
    with pytest.raises(ConfigError, match="--allow-code"):
        invoke("verify", tmp_path / "export", "--run", foreign.run)
    with pytest.raises(ConfigError, match="--allow-code"):
        open_session(foreign.run, None, None, Progress())
    assert not foreign.marker.exists()


@pytest.mark.parametrize("settings_file", [True, False])
def test_a_folder_without_settings_is_still_a_run_folder(foreign: Foreign, settings_file: bool):
    if settings_file:
        (foreign.run / "run.yaml").rename(foreign.run / "other.yaml")
    else:
        (foreign.run / "settings.json").unlink()
    path = foreign.run / ("other.yaml" if settings_file else "run.yaml")
    tree = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(tree | {"method": foreign.name}))
    with pytest.raises(ConfigError, match="--allow-code"):
        invoke("plan", path)
    assert not foreign.marker.exists()


@pytest.mark.parametrize(
    ("section", "key", "is_list"),
    [
        ("edit", "filters", True),
        ("evaluate", "judge", False),
        ("evaluate", "second_judge", False),
        ("evaluate", "metrics", True),
    ],
)
def test_every_kind_of_class_is_refused(foreign: Foreign, section: str, key: str, is_list: bool):
    foreign.change(section, **{key: [foreign.name] if is_list else foreign.name})
    with pytest.raises(ConfigError, match="--allow-code"):
        invoke("run", foreign.run / "run.yaml", "--out", foreign.run.parent / "out")
    assert not foreign.marker.exists()


def test_the_user_may_allow_or_name_the_code(foreign: Foreign):
    foreign.change("method", name=foreign.name)
    assert invoke("plan", foreign.run / "run.yaml", "--allow-code").exit_code == 0
    assert foreign.marker.exists()
    with pytest.raises(ConfigError, match="--allow-code"):  # the next command asks again
        invoke("plan", foreign.run / "run.yaml")
    with allowing(code=True):
        assert open_edited_model(EditSource(foreign.run)).run.method_name == foreign.name
    named = invoke("plan", foreign.run / "run.yaml", "--method", foreign.name)
    assert named.exit_code == 0


def test_a_file_of_ones_own_counts_as_named(foreign: Foreign, tmp_path: Path):
    own = tmp_path / "mine.yaml"
    tree = yaml.safe_load((foreign.run / "run.yaml").read_text())
    own.write_text(yaml.safe_dump({"model": tree["model"], "method": {"name": foreign.name}}))
    assert invoke("plan", own).exit_code == 0
    assert foreign.marker.exists()


@pytest.mark.parametrize("value", [True, "yes", 1, "true"])
def test_a_models_code_is_trusted_by_the_user_alone(foreign: Foreign, value: Any):
    foreign.change("load", trust_remote_code=value)
    for command in commands(foreign.run).values():
        with pytest.raises(ConfigError, match="--trust-remote-code"):
            invoke(*command)
    assert invoke("plan", foreign.run / "run.yaml", "--trust-remote-code").exit_code == 0


def test_the_key_goes_to_no_address_that_only_the_folder_names(
    foreign: Foreign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SKUNLEARN_API_KEY", "sk-secret")
    judge = f"api:m@http://127.0.0.1:9/{tmp_path.name}"
    foreign.change("evaluate", judge=judge)
    for words in (["attack", foreign.run, "--out", tmp_path / "o"], ["tune", foreign.run]):
        with pytest.raises(ConfigError, match="key to its judge"):
            invoke(*words, "--trust-remote-code", "--allow-code")
    with pytest.raises(ConfigError, match="key to its judge"):
        invoke("run", foreign.run / "run.yaml", "--out", tmp_path / "again")
    with pytest.raises(ConfigError, match="key to its judge"):
        open_session(foreign.run, None, None, Progress())
    # What needs no judge works.
    assert invoke("export", foreign.run, "--out", tmp_path / "export").exit_code == 0
    with allowing(judge=judge):
        assert make_judge(judge).name.endswith(judge.removeprefix("api:"))


def test_a_second_judge_of_a_run_folder_gets_no_key_either(foreign: Foreign, tmp_path: Path):
    judge = f"api:m@http://127.0.0.1:9/second-{tmp_path.name}"
    foreign.change("evaluate", second_judge=judge)
    make_run(read_run(foreign.run / "run.yaml"))
    with pytest.raises(ConfigError, match="key to its judge"):
        make_judge(judge)


def test_a_run_folder_goes_on_from_its_own_run_file(foreign: Foreign):
    done = invoke("run", foreign.run)
    assert done.exit_code == 0 and f"run     {foreign.run}" in done.output
