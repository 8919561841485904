"""A run folder that version 0.1.0 made, before the package's files were moved, goes on."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from skunlearn.cli.main import app
from skunlearn.utils.files import read_json
from skunlearn.workflows.edited_model import EditSource, open_edited_model
from skunlearn.workflows.run_folder import open_run

MADE_BY_0_1_0 = Path(__file__).parents[1] / "fixtures/run_0_1_0"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder beside its base model, which its settings name as `base`."""
    shutil.copytree(MADE_BY_0_1_0, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return Path("run")


def invoke(*arguments: str) -> dict:
    done = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_its_edit_and_results_are_read(run: Path):
    finished = open_run(run)
    assert finished.results["verdict"] == read_json(run / "results.json")["verdict"]
    assert finished.edit().norm() > 0


def test_the_same_command_finds_it_finished(run: Path):
    before = (run / "results.json").read_bytes()
    found = invoke("run", str(run / "run.yaml"), "--out", str(run))
    assert found["scores"] == json.loads(before)["scores"]
    assert (run / "results.json").read_bytes() == before


def test_one_that_was_stopped_after_training_goes_on_to_the_same_results(
    run: Path, monkeypatch: pytest.MonkeyPatch
):
    before = read_json(run / "results.json")
    for name in ("results.json", "strength.json", "seconds.json"):
        (run / name).unlink()
    monkeypatch.setattr(
        "skunlearn.workflows.unlearn.train", lambda *_, **__: pytest.fail("trained again")
    )
    found = invoke("run", str(run / "run.yaml"), "--out", str(run))
    assert found["alpha"] == before["alpha"]
    assert {name: score["value"] for name, score in found["scores"]["edited"].items()} == {
        name: pytest.approx(score["value"], abs=1e-5)
        for name, score in before["scores"]["edited"].items()
    }


def test_it_opens_as_base_with_edit_and_its_report_is_written(run: Path):
    opened = open_edited_model(EditSource(run))
    assert opened.edit.norm() > 0
    done = CliRunner().invoke(app, ["report", str(run)], catch_exceptions=False)
    assert done.exit_code == 0 and (run / "report.html").is_file()


def test_it_is_exported_and_verified(run: Path):
    done = CliRunner().invoke(app, ["export", str(run), "--out", "safer"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(app, ["verify", "safer", "--run", str(run)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
