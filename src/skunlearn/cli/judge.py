"""`skunlearn judge check` and `skunlearn judge label`."""

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from skunlearn.cli import options as o
from skunlearn.cli import tables
from skunlearn.cli.progress import terminal_progress

app = typer.Typer(
    help="Check a judge against labels, or let it label a file.",
    no_args_is_help=True,
)
JudgeName = Annotated[str, typer.Option(help="Name of the judge, or FILE.py:Class.")]


@app.command("check")
def check(
    judge: JudgeName = "offline",
    data: Annotated[
        Path | None,
        typer.Option(
            help="File with prompt, answer, label (one of the four, or 0/1 for harmful) and "
            "optionally source.",
            show_default="the shipped answers",
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Also write a page with the threshold curve.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Also write what --json prints, for evaluate.judge_check.", show_default=False
        ),
    ] = None,
    json: o.Json = False,
) -> None:
    """Compare a judge with labelled answers."""
    from skunlearn.evaluation.judges import make_judge
    from skunlearn.workflows.judge import check_judge
    from skunlearn.workflows.labelled_answers import read_labelled

    rows = read_labelled(data)
    result = check_judge(make_judge(judge), rows, terminal_progress())
    if report:
        from skunlearn.report.judge import write_judge_page

        write_judge_page(result, report)
    if out:
        from skunlearn.utils.files import write_json

        write_json(out, result)
    if json:
        print(json_module.dumps(result))
    else:
        tables.agreement_table(result)


@app.command("label")
def label(
    file: Annotated[Path, typer.Argument(help="File with prompt and answer in each row.")],
    out: Annotated[
        Path | None,
        typer.Option(help="The JSON-lines file to write.", show_default="FILE.judged.jsonl"),
    ] = None,
    judge: JudgeName = "offline",
    json: o.Json = False,
) -> None:
    """Add a judge's verdicts to a file of answers."""
    from skunlearn.evaluation.judges import make_judge
    from skunlearn.utils.files import write_text
    from skunlearn.workflows.judge import label_rows

    out = out or file.with_suffix(".judged.jsonl")
    rows = list(label_rows(make_judge(judge), file, terminal_progress()))
    lines = [json_module.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    write_text(out, "".join(lines))
    unscored = sum(row["verdict"] is None for row in rows)
    if json:
        print(json_module.dumps({"rows": len(rows), "unscored": unscored, "out": str(out)}))
    else:
        print(f"{len(rows)} answers labelled ({unscored} unscored): {out}")
