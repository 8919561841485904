"""`skunlearn evaluate`."""

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from skunlearn.cli import options as o
from skunlearn.cli import show


def evaluate(
    edited: Annotated[str, typer.Argument(help="The edited model: folder, GGUF file or hub id.")],
    base: Annotated[str, typer.Option(help="The model it was made from.")],
    prompts: Annotated[Path, typer.Option(help="File of prompts: JSON lines with `prompt`, or CSV, JSON, Parquet.")],
    sets: o.Sets = None,
    json: o.Json = False,
) -> None:
    """Judge the answers of two models to any prompts."""
    job = o.make(None, None, None, None, None, sets)
    from skunlearn.data.load import read_prompts
    from skunlearn.evaluate import judged_rates
    from skunlearn.lm.model import load
    from skunlearn.run import as_tree

    examples, progress = read_prompts(prompts), show.progress()
    scores = {
        who: as_tree(judged_rates(load(name, job.load, progress), examples, job.evaluate, who, progress))
        for who, name in (("base", base), ("edited", edited))
    }
    if json:
        print(json_module.dumps({"verdict": None, "gates": [], "run": None, "report": None, "scores": scores}))
    else:
        show.scores_table(scores)
