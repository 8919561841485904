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
        str | None, typer.Option(help="The model it was made from; a run folder knows it.")
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
        str | None, typer.Option(help="Another judge, to tell their agreement.")
    ] = None,
    samples: Annotated[
        int, typer.Option(help="Sampled answers a harmful prompt, beside the greedy one.")
    ] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results.", show_default=False)
    ] = None,
    sets: o.Sets = None,
    gate: o.Gate = False,
    json: o.Json = False,
) -> None:
    """Measure any edited model beside its base: harm, over-refusal, usefulness, memory."""
    from skunlearn.evaluation.evaluator import suite_sets
    from skunlearn.utils.errors import ConfigError
    from skunlearn.workflows.evaluate import ModelPair, evaluate_pair

    named = suite_sets(suite or "quick") if prompts is None or suite else []
    named += [f"evaluate.judge={judge}"] if judge else []
    named += [f"evaluate.second_judge={second_judge}"] if second_judge else []
    named += [f"evaluate.samples={samples}"] if samples else []
    job = o.make(None, None, forget, retain, None, [*named, *(sets or [])])
    pair = ModelPair(edited, base)
    unread = {
        "--samples": job.evaluate.samples,
        "--gate": gate,
        "--forget": forget,
        "--retain": retain,
    }
    if prompts and (given := [flag for flag, value in unread.items() if value]):
        raise ConfigError(f"--prompts asks for rates alone: leave out {given[0]}")
    results = evaluate_pair(pair, job, out, terminal_progress(), prompts)
    if json:
        names = ("verdict", "gates", "run", "report", "scores")
        print(json_module.dumps({name: results[name] for name in names}))
    else:
        tables.result(results, False)
    if gate and results["verdict"] == "FAIL":
        sys.exit(1)
