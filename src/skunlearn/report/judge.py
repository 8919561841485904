"""The page of a judge: its agreement with labels, and the curve over its threshold."""

from pathlib import Path

from skunlearn.evaluation.judges.base import LABELS
from skunlearn.report.plotly_figures import threshold_figure
from skunlearn.report.templates import rendered
from skunlearn.utils.files import JsonDict, write_text


def write_judge_page(result: JsonDict, path: Path) -> None:
    """Write the page, whole or not at all.

    Args:
        result: what `skunlearn.workflows.judge.check_judge` returns.
        path: the file to write.
    """
    labels = [label for label in LABELS if label in result]
    figure = threshold_figure(result["thresholds"])
    write_text(path, rendered("judge.html", result=result, labels=labels, figure=figure))
