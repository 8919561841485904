"""`skunlearn run`."""

import sys
from typing import Annotated

import typer

from skunlearn.cli import options as o
from skunlearn.cli import show


def run(
    file: o.RunFile = None,
    model: o.Model = None,
    forget: o.Forget = None,
    retain: o.Retain = None,
    method: o.MethodName = None,
    refuse: o.Refuse = None,
    preset: o.Preset = None,
    out: o.Out = None,
    sets: o.Sets = None,
    save: o.Save = False,
    gate: o.Gate = False,
    attacks: Annotated[str | None, typer.Option(help="Attack the result too: default or full.")] = None,
    json: o.Json = False,
) -> None:
    """Unlearn, choose the strength, evaluate, check the gates, report."""
    job = o.make(file, model, forget, retain, method, sets, refuse, preset)
    from skunlearn.run import run_job

    results = run_job(job, out, save, show.progress(), attacks)
    show.result(results, json)
    if gate and results["verdict"] == "FAIL":
        sys.exit(1)
