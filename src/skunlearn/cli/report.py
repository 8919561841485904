"""`skunlearn report`."""

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from skunlearn.cli import options as o


def report(
    run: Annotated[
        Path,
        typer.Argument(
            help="A folder with results.json or attacks.json: of a run, an evaluation, attacks."
        ),
    ],
    figure: Annotated[
        Path | None,
        typer.Option(
            help="Also the main figure, for a paper: .pdf, .png or .svg.", show_default=False
        ),
    ] = None,
    json: o.Json = False,
) -> None:
    """Write a run's page again, with the attacks made since, and its main figure."""
    from skunlearn.workflows.report import report_again

    written = [str(path) for path in report_again(run, figure)]
    print(
        json_module.dumps({"written": written})
        if json
        else "\n".join(f"written  {path}" for path in written)
    )
