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
from skunlearn.utils.errors import SkunlearnError

STOPPED = 130

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
    """Run the command line; a user's error is one line on standard error and exit code 2."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TQDM_DISABLE", "1")  # the libraries' bars; ours say what matters
    warnings.filterwarnings("ignore", category=FutureWarning)  # libraries about each other
    try:
        code = app(prog_name="skunlearn", standalone_mode=False)
    except TyperException as error:
        _fail(_usage(error))
    except SkunlearnError as error:
        _fail(str(error))
    except OSError as error:
        _fail(
            f"{error.filename or 'the system'}: {error.strerror or error}: check path, rights and free space"
        )
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which is not imported for this
            raise
        _fail(
            "the device is out of memory: compute.accumulate=4, compute.gradient_checkpointing=true or a smaller "
            "train.batch need less; skunlearn plan --device-memory says what fits"
        )
    else:
        if code == STOPPED:  # Ctrl-C, of which typer makes an exit code without a word
            print(
                "\nstopped; the same command goes on from the last finished piece of work",
                file=sys.stderr,
            )
        sys.exit(code)


def _usage(error: TyperException) -> str:
    """What is wrong with the words of a command, and where its options are listed."""
    shown: Any = error  # a click exception, whose type typer keeps for itself
    if type(error).__name__ == "NoArgsIsHelpError":
        shown.show()
        sys.exit(2)
    context = getattr(error, "ctx", None)
    text = shown.format_message().replace("Value error, ", "").rstrip(".")
    return f"{text}: see '{context.command_path if context else 'skunlearn'} --help'"


def _fail(text: str) -> None:
    print("skunlearn: " + " ".join(text.split()), file=sys.stderr)
    sys.exit(2)
