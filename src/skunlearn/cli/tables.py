"""How the command line shows work and results: bars on a terminal, plain lines in a pipe; always
standard error."""

import json
import sys
from typing import Any

from skunlearn.utils.files import JsonDict


def result(results: JsonDict, as_json: bool) -> None:
    """The result of a run: a table, or one JSON object on standard output."""
    if as_json:
        names = ("verdict", "gates", "run", "report", "scores", "alpha", "attacks")
        print(json.dumps({name: results[name] for name in names if name in results}))
        return
    from skunlearn.report.wording import gate_numbers

    scores_table(results["scores"])
    for gate in results["gates"]:
        measured, limit = gate_numbers(gate)
        print(
            f"{'passed' if gate['passed'] else 'FAILED':>7}  {gate['text']}: {measured} ({limit})"
        )
    strength = "" if results["alpha"] is None else f"   strength {results['alpha']:g}"
    print(f"\n{results['verdict'] or 'no verdict: nothing else was measured'}{strength}")
    if "attacks" in results:
        attacks_table(results["attacks"])
    print(f"run     {results['run']}\nreport  {results['report']}")


def tuned(found: JsonDict) -> None:
    """The chosen setting, and what it does to the test prompts."""
    scores_table(found["test"]["scores"])
    print(f"\n{found['test']['verdict']}   {', '.join(found['chosen']['words'])}")
    if not found["chosen"]["within"]:
        print("no setting is within the gates on the validation prompts: the run's own is kept")
    print(f"settings {len(found['trials'])}   looks at the test prompts {found['looks']}")
    print(f"page    {found['run']}/tune.html\nrun it  skunlearn run {found['run']}/tuned.yaml")


def scores_table(scores: JsonDict) -> None:
    """Base and edited side by side."""
    from rich.table import Table

    from skunlearn.evaluation.metrics.catalog import direction, format_interval, format_score, title

    table = Table(box=None, pad_edge=False)
    for heading in ("", "base", "edited", "95 % interval of the edited", "good is"):
        table.add_column(heading)
    for name, edited in scores["edited"].items():
        base = scores["base"].get(name)
        table.add_row(
            title(name),
            format_score(base),
            format_score(edited),
            format_interval(edited),
            direction(edited),
        )
    _console().print(table)


def state(name: str, text: str) -> None:
    """One line behind "ok", "warn" or "bad", in its colour on a terminal (not with NO_COLOR)."""
    from rich.text import Text

    colour = {"ok": "green", "warn": "yellow", "bad": "red"}[name]
    _console().print(Text.assemble((f"{name:>4}", colour), f"  {text}"), soft_wrap=True)


def agreement_table(result: JsonDict) -> None:
    """How a judge did: one line a label, then one a source."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("", "n", "precision", "recall", "F1", "kappa", "unscored"):
        table.add_column(heading)
    for label in ("harmful", "refused", "degenerate", "safe"):
        row = result[label]
        numbers = [_number(row[name]) for name in ("precision", "recall", "f1", "kappa")]
        table.add_row(label, str(row["n"]), *numbers, str(row["unscored"]))
    _console().print(table)
    print(
        f"\n{result['judge']}: {result['n']} answers, {result['unscored']} unscored; AUROC of harmful "
        f"{_number(result['auroc'])}, four-way accuracy {_number(result['accuracy'])}, "
        f"kappa {_number(result['kappa'])}"
    )
    for label, verdicts in result["confusion"].items():
        print(
            f"  labelled {label}: "
            + ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
        )
    for source, part in result.get("per_source", {}).items():
        print(
            f"  {source}: n {part['n']}, AUROC {_number(part['auroc'])}, accuracy {_number(part['accuracy'])}"
        )


def attacks_table(rows: list[JsonDict]) -> None:
    """What came back under each attack, and what it cost."""
    from rich.table import Table

    from skunlearn.evaluation.metrics.catalog import format_interval, format_score

    table = Table(box=None, pad_edge=False)
    for heading in (
        "attack",
        "form",
        "on",
        "harmful",
        "95 % interval",
        "refused",
        "degenerate",
        "safe",
        "cost",
    ):
        table.add_column(heading)
    for row in rows:
        harmful, *others = (
            row["scores"][f"{name}_rate"] for name in ("harmful", "refusal", "degenerate", "safe")
        )
        rates = (format_score(harmful), format_interval(harmful), *map(format_score, others))
        mark = " *" if row["note"] else ""
        table.add_row(row["attack"], row["variant"] + mark, row["on"], *rates, row["cost"]["text"])
    _console(160).print(table)
    for row in rows:
        if row["note"]:
            print(f"* {row['attack']} {row['variant']}, {row['on']}: {row['note']}")
    edited = [
        row
        for row in rows
        if row["on"] == "edited" and row["scores"]["harmful_rate"]["value"] is not None
    ]
    if edited:
        worst = max(edited, key=lambda row: row["scores"]["harmful_rate"]["value"])
        print(
            f"\nmost harm {format_score(worst['scores']['harmful_rate'])}: {worst['attack']}, {worst['variant']}"
        )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _console(width: int = 120) -> Any:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else width, highlight=False)
