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
    folder: Annotated[Path, typer.Argument(help="The folder of an export.")],
    base: Annotated[
        str | None, typer.Option(help="Its base model.", show_default="the one it names")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="The run folder with its task vectors.", show_default=False)
    ] = None,
    allow_code: o.AllowCode = False,
    trust_remote_code: o.TrustRemoteCode = False,
    json: o.Json = False,
) -> None:
    """Check the hashes of an export, and that base + tau gives its weights; exit code 1 when
    something differs."""
    from skunlearn.workflows.verify import verify as check

    checks = check(folder, base, run, terminal_progress())
    outcomes = {one.outcome for one in checks}
    differs = "differs" in outcomes
    if json:
        complete = outcomes <= {"ok"}
        found = {"ok": not differs, "complete": complete, "checks": list(map(asdict, checks))}
        print(json_module.dumps(found))
    else:
        for one in checks:
            print(f"{one.outcome:>11}  {one.name}: {one.detail}")
    if differs:
        sys.exit(1)
