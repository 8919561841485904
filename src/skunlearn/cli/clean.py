"""`skunlearn clean`."""

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from skunlearn.cli import options as o


def clean(
    run: Annotated[Path, typer.Argument(help="The folder of a run or a comparison.")],
    keep_tau: Annotated[
        bool, typer.Option("--keep-tau", help="Keep the task vectors, to export later.")
    ] = False,
    json: o.Json = False,
) -> None:
    """Remove the harmful material of a run, and keep its numbers and report."""
    from skunlearn.workflows.clean import clean as remove

    done = remove(run, keep_tau)
    if json:
        print(json_module.dumps(done))
        return
    for what in ("removed", "rewritten"):
        for name in done[what]:
            print(f"{what:>9}  {name}")
