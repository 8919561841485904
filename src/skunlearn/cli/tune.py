"""`skunlearn tune`."""

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from skunlearn.cli import options as o
from skunlearn.cli import tables
from skunlearn.cli.progress import terminal_progress


def tune(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    trials: Annotated[
        int, typer.Option(help="Settings to try, including those of earlier calls.")
    ] = 40,
    minutes: Annotated[
        float | None,
        typer.Option(help="Stop after this time; the same command continues the search."),
    ] = None,
    judge: o.SameJudge = None,
    allow_code: o.AllowCode = False,
    trust_remote_code: o.TrustRemoteCode = False,
    json: o.Json = False,
) -> None:
    """Search strength, scales and filters of a trained run on validation prompts, without
    retraining."""
    from skunlearn.workflows.tuning.tune import SearchOptions, tune

    found = tune(run, SearchOptions(trials, minutes), terminal_progress())
    if json:
        print(json_module.dumps(found))
    else:
        tables.tuned(found)
