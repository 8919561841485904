"""`skunlearn attack`: a table or one JSON object, and one line for what is wrong."""

import json
import sys
from pathlib import Path

import pytest
import toy
from typer.testing import CliRunner

from skunlearn.cli import main

COUNTS = ["--set", "prompts=2", "--set", "max_new_tokens=3", "--set", "data.max_length=600"]


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy model with an edit, as a checkpoint."""
    folder = tmp_path_factory.mktemp("models")
    lm = toy.lm()
    lm.apply(toy.edit(lm.model))
    lm.save(folder / "edited")
    toy.saved(folder / "other", "Qwen2")
    (folder / "unfinished").mkdir()
    (folder / "unfinished/run.yaml").write_text("model: smollm2-135m\n")
    return folder / "edited"


def test_json_and_table(edited: Path, tmp_path: Path):
    call = [
        "attack",
        str(edited),
        "--base",
        "smollm2-135m",
        "--only",
        "mirror",
        "--out",
        str(tmp_path / "o"),
        *COUNTS,
    ]
    done = CliRunner().invoke(main.app, [*call, "--json"])
    assert done.exit_code == 0, done.output
    value = json.loads(done.stdout)
    assert [row["attack"] for row in value["attacks"]] == ["none", "none", "mirror"]
    assert Path(value["run"], "attacks.json").is_file() and value["judge"]["name"].startswith(
        "offline"
    )
    table = CliRunner().invoke(main.app, call)
    assert (
        table.exit_code == 0 and "2 base - edited" in table.stdout and "most harm" in table.stdout
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["edited", "--base", "smollm2-135m", "--only", "miror"],
            "unknown attack 'miror': did you mean 'mirror'",
        ),
        (
            ["edited", "--base", "smollm2-135m", "--suite", "ful"],
            "unknown suite 'ful': did you mean 'full'",
        ),
        (
            ["edited", "--only", "mirror"],
            "edited is not a run folder: give the model it was made from with --base",
        ),
        (["nowhere"], "no model 'nowhere'"),
        (
            ["edited", "--base", "other", "--only", "mirror"],
            "edited was not made from other: the two checkpoints differ",
        ),
        (["edited", "--base", "edited", "--only", "mirror"], "the two checkpoints are equal"),
        (["unfinished"], "unfinished: no finished run here"),
        (
            ["unfinished", "--base", "edited"],
            "unfinished is a run, which names its base, data and judge",
        ),
        (
            ["edited", "--base", "smollm2-135m", "--set", "promts=3"],
            "unknown option 'promts': did you mean 'prompts'",
        ),
        (
            ["edited", "--base", "smollm2-135m", "--set", "prompts=0"],
            "attack.prompts=0: give 1 or more",
        ),
        (
            ["edited", "--base", "smollm2-135m", "--set", "relearn.step=1"],
            "unknown option 'relearn.step'",
        ),
        (["edited", "--base", "smollm2-135m", "--set", "quantise.forms=[x]"], "unknown form 'x'"),
        (
            ["edited", "--base", "smollm2-135m", "--forget", "nope.jsonl"],
            "nope.jsonl: no such file",
        ),
    ],
)
def test_bad_input_is_one_line_exit_2_and_no_folder(
    arguments: list[str],
    message: str,
    edited: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
):
    monkeypatch.chdir(edited.parent)
    monkeypatch.setattr(sys, "argv", ["skunlearn", "attack", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main.main()
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert stopped.value.code == 2 and line.startswith("skunlearn: ") and message in line
    assert not (edited.parent / "runs").exists()
