"""`skunlearn push`."""

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from skunlearn.cli import options as o
from skunlearn.cli.progress import terminal_progress


def push(
    folder: Annotated[Path, typer.Argument(help="The folder of an export.")],
    repo: Annotated[str, typer.Argument(help="The hub repository as organisation/name.")],
    despite_fail: Annotated[
        bool, typer.Option("--despite-fail", help="Upload even if the gates were not passed.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list what would be uploaded.")
    ] = False,
    json: o.Json = False,
) -> None:
    """Upload an export to the hub; a new repository is private until you make it public there."""
    from skunlearn.workflows.push import push as upload

    done = upload(folder, repo, terminal_progress(), despite_fail, dry_run)
    if json:
        print(json_module.dumps(done))
        return
    what = "uploaded" if done["uploaded"] else "would be uploaded"
    for name in done["files"]:
        print(f"{what:>17}  {name}")
    for name in done["left_out"]:
        print(f"{'left out':>17}  {name}")
