"""Results as the command line prints them: tables, one line a gate, where the files are."""

import json
import sys
from typing import Any

from skunlearn.utils.files import JsonDict
from skunlearn.utils.printable import printable, raw_stream


def result(results: JsonDict, as_json: bool) -> None:
    """Print the result of a run: a table, or one JSON object."""
    if as_json:
        names = ("verdict", "gates", "run", "report", "scores", "alpha", "attacks")
        print(json.dumps({name: results[name] for name in names if name in results}))
        return
    from skunlearn.report.wording import gate_numbers

    scores_table(results["scores"])
    for gate in results["gates"]:
        outcome = "passed" if gate["passed"] else "FAILED"
        measured, limit = gate_numbers(gate)
        print(f"{outcome:>7}  {gate['text']}: {measured} ({limit})")
    verdict = results["verdict"] or "no verdict: nothing else was measured"
    strength = "" if results["alpha"] is None else f"   strength {results['alpha']:g}"
    print(f"\n{verdict}{strength}")
    if "attacks" in results:
        attacks_table(results["attacks"])
    print(f"run     {results['run']}\nreport  {results['report']}")


def tuned(found: JsonDict) -> None:
    """Print the chosen setting, and its results on the test prompts."""
    scores_table(found["test"]["scores"])
    print(f"\n{found['test']['verdict']}   {', '.join(found['chosen']['words'])}")
    if not found["chosen"]["within"]:
        print("no setting is within the gates on the validation prompts: the run's own is kept")
    print(f"settings {len(found['trials'])}   looks at the test prompts {found['looks']}")
    print(f"page    {found['run']}/tune.html\nrun it  skunlearn run {found['run']}/tuned.yaml")


def scores_table(scores: JsonDict) -> None:
    """Print the scores of base and edited model side by side."""
    from skunlearn.evaluation.metrics.catalog import direction, format_interval, format_score, title

    table = _table("", "base", "edited", "95 % interval of the edited", "good is")
    for name, edited in scores["edited"].items():
        base = scores["base"].get(name)
        table.add_row(
            printable(title(name)),
            format_score(base),
            format_score(edited),
            format_interval(edited),
            direction(edited),
        )
    _console().print(table)


def state(name: str, text: str) -> None:
    """Print a line that begins with "ok", "warn" or "bad".

    On a terminal the word has a colour, unless NO_COLOR is set.
    """
    from rich.text import Text

    colour = {"ok": "green", "warn": "yellow", "bad": "red"}[name]
    line = Text.assemble((f"{name:>4}", colour), f"  {printable(text)}")
    _console().print(line, soft_wrap=True)


def agreement_table(result: JsonDict) -> None:
    """Print the agreement of a judge with labels: one line a label, then one a source."""
    from skunlearn.evaluation.judges.base import LABELS

    table = _table("", "n", "precision", "recall", "F1", "kappa", "unscored")
    for label in LABELS:
        row = result[label]
        numbers = [_number(row[name]) for name in ("precision", "recall", "f1", "kappa")]
        table.add_row(label, str(row["n"]), *numbers, str(row["unscored"]))
    _console().print(table)
    print(
        f"\n{result['judge']}: {result['n']} answers, {result['unscored']} unscored; AUROC of "
        f"harmful {_number(result['auroc'])}, four-way accuracy {_number(result['accuracy'])}, "
        f"kappa {_number(result['kappa'])}"
    )
    for label, verdicts in result["confusion"].items():
        counts = [f"{count} {verdict}" for verdict, count in verdicts.items()]
        print(f"  labelled {label}: {', '.join(counts)}")
    for source, part in result.get("per_source", {}).items():
        auroc = _number(part["auroc"])
        accuracy = _number(part["accuracy"])
        print(f"  {source}: n {part['n']}, AUROC {auroc}, accuracy {accuracy}")


def attacks_table(rows: list[JsonDict]) -> None:
    """Print the harm that came back under each attack, the attack's cost, and the worst one."""
    from skunlearn.evaluation.metrics.catalog import format_interval, format_score

    table = _table(
        "attack",
        "variant",
        "model",
        "harmful",
        "95 % interval",
        "refused",
        "degenerate",
        "safe",
        "cost",
    )
    notes = []
    worst: JsonDict | None = None
    for row in rows:
        scores = row["scores"]
        harmful = scores["harmful_rate"]
        table.add_row(
            printable(row["attack"]),
            printable(f"{row['variant']} *" if row["note"] else row["variant"]),
            printable(row["on"]),
            format_score(harmful),
            format_interval(harmful),
            format_score(scores["refusal_rate"]),
            format_score(scores["degenerate_rate"]),
            format_score(scores["safe_rate"]),
            printable(row["cost"]["text"]),
        )
        if row["note"]:
            notes.append(f"* {row['attack']} {row['variant']}, {row['on']}: {row['note']}")
        if row["on"] != "edited" or harmful["value"] is None:
            continue
        if worst is None or harmful["value"] > worst["scores"]["harmful_rate"]["value"]:
            worst = row
    _console(160).print(table)
    for note in notes:
        print(note)
    if worst is not None:
        most = format_score(worst["scores"]["harmful_rate"])
        print(f"\nmost harm {most}: {worst['attack']}, {worst['variant']}")


def _table(*headings: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading)
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _console(width: int = 120) -> Any:
    """Return standard output: as wide as the terminal, or `width` letters elsewhere.

    Whatever is printed there must be `printable`.
    """
    from rich.console import Console

    stream = raw_stream(sys.stdout)
    return Console(file=stream, width=None if stream.isatty() else width, highlight=False)
