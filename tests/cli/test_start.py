"""The first thing a newcomer sees, exit codes, and `--json` everywhere."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from skunlearn.cli.main import app, main


def commands(group: Any, before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        is_group = hasattr(command, "commands")
        found |= commands(command, f"{before}{name} ") if is_group else {f"{before}{name}": command}
    return found


def test_alone_it_says_what_to_do_next_and_names_every_command():
    done = CliRunner().invoke(app, [])
    assert done.exit_code == 0
    for text in ("skunlearn demo", "skunlearn run --model", "skunlearn doctor", "docs/index.md"):
        assert text in done.output
    listed = [line.split()[0] for line in done.output.splitlines() if line.startswith("  ")]
    assert set(typer.main.get_command(app).commands) <= set(listed)


def test_version():
    assert CliRunner().invoke(app, ["--version"]).output == f"skunlearn {version('skunlearn')}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["export", "x"], "Missing option '--out': see 'skunlearn export --help'"),
        (["runn"], "No such command 'runn'. Did you mean 'run'?: see 'skunlearn --help'"),
        (
            ["compare", "--budget", "equal-tme"],
            "'equal-tme' is not one of 'equal-steps', 'equal-time'",
        ),
    ],
)
def test_words_that_do_not_fit_are_one_line_and_exit_code_2(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("sys.argv", ["skunlearn", *words])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("skunlearn: ") and said in line


def test_help_tells_the_exit_codes():
    lines = [line.split() for line in CliRunner().invoke(app, ["--help"]).output.splitlines()]
    assert {"0", "1", "2", "130"} <= {words[0] for words in lines if words}


def test_every_command_has_json():
    missing = {
        name
        for name, command in commands(typer.main.get_command(app)).items()
        if not any("--json" in parameter.opts for parameter in command.params)
    }
    assert missing == {"studio"}  # it prints no result: it serves until it is stopped


def test_json_of_a_plan_and_of_labels(pairs: tuple[Path, Path], tmp_path: Path):
    flags = ["--forget", str(pairs[0]), "--retain", str(pairs[1]), "--set", "data.max_length=600"]
    plan = json.loads(CliRunner().invoke(app, ["plan", "--json", *flags]).stdout)
    assert ["forget", "without repeats", 20] in plan["funnel"] and plan["parts"]["forget"] == [
        12,
        3,
        5,
    ]
    (tmp_path / "rows.jsonl").write_text('{"prompt": "p", "answer": ""}\n')
    call = [
        "judge",
        "label",
        str(tmp_path / "rows.jsonl"),
        "--out",
        str(tmp_path / "o.jsonl"),
        "--json",
    ]
    assert json.loads(CliRunner().invoke(app, call).stdout) == {
        "rows": 1,
        "unscored": 0,
        "out": str(tmp_path / "o.jsonl"),
    }
