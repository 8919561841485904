"""`skunlearn studio`."""

from pathlib import Path
from typing import Annotated

import typer

from skunlearn.cli import options as o
from skunlearn.cli.progress import terminal_progress


def studio(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    second: Annotated[
        Path | None, typer.Argument(help="A second run of the same base, to compare.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; one that others can reach needs a password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 7860,
    tokens: Annotated[
        int | None,
        typer.Option(
            help="Most tokens of an answer.", min=1, show_default="as in the run's evaluation"
        ),
    ] = None,
    password: Annotated[
        str | None,
        typer.Option(envvar="SKUNLEARN_STUDIO_PASSWORD", help="Password of the page."),
    ] = None,
    judge: o.SameJudge = None,
    allow_code: o.AllowCode = False,
    trust_remote_code: o.TrustRemoteCode = False,
) -> None:
    """Try a run by hand on a local page: base and edited answers side by side at any strength."""
    from skunlearn.studio.server import check_access, gradio, serve

    check_access(host, password)
    gradio()  # a missing extra is reported before a model is loaded
    from skunlearn.studio.session import open_session

    progress = terminal_progress()
    page = serve(open_session(run, second, tokens, progress), host, port, password)
    print(f"studio  {page.local_url}\nstop it with Ctrl-C")
    page.block_thread()
