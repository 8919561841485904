"""export, verify, push and clean as commands."""

import json
import sys
from pathlib import Path

import pytest
import toy
from typer.testing import CliRunner

from skunlearn.cli import main
from skunlearn.utils.settings import with_sets
from skunlearn.workflows.config import make_run
from skunlearn.workflows.run import run_job

SMALL = [
    "train.steps=1",
    "train.batch=1",
    "lora.rank=2",
    "edit.alpha=0.5",
    "refuse.weight=0",
    "data.max_length=200",
    "evaluate.forget=2",
    "evaluate.wordings=0",
    "evaluate.seen=1",
    "evaluate.retain=2",
    "evaluate.lookalike=1",
    "evaluate.max_new_tokens=2",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run at `run`, its base at `toy`."""
    folder = tmp_path_factory.mktemp("cli")
    base = toy.with_merges(toy.saved(folder / "toy"))
    run_job(make_run(with_sets({"model": str(base)}, SMALL)), folder / "run")
    return folder


def invoke(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(main.app, [str(argument) for argument in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout


def test_from_run_to_hub_and_clean(folder: Path):
    run, out = folder / "run", folder / "out"
    code, text = invoke("export", run, "--out", out, "--format", "adapter", "--json")
    assert code == 0 and json.loads(text)["out"] == str(out) and json.loads(text)["rank"] == 2
    code, text = invoke("export", run, "--out", out, "--format", "merged", "--dtype", "bfloat16")
    assert code == 0 and "model.safetensors" in text and "strength 0.5" in text
    assert not (out / "adapter_config.json").exists()  # an earlier export is replaced

    code, text = invoke("verify", out, "--run", run, "--base", folder / "toy", "--json")
    value = json.loads(text)
    assert (
        code == 0 and value["ok"] and [check["outcome"] for check in value["checks"]] == ["ok"] * 5
    )
    code, text = invoke("verify", out)
    assert code == 0 and "not checked" in text

    code, text = invoke("push", out, "org/model", "--dry-run", "--despite-fail")
    assert code == 0 and "would be uploaded  model.safetensors" in text
    code, text = invoke("push", out, "org/model", "--dry-run", "--despite-fail", "--json")
    assert json.loads(text)["uploaded"] is False

    (out / "config.json").write_text("{}")
    code, text = invoke("verify", out)
    assert code == 1 and "config.json has changed" in text

    code, text = invoke("clean", run, "--keep-tau", "--json")
    assert code == 0 and json.loads(text)["removed"] == ["completions.jsonl"]
    assert invoke("export", run, "--out", out)[0] == 0  # the vectors are still there
    code, text = invoke("clean", run)
    assert code == 0 and "removed  tau.safetensors" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["export", "run", "--out", "o", "--alpha=-1"],
            "a negative strength would make the harmful model",
        ),
        (["export", "run", "--out", "o", "--format", "onnx"], "give merged, adapter or gguf"),
        (["export", "nowhere", "--out", "o"], "no finished run here"),
        (["verify", "nowhere"], "give a folder that 'skunlearn export' made"),
        (["push", "nowhere", "a/b"], "give a folder that 'skunlearn export' made"),
        (["clean", "nowhere"], "not a run folder"),
    ],
)
def test_bad_input_is_one_line_exit_2_and_no_folder(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["skunlearn", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main.main()
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert stopped.value.code == 2 and line.startswith("skunlearn: ") and message in line
    assert not list(tmp_path.iterdir())
