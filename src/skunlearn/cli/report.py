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
            help="The folder of a run, an evaluation or attacks (results.json, attacks.json)."
        ),
    ],
    figure: Annotated[
        Path | None,
        typer.Option(
            help="Also write the main figure, for a paper: .pdf, .png or .svg.", show_default=False
        ),
    ] = None,
    json: o.Json = False,
) -> None:
    """Write the page of a run again, with later attacks, and its main figure."""
    from skunlearn.workflows.report import report_again

    written = list(map(str, report_again(run, figure)))
    if json:
        print(json_module.dumps({"written": written}))
        return
    for path in written:
        print(f"written  {path}")
