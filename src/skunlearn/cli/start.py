"""`skunlearn` without a command: what to do next."""

from importlib.metadata import version
from typing import Annotated

import typer

from skunlearn.utils.printable import plain_streams

FIRST_STEPS = """\
Make a language model forget harmful knowledge and keep the rest, with proof.

  try it          skunlearn demo
                  The whole job on a small built-in model; downloads 173 MB once.
  your own data   skunlearn run --model MODEL --forget FILE --retain FILE --save
                  skunlearn plan with the same options shows first what it would do.
  the result      skunlearn attack RUN, export RUN, studio RUN
                  RUN is the folder that run or demo printed.
  your set-up     skunlearn doctor
  the docs        skunlearn COMMAND --help, and docs/index.md in the source
                  make docs builds pages from the docs.
"""
EXIT_CODES = """\b
Exit codes:
  0    done
  1    a verdict: FAIL with --gate, verify found a difference, doctor found something wrong;
       with a traceback: a bug in skunlearn
  2    something in the input cannot be used; one line says what, where and what to do
  130  stopped by Ctrl-C; the same command continues
"""


def _version(is_given: bool) -> None:
    """Print the version and exit, when --version was given."""
    if is_given:
        print(f"skunlearn {version('skunlearn')}")
        raise typer.Exit


def start(
    context: typer.Context,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Make a language model forget harmful knowledge and keep the rest, with proof."""
    context.with_resource(plain_streams())
    if context.invoked_subcommand is not None:
        return
    print(FIRST_STEPS)
    group = context.command
    assert isinstance(group, typer.core.TyperGroup)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None  # it was listed
        print(f"  {name:<9} {command.get_short_help_str(105)}")
