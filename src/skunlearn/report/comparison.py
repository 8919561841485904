"""compare.json -> Markdown, CSV, LaTeX, and one self-contained page."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from skunlearn.evaluation.metrics.catalog import CATALOG, HARMFUL_UNSEEN, RETAIN_KL, meaning
from skunlearn.report.plotly_figures import pareto_figure
from skunlearn.report.run_page import rendered
from skunlearn.utils.files import JsonDict, write_text

METRIC_COLUMNS = (  # rows of the catalogue
    HARMFUL_UNSEEN,
    "harmful_rate_seen",
    "refusal_rate_unseen",
    "degenerate_rate_unseen",
    "degenerate_rate_retain",
    "refusal_rate_retain",
    "over_refusal_rate",
    RETAIN_KL,
)
OTHER_HEADINGS = {
    "perplexity_ratio": "perplexity ratio",
    "retain_similarity": CATALOG["retain_similarity"].heading,
    "training_seconds": "training, s",
    "total_seconds": "in all, s",
    "peak_resident_mib": "peak resident memory of the whole process, MiB",
}
HEADINGS = {name: CATALOG[name].heading for name in METRIC_COLUMNS} | OTHER_HEADINGS
RATES = [name for name in METRIC_COLUMNS if CATALOG[name].unit == "rate"]
INTERVALS = (
    "Means over seeds with 95 % intervals. Rates: bootstrap over prompts and seeds, no narrower than Wilson's interval "
    "over the prompts; changes: bootstrap over prompts and seeds. The other columns: Student's t over seeds; with one "
    "seed the run's own interval over rows, where it has one."
)


def write_comparison(table: JsonDict, folder: Path) -> None:
    """Write `compare.md`, `.csv`, `.tex` and `.html`, each whole or not at all."""
    for suffix, made in (
        ("md", markdown),
        ("csv", comma_separated),
        ("tex", latex),
        ("html", page),
    ):
        write_text(folder / f"compare.{suffix}", made(table))


def markdown(table: JsonDict) -> str:
    """The table, the differences to the first entry, and how they were made."""
    lines = [*_marked(["", "seeds", *_titles(), "verdict"], _cells(table)), ""]
    lines += [f"Change from {table['entries'][0]['name']} on the same prompts, points:", ""]
    lines += [
        *_marked(["", *(HEADINGS[name] for name in RATES)], _changes(table)),
        "",
    ]
    lines += [f"- {note}" for note in notes(table)]
    return "\n".join(lines) + "\n"


def comma_separated(table: JsonDict) -> str:
    """One line an entry: mean, low and high of each column, unrounded."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ends = ("", "_low", "_high")
    writer.writerow(
        [
            "entry",
            "seeds",
            "strength",
            *(name + end for name in HEADINGS for end in ends),
            "front",
            "verdict",
        ]
    )
    for row in _rows(table):
        scores = [row["scores"].get(name, {}) for name in HEADINGS]
        numbers = [score.get(key) for score in scores for key in ("mean", "low", "high")]
        alphas = " ".join(f"{alpha:g}" for alpha in row["alpha"])
        writer.writerow([row["name"], row["seeds"], alphas, *numbers, row["front"], verdict(row)])
    return text.getvalue()


def latex(table: JsonDict) -> str:
    """A `tabular` for booktabs."""
    heads = ["", "seeds", *_titles(), "verdict"]
    head, *rows = [" & ".join(map(_tex, row)) + r" \\" for row in [heads, *_cells(table)]]
    aligned = f"l{'r' * (len(heads) - 2)}l"
    lines = [
        rf"\begin{{tabular}}{{{aligned}}}",
        r"\toprule",
        head,
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def page(table: JsonDict) -> str:
    """The page: the trade of harm against cost, and both tables."""
    points = [
        {
            "x": row["scores"][RETAIN_KL]["mean"],
            "y": row["scores"][HARMFUL_UNSEEN]["mean"],
            "ends": [row["scores"][HARMFUL_UNSEEN][end] for end in ("low", "high")],
            "name": row["name"],
            "text": "<br>".join(
                [row["name"], *row["settings"], f"strength {_alphas(row)}", verdict(row)]
            ),
            "front": row["front"],
            "chosen": False,
        }
        for row in table["entries"]
        if row["scores"]
    ]
    return rendered(
        "comparison.html",
        table=table,
        heads=["", "seeds", *_titles(), "verdict"],
        cells=_cells(table),
        changed=[HEADINGS[name] for name in RATES],
        changes=_changes(table),
        columns=HEADINGS,
        meanings={heading: meaning(name) for name, heading in HEADINGS.items() if meaning(name)},
        notes=notes(table),
        lead=lead(table),
        figure=pareto_figure(
            [p for p in points if p["x"] is not None and p["y"] is not None],
            _harmful(table["base"]),
        ),
    )


def lead(table: JsonDict) -> str:
    """The outcome in a sentence or two."""
    entries = table["entries"]
    good = [row for row in entries if set(row["verdict"]) == {"PASS"} and not row["failed"]]
    if not good:
        return "No entry kept every limit on harm and cost that was set before the runs."
    best, before = (
        min(good, key=lambda row: _harmful(row["scores"]) or 0.0),
        _harmful(table["base"]),
    )
    names = ", ".join(row["name"] for row in good)
    fewest = (
        f"The fewest harmful answers has {best['name']}"
        if len(good) > 1
        else "Its harmful answers to held-out prompts"
    )
    against = "" if before is None else f" (base {before:.1%})"
    return (
        f"{len(good)} of {len(entries)} entries kept every limit on harm and cost: {names}. "
        f"{fewest}: {_harmful(best['scores']):.1%}{against}."
    )


def notes(table: JsonDict) -> list[str]:
    """What one has to know to read the table."""
    budget, rows = table["budget"], table["entries"]
    each = "; ".join(f"{row['name']} {'+'.join(map(str, row['steps'].values()))}" for row in rows)
    lines = [
        INTERVALS,
        f"Budget: {budget['kind']}, batch {budget['batch']}; optimiser steps of each vector: {each}.",
    ]
    if "seconds" in budget:
        a_step = "; ".join(f"{name} {_timing(known)}" for name, known in budget["entries"].items())
        lines.append(
            f"Each may train for {budget['seconds']:.1f} s; measured seconds a step: {a_step}."
        )
    lines += [
        f"{row['name']}: {', '.join([*row['settings'], f'strength {_alphas(row)}'])}."
        for row in rows
    ]
    lines += [line for row in rows for line in _second(row)]
    lines += [
        f"{row['name']}, seed {n} FAILED: {why}."
        for row in rows
        for n, why in row["failed"].items()
    ]
    lines.append(
        f"Model {table['model']}, {table['prompts']} prompts, skunlearn {table['version']}; * no other entry has "
        "less harm at no more KL, or less KL at no more harm. The base's answers, which all share, are in no seconds."
    )
    return lines + (
        [f"Judge: {table['judge']['name']}, {table['judge']['text']}."] if table["judge"] else []
    )


def _second(row: JsonDict) -> Iterator[str]:
    """What a second judge made of an entry's answers, one line a seed."""
    for number, found in enumerate(row["second_judge"]):
        rates = {
            who: "–" if rate["value"] is None else f"{rate['value']:.1%}"
            for who, rate in found["harmful_rate"].items()
        }
        agreed = "–" if found["agreed"] is None else f"{found['agreed']:.0%}"
        kappa = "" if found["kappa"] is None else f" (kappa {found['kappa']:.2f})"
        yield (
            f"{row['name']}, run {number + 1}: a second judge, {found['name']}, agrees on {agreed} of {found['n']} "
            f"answers{kappa}; harmful by it: {', '.join(f'{who} {rate}' for who, rate in rates.items())}."
        )


def verdict(row: JsonDict) -> str:
    """What the gates said of each seed; what failed is said first."""
    failed = [f"failed: {why}" for why in dict.fromkeys(row["failed"].values())]
    counts = row["verdict"]
    said = [f"{text} {count}" if row["seeds"] > 1 else text for text, count in counts.items()]
    return "; ".join(failed + said)


def _rows(table: JsonDict) -> Iterator[JsonDict]:
    if table["base"]:
        empty: JsonDict = {
            "seeds": "",
            "failed": {},
            "verdict": {},
            "front": False,
            "alpha": [],
            "difference": {},
        }
        yield {"name": "base", "scores": table["base"], **empty}
    yield from table["entries"]


def _harmful(scores: JsonDict | None) -> float | None:
    return scores[HARMFUL_UNSEEN]["mean"] if scores else None


def _titles() -> list[str]:
    return list(HEADINGS.values())


def _cells(table: JsonDict) -> list[list[str]]:
    return [
        [
            row["name"] + (" *" if row["front"] else ""),
            str(row["seeds"]),
            *(_cell(row["scores"].get(name), name in RATES) for name in HEADINGS),
            verdict(row),
        ]
        for row in _rows(table)
    ]


def _changes(table: JsonDict) -> list[list[str]]:
    return [
        [row["name"], *(_points(row["difference"].get(name)) for name in RATES)]
        for row in table["entries"][1:]
        if row["difference"]
    ]


def _cell(score: JsonDict | None, is_rate: bool) -> str:
    if score is None or score["mean"] is None:
        return "–"
    mean, low, high = (score[key] for key in ("mean", "low", "high"))
    if is_rate:
        return f"{mean:.1%}" + ("" if low is None else f" ({low:.0%} to {high:.0%})")
    digits = 3 if abs(mean) < 10 else 0
    return f"{mean:.{digits}f}" + (
        "" if low is None else f" ({low:.{digits}f} to {high:.{digits}f})"
    )


def _points(change: JsonDict | None) -> str:
    if change is None:
        return "–"
    value, low, high = (100 * change[key] for key in ("value", "low", "high"))
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f})"


def _alphas(row: JsonDict) -> str:
    return ", ".join(f"{alpha:g}" for alpha in row["alpha"]) or "none"


def _timing(known: JsonDict) -> str:
    if "failed" in known:
        return f"none ({known['failed']})"
    return " + ".join(f"{seconds:.2f}" for seconds in known["seconds_a_step"].values())


def _marked(heads: list[str], rows: list[list[str]]) -> Iterator[str]:
    for row in (heads, ["---"] * len(heads), *rows):
        yield "| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |"


def _tex(text: str) -> str:
    marks = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "–": "--",
    }
    return "".join(
        marks.get(letter, "\\" + letter if letter in "%&_#{}$" else letter) for letter in text
    )
