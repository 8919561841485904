"""The main figure of a run for papers: the rates of both models, and what attacks or strengths do
to them."""

from pathlib import Path
from typing import Any

from skunlearn.report.figure_data import (
    HARM,
    KL,
    SIDES,
    TRIED,
    Dot,
    attacked,
    ends,
    rates,
    strength_dots,
)
from skunlearn.utils.errors import ConfigError
from skunlearn.utils.files import JsonDict

SUFFIXES = (".pdf", ".png", ".svg")
STYLE = {
    "font.size": 8,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
}
WIDTH, ROW, FRAME = (
    7.0,
    0.32,
    1.1,
)  # inches: the page of a paper, a row of dots, what stands around the rows


def write_figure(results: JsonDict, path: Path) -> None:
    """Draw it: rates of base and edited on the left; on the right the attacks if any were run, else
    the strengths.

    Args:
        results: the contents of results.json, with the rows of attacks.json as `attacks` if there
            are any.
        path: what to write, ending in .pdf, .png or .svg; .png has 300 dots per inch.

    Raises:
        ConfigError: when the ending is another one, or matplotlib is not installed.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"{path}: give a name that ends in {', '.join(SUFFIXES)}")
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("figures need matplotlib: pip install 'skunlearn[figures]'") from error
    left, under_attack = rates(results), attacked(results.get("attacks") or [])
    right = under_attack["edited"] or results["curve"]
    most = max(len(rows) for rows in (left["base"], under_attack["base"], under_attack["edited"]))
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, FRAME + ROW * max(most, 5)), layout="constrained")
        axes = figure.subplots(1, 2 if right else 1, squeeze=False)[0]
        _sides(axes[0], left, "share of the answers")
        if under_attack["edited"]:
            _sides(axes[1], under_attack, HARM)
        elif right:
            _strengths(axes[1], results["curve"], results["alpha"])
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=300)


def _sides(axes: Any, sides: dict[str, list[Dot]], x: str) -> None:
    """A row for each label: the base's value above the edited one's, with intervals."""
    labels = list(dict.fromkeys(row.label for rows in sides.values() for row in rows))
    for (side, colour), shift in zip(SIDES, (-0.12, 0.12), strict=True):
        rows = sides[side]
        axes.errorbar(
            [row.score["value"] for row in rows],
            [labels.index(row.label) + shift for row in rows],
            xerr=ends(rows),
            fmt="o",
            color=colour,
            markerfacecolor="white" if side == "base" else colour,
            markersize=4,
            linewidth=1,
            label=side,
        )
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xlabel(x)
    _finish(axes, axes.xaxis)


def _strengths(axes: Any, curve: list[JsonDict], chosen: float) -> None:
    """Harmful and degenerate answers against KL on the validation prompts; a star marks the strength
    that was chosen."""
    for metric, label, colour in TRIED:
        points = strength_dots(curve, metric)
        if not points:
            continue
        x = [point["scores"]["retain_kl"]["value"] for point in points]
        y = [point["scores"][metric]["value"] for point in points]
        axes.plot(x, y, color=colour, marker="o", markersize=3, linewidth=1, label=label)
        for n in [n for n, point in enumerate(points) if point["alpha"] == chosen]:
            axes.plot(
                x[n], y[n], color=colour, marker="*", markersize=9, clip_on=False
            )  # whole at the edge too
    axes.set_ylim(bottom=0)
    axes.set_xlabel(KL.replace(", ", ",\n"))
    axes.set_ylabel(HARM)
    _finish(axes, axes.yaxis)


def _finish(axes: Any, shares: Any) -> None:
    shares.set_major_formatter("{x:.0%}")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    axes.grid(alpha=0.25, linewidth=0.5)
