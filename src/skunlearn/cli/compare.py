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
            help="Entries, as in sku,negation or sku-hard:method.pd_mode=diverge;edit.alpha=1.",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="YAML file of entries (name: settings).", show_default=False)
    ] = None,
    seeds: Annotated[
        int, typer.Option(help="Runs of each entry that does not set seeds itself.")
    ] = 1,
    budget: Annotated[
        Literal["equal-steps", "equal-time"],
        typer.Option(help="equal-steps, or equal-time: as many seconds as the first entry takes."),
    ] = "equal-steps",
    steps: Annotated[
        int, typer.Option(help="Optimiser steps of a run, over all its vectors.")
    ] = 30,
    batch: Annotated[int, typer.Option(help="Rows of each set per step.")] = 4,
    model: o.Model = None,
    forget: o.Forget = None,
    retain: o.Retain = None,
    sets: o.Sets = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to.", show_default="comparisons/MODEL")
    ] = None,
    json: o.Json = False,
) -> None:
    """Run several methods alike and write one table: harm, over-refusal, usefulness, cost."""
    from skunlearn.report.comparison import markdown
    from skunlearn.workflows.comparison.budget import Budget
    from skunlearn.workflows.comparison.compare import compare as compared
    from skunlearn.workflows.comparison.entries import read_entries

    common = o.given(model=model, forget=forget, retain=retain)
    entries = read_entries(methods, file, common, sets or [], seeds)
    table = compared(entries, Budget(budget, steps, batch), out, terminal_progress())
    if json:
        print(json_module.dumps(table))
    else:
        print(markdown(table))
        names = "compare.html, compare.md, compare.csv, compare.tex, compare.json"
        print(f"in {table['folder']}: {names}")
