"""A page on one judge: the threshold curve, and its numbers in a table."""

from pathlib import Path

from skunlearn.report.plotly_figures import threshold_figure
from skunlearn.report.run_page import rendered
from skunlearn.utils.files import JsonDict, write_text


def write_judge_page(result: JsonDict, path: Path) -> None:
    """Write the page of what `judging.check_judge` found, whole or not at all."""
    figure = threshold_figure(result["thresholds"])
    labels = [name for name in ("harmful", "refused", "degenerate", "safe") if name in result]
    write_text(path, rendered("judge.html", r=result, labels=labels, figure=figure))
