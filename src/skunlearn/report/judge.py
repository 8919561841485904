"""A page on one judge: the threshold curve, and its numbers in a table."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from skunlearn.report.page import resource
from skunlearn.report.plots import script, threshold_figure
from skunlearn.rundir import write_text

Tree = dict[str, Any]


def write_judge_page(result: Tree, path: Path) -> None:
    """Write the page of what `judging.check_judge` found, whole or not at all."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(resource("judge.html"))
    figure = threshold_figure(result["thresholds"])
    labels = [name for name in ("harmful", "refused", "degenerate", "safe") if name in result]
    write_text(
        path, template.render(r=result, labels=labels, figure=figure, plotly=script(), style=resource("page.css"))
    )
