"""The table of a comparison from compare.json: as Markdown, CSV, LaTeX, and a self-contained
page."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from skunlearn.evaluation.metrics.catalog import CATALOG, HARMFUL_UNSEEN, RETAIN_KL, meaning
from skunlearn.report.comparison_text import harmful_rate, lead, notes, strengths, verdict
from skunlearn.report.figure_data import TradePoint
from skunlearn.report.plotly_figures import pareto_figure
from skunlearn.report.templates import rendered
from skunlearn.utils.files import JsonDict, write_text

METRIC_COLUMNS = (  # metrics of the catalogue
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
TABLE_HEADS = ["", "seeds", *HEADINGS.values(), "verdict"]
CHANGE_HEADS = ["", *(HEADINGS[name] for name in RATES)]

TEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
}
TEX_ESCAPED = "%&_#{}$"  # characters that a backslash before them makes ordinary


def write_comparison(table: JsonDict, folder: Path) -> None:
    """Write `compare.md`, `.csv`, `.tex` and `.html`, each whole or not at all."""
    write_text(folder / "compare.md", markdown(table))
    write_text(folder / "compare.csv", comma_separated(table))
    write_text(folder / "compare.tex", latex(table))
    write_text(folder / "compare.html", page(table))


def markdown(table: JsonDict) -> str:
    """Return the table, the changes from the first entry, and the notes."""
    first = table["entries"][0]["name"]
    lines = [
        *_markdown_table(TABLE_HEADS, _cells(table)),
        "",
        f"Change from {first} on the same prompts, points:",
        "",
        *_markdown_table(CHANGE_HEADS, _changes(table)),
        "",
    ]
    for note in notes(table):
        lines.append(f"- {note}")
    return "\n".join(lines) + "\n"


def _markdown_table(heads: list[str], rows: list[list[str]]) -> list[str]:
    lines = []
    for row in (heads, ["---"] * len(heads), *rows):
        cells = " | ".join(map(_markdown_cell, row))
        lines.append(f"| {cells} |")
    return lines


def _markdown_cell(text: str) -> str:
    return text.replace("|", r"\|")


def comma_separated(table: JsonDict) -> str:
    """Return one line an entry: mean, low and high of each column, unrounded."""
    columns = []
    for name in HEADINGS:
        columns += [name, f"{name}_low", f"{name}_high"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["entry", "seeds", "strength", *columns, "front", "verdict"])
    for row in _rows(table):
        numbers = []
        for name in HEADINGS:
            score = row["scores"].get(name, {})
            numbers += [score.get("mean"), score.get("low"), score.get("high")]
        alphas = " ".join(f"{alpha:g}" for alpha in row["alpha"])
        writer.writerow([row["name"], row["seeds"], alphas, *numbers, row["front"], verdict(row)])
    return text.getvalue()


def latex(table: JsonDict) -> str:
    """Return a `tabular` that uses booktabs."""
    aligned = f"l{'r' * (len(TABLE_HEADS) - 2)}l"
    lines = [
        rf"\begin{{tabular}}{{{aligned}}}",
        r"\toprule",
        _tex_row(TABLE_HEADS),
        r"\midrule",
        *map(_tex_row, _cells(table)),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _tex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(_tex, cells)) + r" \\"


def _tex(text: str) -> str:
    written = ""
    for letter in text:
        if letter in TEX_ESCAPED:
            written += "\\" + letter
        else:
            written += TEX_SPECIAL.get(letter, letter)
    return written


def page(table: JsonDict) -> str:
    """Return the page: the figure of harm against cost, and both tables."""
    meanings = {}
    for name, heading in HEADINGS.items():
        if meaning(name):
            meanings[heading] = meaning(name)
    return rendered(
        "comparison.html",
        table=table,
        heads=TABLE_HEADS,
        cells=_cells(table),
        change_heads=CHANGE_HEADS,
        changes=_changes(table),
        columns=HEADINGS,
        meanings=meanings,
        notes=notes(table),
        lead=lead(table),
        figure=pareto_figure(_trade_points(table), harmful_rate(table["base"])),
    )


def _trade_points(table: JsonDict) -> list[TradePoint]:
    """Return the entries that were measured on both axes of the figure."""
    points = []
    for row in table["entries"]:
        if not row["scores"]:
            continue
        harm = row["scores"][HARMFUL_UNSEEN]
        kl = row["scores"][RETAIN_KL]["mean"]
        if harm["mean"] is None or kl is None:
            continue
        lines = [row["name"], *row["settings"], f"strength {strengths(row)}", verdict(row)]
        point = TradePoint(
            kl=kl,
            harmful_rate=harm["mean"],
            text="<br>".join(lines),
            name=row["name"],
            interval=None if harm["low"] is None else (harm["low"], harm["high"]),
            on_front=row["front"],
        )
        points.append(point)
    return points


def _rows(table: JsonDict) -> list[JsonDict]:
    """Return the rows of the table: the base, if it was measured, then the entries."""
    if not table["base"]:
        return table["entries"]
    base = {
        "name": "base",
        "scores": table["base"],
        "seeds": "",
        "failed": {},
        "verdict": {},
        "front": False,
        "alpha": [],
    }
    return [base, *table["entries"]]


def _cells(table: JsonDict) -> list[list[str]]:
    """Return the rows under `TABLE_HEADS`, as they are shown."""
    rows = []
    for row in _rows(table):
        name = f"{row['name']} *" if row["front"] else row["name"]
        scores = [_cell(row["scores"].get(metric), metric) for metric in HEADINGS]
        rows.append([name, str(row["seeds"]), *scores, verdict(row)])
    return rows


def _cell(score: JsonDict | None, metric: str) -> str:
    """Return a mean with its interval: rates in per cent, other numbers as they are."""
    if score is None or score["mean"] is None:
        return "–"
    mean, low, high = score["mean"], score["low"], score["high"]
    if metric in RATES:
        return f"{mean:.1%}" if low is None else f"{mean:.1%} ({low:.0%} to {high:.0%})"
    digits = 3 if abs(mean) < 10 else 0
    number = f"{mean:.{digits}f}"
    return number if low is None else f"{number} ({low:.{digits}f} to {high:.{digits}f})"


def _changes(table: JsonDict) -> list[list[str]]:
    """Return the rows under `CHANGE_HEADS`: each entry but the first, if it was measured."""
    rows = []
    for row in table["entries"][1:]:
        if row["difference"]:
            changes = [_change(row["difference"].get(name)) for name in RATES]
            rows.append([row["name"], *changes])
    return rows


def _change(change: JsonDict | None) -> str:
    """Return the change of a rate in points, with its interval."""
    if change is None:
        return "–"
    value = 100 * change["value"]
    low = 100 * change["low"]
    high = 100 * change["high"]
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f})"
