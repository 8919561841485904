"""The main figure of a run for papers, drawn by matplotlib: the rates of both models, and what
attacks or strengths do to them."""

from pathlib import Path
from typing import Any

from skunlearn.evaluation.metrics.catalog import RETAIN_KL
from skunlearn.report.figure_data import (
    HARM_AXIS,
    KL_AXIS,
    SIDES,
    STRENGTH_METRICS,
    Dot,
    attacked,
    interval_lengths,
    metric_values,
    rates,
    strength_points,
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
# All in inches.
PAGE_WIDTH = 7.0
ROW_HEIGHT = 0.32
HEIGHT_AROUND_ROWS = 1.1
MIN_ROWS = 5


def write_figure(results: JsonDict, path: Path) -> None:
    """Draw the figure: the rates of base and edited on the left; on the right the attacks if any
    were run, else the strengths.

    Args:
        results: the contents of results.json, with the rows of attacks.json as `attacks` if there
            are any.
        path: the file to write, ending in .pdf, .png or .svg; .png has 300 dots per inch.

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

    measured = rates(results)
    under_attack = attacked(results.get("attacks") or [])
    has_attacks = bool(under_attack["edited"])
    has_right = has_attacks or bool(results["curve"])
    rows = max(len(measured["base"]), len(under_attack["base"]), len(under_attack["edited"]))
    height = HEIGHT_AROUND_ROWS + ROW_HEIGHT * max(rows, MIN_ROWS)

    with rc_context(STYLE):
        figure = Figure(figsize=(PAGE_WIDTH, height), layout="constrained")
        axes = figure.subplots(1, 2 if has_right else 1, squeeze=False)[0]
        _draw_sides(axes[0], measured, "share of the answers")
        if has_attacks:
            _draw_sides(axes[1], under_attack, HARM_AXIS)
        elif has_right:
            _draw_strengths(axes[1], results["curve"], results["alpha"])
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=300)


def _draw_sides(axes: Any, sides: dict[str, list[Dot]], x_title: str) -> None:
    """Draw a row for each label: the base's value above the edited model's, with intervals."""
    rows: dict[str, int] = {}  # label -> number of its row
    for dots in sides.values():
        for dot in dots:
            rows.setdefault(dot.label, len(rows))

    for (side, colour), shift in zip(SIDES, (-0.12, 0.12), strict=True):
        dots = sides[side]
        values = [dot.score["value"] for dot in dots]
        heights = [rows[dot.label] + shift for dot in dots]
        axes.errorbar(
            values,
            heights,
            xerr=interval_lengths(dots),
            fmt="o",
            color=colour,
            markerfacecolor="white" if side == "base" else colour,
            markersize=4,
            linewidth=1,
            label=side,
        )
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xlabel(x_title)
    _finish(axes, axes.xaxis)


def _draw_strengths(axes: Any, curve: list[JsonDict], chosen: float) -> None:
    """Draw harmful and degenerate answers against KL on the validation prompts.

    A star marks the strength that was chosen.
    """
    for metric, label, colour in STRENGTH_METRICS:
        points = strength_points(curve, metric)
        if not points:
            continue
        x = metric_values(points, RETAIN_KL)
        y = metric_values(points, metric)
        axes.plot(x, y, color=colour, marker="o", markersize=3, linewidth=1, label=label)
        for point, kl, rate in zip(points, x, y, strict=True):
            if point["alpha"] == chosen:
                # Without clipping the star is whole even at the edge of the axes.
                axes.plot(kl, rate, color=colour, marker="*", markersize=9, clip_on=False)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(KL_AXIS.replace(", ", ",\n"))
    axes.set_ylabel(HARM_AXIS)
    _finish(axes, axes.yaxis)


def _finish(axes: Any, shares: Any) -> None:
    """Write the axis of shares in per cent, and put the legend above the axes."""
    shares.set_major_formatter("{x:.0%}")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    axes.grid(alpha=0.25, linewidth=0.5)
