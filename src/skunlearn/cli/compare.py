"""`skunlearn compare`."""

import json as json_module
from pathlib import Path
from typing import Annotated, Literal

import typer

from skunlearn.cli import options as o
from skunlearn.cli.progress import terminal_progress


def compare(
    methods: Annotated[
        str | None,
        typer.Option(
            help="Entries: sku,negation or sku-hard:method.pd_mode=diverge;edit.alpha=1.",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="Entries as YAML, name: settings.", show_default=False)
    ] = None,
    seeds: Annotated[
        int, typer.Option(help="Runs of each entry that says nothing of its own.")
    ] = 1,
    budget: Annotated[
        Literal["equal-steps", "equal-time"],
        typer.Option(help="equal-steps, or equal-time: the first entry's seconds."),
    ] = "equal-steps",
    steps: Annotated[int, typer.Option(help="Optimiser steps a run, over all its vectors.")] = 30,
    batch: Annotated[int, typer.Option(help="Rows of each set in a step.")] = 4,
    model: o.Model = None,
    forget: o.Forget = None,
    retain: o.Retain = None,
    sets: o.Sets = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder.", show_default="comparisons/MODEL")
    ] = None,
    json: o.Json = False,
) -> None:
    """Run methods under one harness and write one table: harm, over-refusal, usefulness, cost."""
    from skunlearn.report.comparison import markdown
    from skunlearn.workflows.comparison.budget import Budget
    from skunlearn.workflows.comparison.compare import compare as compared
    from skunlearn.workflows.comparison.entries import read_entries

    common = {
        k: v for k, v in (("model", model), ("forget", forget), ("retain", retain)) if v is not None
    }
    entries = read_entries(methods, file, common, sets or [], seeds)
    table = compared(entries, Budget(budget, steps, batch), out, terminal_progress())
    if json:
        print(json_module.dumps(table))
    else:
        print(markdown(table))
        print(
            f"in {table['folder']}: compare.html, compare.md, compare.csv, compare.tex, compare.json"
        )
