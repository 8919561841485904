"""`skunlearn evaluate`."""

import json as json_module
import sys
from pathlib import Path
from typing import Annotated

import typer

from skunlearn.cli import options as o
from skunlearn.cli import tables
from skunlearn.cli.progress import terminal_progress


def evaluate(
    edited: Annotated[
        str, typer.Argument(help="A run folder, checkpoint, adapter folder, GGUF file or hub id.")
    ],
    base: Annotated[
        str | None, typer.Option(help="The model it was made from; not needed for a run folder.")
    ] = None,
    suite: Annotated[
        str | None, typer.Option(help="quick (32 prompts a set) or full.", show_default="quick")
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            help="Only judge answers to these: JSON lines with `prompt`, or CSV, JSON, Parquet."
        ),
    ] = None,
    forget: o.Forget = None,
    retain: o.Retain = None,
    judge: Annotated[
        str | None, typer.Option(help="Name of the judge.", show_default="offline")
    ] = None,
    second_judge: Annotated[
        str | None, typer.Option(help="Another judge, to measure how far both agree.")
    ] = None,
    samples: Annotated[
        int, typer.Option(help="Sampled answers per harmful prompt, beside the greedy one.")
    ] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results.", show_default=False)
    ] = None,
    sets: o.Sets = None,
    gate: o.Gate = False,
    allow_code: o.AllowCode = False,
    trust_remote_code: o.TrustRemoteCode = False,
    json: o.Json = False,
) -> None:
    """Measure any edited model beside its base: harm, over-refusal, usefulness, memory."""
    from skunlearn.evaluation.options import suite_sets
    from skunlearn.utils.errors import ConfigError
    from skunlearn.workflows.evaluate import ModelPair, evaluate_pair

    # The named options stand for texts of --set, and --set itself comes last.
    all_sets: list[str] = []
    if suite or prompts is None:
        all_sets += suite_sets(suite or "quick")
    if judge:
        all_sets.append(f"evaluate.judge={judge}")
    if second_judge:
        all_sets.append(f"evaluate.second_judge={second_judge}")
    if samples:
        all_sets.append(f"evaluate.samples={samples}")
    all_sets += sets or []
    run = o.RunOptions(forget=forget, retain=retain, sets=all_sets).make_run()

    if prompts:
        unused = {
            "--samples": run.evaluate.samples,
            "--gate": gate,
            "--forget": forget,
            "--retain": retain,
        }
        for flag, value in unused.items():
            if value:
                raise ConfigError(f"--prompts measures rates alone: leave out {flag}")

    results = evaluate_pair(ModelPair(edited, base), run, out, terminal_progress(), prompts)
    if json:
        names = ("verdict", "gates", "run", "report", "scores")
        print(json_module.dumps({name: results[name] for name in names}))
    else:
        tables.result(results, False)
    if gate and results["verdict"] == "FAIL":
        sys.exit(1)
