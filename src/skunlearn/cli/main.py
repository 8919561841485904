"""The `skunlearn` command."""

import os
import sys
import warnings
from typing import Any

import typer
from typer.exceptions import TyperException

from skunlearn.cli import (
    attack,
    clean,
    compare,
    demo,
    doctor,
    evaluate,
    export,
    judge,
    plan,
    push,
    report,
    run,
    start,
    studio,
    tune,
    verify,
)
from skunlearn.utils.errors import SkunlearnError, is_out_of_memory
from skunlearn.utils.printable import plain_streams, printable
from skunlearn.utils.registry import place_in_own_code

STOPPED = 130  # exit code after Ctrl-C
OUT_OF_MEMORY = (
    "the device is out of memory: compute.accumulate=4, compute.gradient_checkpointing=true or a "
    "smaller train.batch need less; skunlearn plan --device-memory shows what fits"
)

app = typer.Typer(
    name="skunlearn",
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.callback(invoke_without_command=True, epilog=start.EXIT_CODES)(start.start)
app.command("demo")(demo.demo)
app.command("run")(run.run)
app.command("plan")(plan.plan)
app.command("evaluate")(evaluate.evaluate)
app.command("tune")(tune.tune)
app.command("compare")(compare.compare)
app.command("attack")(attack.attack)
app.command("report")(report.report)
app.command("export")(export.export)
app.command("verify")(verify.verify)
app.command("push")(push.push)
app.command("studio")(studio.studio)
app.command("clean")(clean.clean)
app.command("doctor")(doctor.doctor)
app.add_typer(judge.app, name="judge")


def main() -> None:
    """Run the command line, whose output a terminal cannot take for orders."""
    with plain_streams():
        _run()


def _run() -> None:
    """Run a command.

    An error that a user can fix is one line on standard error and exit code 2. Any other error is
    a bug in skunlearn and keeps its traceback, unless it came from a file of the user's own.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TQDM_DISABLE", "1")  # bars of libraries; skunlearn has its own
    warnings.filterwarnings("ignore", category=FutureWarning)  # of libraries about each other
    try:
        code = app(prog_name="skunlearn", standalone_mode=False)
    except TyperException as error:
        _fail(_usage(error))
    except SkunlearnError as error:
        _fail(str(error))
    except OSError as error:
        where = error.filename or "the system"
        _fail(f"{where}: {error.strerror or error}: check path, rights and free space")
    except Exception as error:
        if is_out_of_memory(error):
            _fail(OUT_OF_MEMORY)
        place = place_in_own_code(error)
        if not place:
            raise
        _fail(f"{place}: {type(error).__name__}: {error}: mend this file, which is your own")
    else:
        if code == STOPPED:  # typer turns Ctrl-C into an exit code without a message
            message = "stopped; the same command goes on from the last finished piece of work"
            print(f"\n{message}", file=sys.stderr)
        sys.exit(code)


def _usage(error: TyperException) -> str:
    """Return what is wrong with the words of a command, and where its options are listed."""
    click_error: Any = error  # typer does not export the type of these exceptions
    if type(error).__name__ == "NoArgsIsHelpError":
        click_error.show()
        sys.exit(2)
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "skunlearn"
    text = click_error.format_message().replace("Value error, ", "").rstrip(".")
    return f"{text}: see '{command} --help'"


def _fail(text: str) -> None:
    """Print the text as one line and exit with code 2."""
    print("skunlearn: " + printable(" ".join(text.split())), file=sys.stderr)
    sys.exit(2)
