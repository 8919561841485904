"""`skunlearn attack`."""

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from skunlearn.cli import options as o
from skunlearn.cli import tables
from skunlearn.cli.progress import terminal_progress


def attack(
    target: Annotated[
        str, typer.Argument(help="The folder of a finished run, or an edited model.")
    ],
    base: Annotated[
        str | None, typer.Option(help="The model that the edited one was made from.")
    ] = None,
    forget: o.Forget = None,
    suite: Annotated[str, typer.Option(help="Which attacks: default or full.")] = "default",
    only: Annotated[
        str | None,
        typer.Option(help="Only these attacks, separated by commas.", show_default=False),
    ] = None,
    sets: o.Sets = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to.", show_default="the run folder")
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(help="A judge other than the run's (with --out).", show_default=False),
    ] = None,
    allow_code: o.AllowCode = False,
    trust_remote_code: o.TrustRemoteCode = False,
    json: o.Json = False,
) -> None:
    """Attack an edited model (relearn, quantise, jailbreak, mirror): how much harm comes back, at
    what cost."""
    names = [name.strip() for name in (only or "").split(",") if name.strip()]
    from skunlearn.workflows.attack import attack_job
    from skunlearn.workflows.edited_model import EditSource

    results = attack_job(
        EditSource(target, base, forget),
        suite=suite,
        only=names,
        sets=sets or (),
        out=out,
        judge=judge,
        progress=terminal_progress(),
    )
    if json:
        print(json_module.dumps(results))
    else:
        tables.attacks_table(results["attacks"])
        print(f"judge     {results['judge']['name']}: {results['judge']['text']}")
        print(f"written   {results['run']}/attacks.json")
        print(f"report    {results['report']}")
