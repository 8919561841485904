"""A hook of mkdocs: the pages of the command line and of the API, made from the code at every
build."""

from collections.abc import Iterable
from textwrap import dedent
from typing import Any

import typer
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click

import skunlearn
from skunlearn.cli.main import app
from skunlearn.cli.start import EXIT_CODES

EXTEND = (  # what a method, filter, judge, metric or attack of one's own is made of
    "skunlearn.methods.base.Method",
    "skunlearn.methods.base.Scored",
    "skunlearn.task_vectors.filters.base.Filter",
    "skunlearn.task_vectors.filters.base.Context",
    "skunlearn.evaluation.judges.base.Judge",
    "skunlearn.evaluation.judges.base.Verdict",
    "skunlearn.evaluation.metrics.base.Score",
    "skunlearn.evaluation.metrics.base.Subject",
    "skunlearn.attacks.base.Attack",
    "skunlearn.attacks.base.Situation",
    "skunlearn.attacks.base.Target",
)


def on_files(files: Files, config: Any) -> Files:
    """Add both pages."""
    files.append(File.generated(config, "reference/cli.md", content=command_line()))
    files.append(File.generated(config, "reference/api.md", content=api()))
    return files


def command_line() -> str:
    """Every command with its arguments and options."""
    command = typer.main.get_command(app)
    page = get_docs_for_click(
        obj=command, ctx=typer.Context(command), name="skunlearn", title="Command line"
    )
    codes = EXIT_CODES.strip()
    lines = codes.removeprefix("\b\nExit codes:\n")  # \b tells click to leave lines alone
    return page.replace(codes, f"**Exit codes**:\n\n```text\n{dedent(lines)}\n```")


def api() -> str:
    """Every public name, then what extensions are made of."""
    public = (f"{skunlearn._NAMES[name]}.{name}" for name in skunlearn.__all__)
    return f"# API\n\n## skunlearn\n\n{_entries(public)}\n## For extensions\n\n{_entries(EXTEND)}"


def _entries(names: Iterable[str]) -> str:
    return "".join(f"::: {name}\n\n" for name in names)
