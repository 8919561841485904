"""`skunlearn verify`."""

import json as json_module
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from skunlearn.cli import options as o
from skunlearn.cli.progress import terminal_progress


def verify(
    folder: Annotated[Path, typer.Argument(help="An export.")],
    base: Annotated[
        str | None, typer.Option(help="Its base.", show_default="the one it names")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="The run folder with its task vectors.", show_default=False)
    ] = None,
    json: o.Json = False,
) -> None:
    """Check an export's hashes, and that base + tau gives its weights; exit code 1 when something
    differs."""
    from skunlearn.workflows.verify import verify as check

    checks = check(folder, base, run, terminal_progress())
    differs = any(found.outcome == "differs" for found in checks)
    if json:
        whole = all(found.outcome == "ok" for found in checks)
        print(
            json_module.dumps(
                {
                    "ok": not differs,
                    "complete": whole,
                    "checks": [asdict(found) for found in checks],
                }
            )
        )
    else:
        for found in checks:
            print(f"{found.outcome:>11}  {found.name}: {found.detail}")
    if differs:
        sys.exit(1)
