"""README and docs are executed: every command is parsed to its last option, Python runs, and most
commands do too."""

import csv
import json
import re
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import toy
import typer
from typer.exceptions import TyperException
from typer.testing import CliRunner

from skunlearn.attacks.battery import make_battery
from skunlearn.cli.main import app
from skunlearn.cli.options import RunOptions
from skunlearn.data import dataset
from skunlearn.utils.errors import SkunlearnError
from skunlearn.utils.settings import read_run
from skunlearn.workflows.config import Run, make_run

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
STANDS_FOR = {  # in lines that show a command's form
    "A": "1",
    "R": "8",
    "T": "float32",
    "B": "smollm2-135m",
    "FILE": "prompts.jsonl",
    "ID_OR_CONFIG": "BASE",
}
SMALL = [
    "train.steps=2",
    "train.batch=1",
    "lora.rank=2",
    "edit.alphas=[1]",
    "edit.forget=2",
    "edit.wordings=0",
    "edit.retain=2",
    "edit.lookalike=1",
    "edit.max_new_tokens=2",
    "refuse.train.steps=1",
    "refuse.train.batch=1",
    "data.max_length=600",
]
FEW = [
    "evaluate.forget=2",
    "evaluate.wordings=0",
    "evaluate.seen=1",
    "evaluate.paraphrase=1",
    "evaluate.retain=2",
    "evaluate.lookalike=1",
    "evaluate.choices=2",
    "evaluate.max_new_tokens=2",
]
ATTACKED = ["prompts=2", "max_new_tokens=2"]
RELEARN = ["relearn.examples=[2]", "relearn.curve.steps=[1]"]
RAN = [["run", "--out", "RUN"]]
BEFORE = {  # what a page takes for done
    "docs/attacks.md": [["demo"]],
    "docs/report.md": RAN,
    "docs/export.md": [*RAN, ["demo"]],
}
ELSEWHERE = {  # words of commands that are not run here, and why
    "contrast": "a toy's own answers are not harmful; tests/workflows/test_training_rows.py",
    "pku-saferlhf": "it is fetched from the hub",
    "guard:": "the model is fetched from the hub; toys in tests/evaluation/judges/test_guard.py",
    "api:": "it needs an endpoint; one on loopback in tests/evaluation/judges/test_api.py",
    "lm_eval": "an extra, and its data is fetched; a local task in metrics/test_lm_eval.py",
    "gguf": "the toy has no tokenizer for it; tests/export/test_gguf.py",
    "nf4": "an extra; tests/models/test_qlora.py",
    "tensorboard": "an extra; tests/training/test_trackers.py",
    "--processes": "slow; tests/slow/test_processes.py",
    "studio": "it serves until it is stopped; tests/studio",
}
RESULTS = ("docs/results.md", "docs/results-archive.md")  # whose commands take hours


def blocks(page: str) -> list[tuple[str, str]]:
    """(language, text) of fenced and of indented blocks."""
    text = PAGES[page].read_text(encoding="utf-8")
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.S | re.M)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    return fenced + [("", block) for block in re.findall(r"(?:^ {4}.*\n?)+", rest, flags=re.M)]


def languages(page: str) -> set[str]:
    return {language for language, _ in blocks(page)}


def commands(page: str) -> list[list[str]]:
    """The words of every `skunlearn` line; of a line that shows a form, all options with their
    first choices."""
    found = []
    for language, block in blocks(page):
        for line in (
            block.replace("\\\n", " ").splitlines() if language in ("", "bash", "sh") else ()
        ):
            text = re.sub(r"\[(--[^\]]*)\]", r"\1", line.strip())
            text = re.sub(r"^\S*python -m skunlearn", "skunlearn", text)
            if text.startswith("skunlearn "):
                words = shlex.split(text, comments=True)[1:]
                found.append(
                    [STANDS_FOR.get(word, re.sub(r"^([a-z]+)\|.*", r"\1", word)) for word in words]
                )
    return found


def parsed(words: list[str]) -> tuple[str, dict[str, Any]]:
    """The command's name and what it would be called with; typer raises when the words do not
    fit."""
    command: Any = typer.main.get_command(app)
    at = 0
    while hasattr(command, "commands"):
        assert words[at] in command.commands, f"no command {words[at]}"
        command, at = command.commands[words[at]], at + 1
    return " ".join(words[:at]), command.make_context(words[at - 1], words[at:]).params


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Toys under the names that the docs use."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("BASE", "org/name", "org/name-or-folder"):
        toy.saved(folder / name)
    lm = toy.lm()
    lm.apply(toy.edit(lm.model))
    for name in ("EDITED", "BAD"):
        lm.save(folder / name)
    return folder


@pytest.fixture
def desk(
    tmp_path: Path, models: Path, pairs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with every file that the docs name."""
    for path in models.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "one"}\n{"prompt": "two"}\n')
    (tmp_path / "answers.jsonl").write_text('{"prompt": "one", "answer": "two"}\n')
    rows = [
        {"prompt": "p", "answer": "I cannot help.", "label": "refused"},
        {"prompt": "q", "answer": "", "label": 0},
    ]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "labelled.csv").write_text(
        "prompt,answer,label\np,I cannot help.,refused\nq,one two,safe\n"
    )
    with (tmp_path / "asked.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("ask", "reply"), *((f"question {n}", f"answer {n}") for n in range(12)), ("x", "")]
        )
    monkeypatch.chdir(tmp_path)
    whole = (
        dataset.builtin_examples
    )  # encoding all of it again and again is most of a toy run's time
    monkeypatch.setattr(
        dataset, "builtin_examples", lambda side, **_: tuple(part[:12] for part in whole(side))
    )
    return tmp_path


def put_down(page: str, folder: Path) -> None:
    """Files whose text is on the page: Python that names its file, and YAML."""
    for language, text in blocks(page):
        name = re.match(r"# (\w+\.py)\n", text)
        if language == "yaml" or name:
            (folder / (name[1] if name else "run.yaml")).write_text(text)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_has_options_that_exist(page: str, desk: Path):
    put_down(page, desk)
    assert {" ".join(words): told for words in commands(page) if (told := refused(words))} == {}


def refused(words: list[str]) -> str:
    """What is wrong with a command's options; nothing when they are understood."""
    try:
        name, given = parsed(words)
        if name in ("run", "demo", "plan", "evaluate"):
            file = given.get("file") if given.get("file") and given["file"].exists() else None
            RunOptions(
                file=file,
                model=given.get("model"),
                method=given.get("method"),
                sets=given["sets"],
                refuse=given.get("refuse"),
            ).make_run()
        if name == "attack":
            make_battery(
                given["suite"],
                (given["only"] or "").split(",") if given["only"] else (),
                given["sets"] or (),
                [field.name for field in fields(Run)],
            )
    except (SkunlearnError, TyperException) as error:
        return str(error) or type(error).__name__
    return ""


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page != "README.md" and languages(page) & {"python", "yaml"}]
)
def test_python_and_yaml_run(page: str, desk: Path, quick: None):
    """The README's Python runs in tests/test_api.py."""
    put_down(page, desk)
    names: dict[str, Any] = {"__name__": "page"}
    ran = 0
    for language, text in blocks(page):
        if language == "python":
            exec(compile(text, page, "exec"), names)
        if language == "yaml":
            make_run(read_run(desk / "run.yaml"))
        ran += language in ("python", "yaml")
    assert ran == sum(language in ("python", "yaml") for language, _ in blocks(page)) > 0


def executed(page: str) -> list[list[str]]:
    return [
        words for words in commands(page) if not any(word in " ".join(words) for word in ELSEWHERE)
    ]


@pytest.mark.parametrize("page", [page for page in PAGES if page not in RESULTS and executed(page)])
def test_commands_run(page: str, desk: Path):
    put_down(page, desk)
    for words in [*BEFORE.get(page, []), *executed(page)]:
        name, given = parsed(words)
        budget = {
            "compare": ["--steps", "2", "--batch", "1", "--seeds", "1"],
            "tune": ["--trials", "2"],
        }.get(name, [])
        sets = {
            "compare": [*SMALL, *FEW],
            "run": SMALL + FEW,
            "demo": SMALL + FEW,
            "plan": SMALL,
            "evaluate": [*FEW, SMALL[-1]],
        }.get(name, [])
        if name == "attack":
            sets = ATTACKED + (RELEARN if "relearn" in (given["only"] or "") else [])
            sets += SMALL[-1:] if given["base"] else []
        small = [word for text in sets for word in ("--set", text)]
        small += ["--only", "mirror"] if name == "attack" and not given["only"] else []
        done = CliRunner().invoke(app, [*words, *small, *budget])
        assert done.exit_code == 0, (words, done.output, done.exception)


def test_what_is_looked_at_is_there():
    assert ["demo"] in commands("docs/index.md") and ["demo"] in commands("README.md")
    assert sum(len(executed(page)) for page in PAGES) > 50
    assert sum(language == "python" for page in PAGES for language, _ in blocks(page)) >= 7
    with pytest.raises(Exception, match="no-such-option"):
        parsed(["demo", "--no-such-option"])


def test_the_generated_pages_have_every_command_and_name(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("mkdocs", reason="the extra docs is not installed: make check installs it")
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import docs_reference

    import skunlearn

    page = docs_reference.command_line()
    for name in ("demo", "doctor", "judge check"):
        assert f"# `skunlearn {name}`" in page
    assert "\b" not in page and "\n130  stopped" in page
    assert all(f".{name}\n" in docs_reference.api() for name in skunlearn.__all__)
