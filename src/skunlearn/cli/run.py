"""`skunlearn run`."""

import sys
from typing import Annotated

import typer

from skunlearn.cli import options as o
from skunlearn.cli import tables
from skunlearn.cli.progress import terminal_progress


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
    attacks: Annotated[
        str | None, typer.Option(help="Attack the edited model too: default or full.")
    ] = None,
    json: o.Json = False,
    processes: o.Processes = 1,
    judge: o.SameJudge = None,
    allow_code: o.AllowCode = False,
    trust_remote_code: o.TrustRemoteCode = False,
) -> None:
    """Unlearn, choose the strength, evaluate, check the gates, write the report."""
    from skunlearn.training.launch import launch, process_group, started
    from skunlearn.workflows.run import run_job
    from skunlearn.workflows.unlearn import serve_training

    if processes > 1 and not started():
        sys.exit(launch(processes))
    with process_group() as is_first:
        if not is_first:  # the other processes only take part in the training
            serve_training()
            return
        if judge:
            sets = [f"evaluate.judge={judge}", *(sets or [])]
        if file and file.is_dir():
            out = out or file  # a run folder goes on where it is
        options = o.RunOptions(file, model, forget, retain, method, sets, refuse, preset)
        results = run_job(options.make_run(), out, save, terminal_progress(), attacks)
    tables.result(results, json)
    if gate and results["verdict"] == "FAIL":
        sys.exit(1)
