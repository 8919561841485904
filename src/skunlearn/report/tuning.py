"""The page of `skunlearn tune`: one self-contained HTML file from the contents of tune.json."""

from pathlib import Path

from skunlearn.evaluation.metrics.catalog import (
    CATALOG,
    HARMFUL_UNSEEN,
    RETAIN_KL,
    format_score,
    title,
)
from skunlearn.report.figure_data import TradePoint
from skunlearn.report.plotly_figures import pareto_figure
from skunlearn.report.templates import rendered
from skunlearn.utils.files import JsonDict, write_text

OUTSIDE_GATES = "outside the gates with their margin"


def write_tuning(found: JsonDict, path: Path) -> None:
    """Write the page, whole or not at all."""
    write_text(path, page(found))


def page(found: JsonDict) -> str:
    """Return the page: the Pareto front, the chosen setting, and its results on the test prompts.

    Args:
        found: the contents of tune.json.
    """
    points = []
    front = []
    left_out = 0
    for number, tried in enumerate(found["trials"]):
        if not tried["generated"]:
            left_out += 1
            continue
        if tried["front"]:
            front.append((number, tried))
        point = _trade_point(found, number)
        if point is not None:
            points.append(point)
    return rendered(
        "tuning.html",
        found=found,
        left_out=left_out,
        front=front,
        names=found["objectives"],
        metrics=CATALOG,
        figure=pareto_figure(points),
    )


def _trade_point(found: JsonDict, number: int) -> TradePoint | None:
    """Return the point of a setting in the figure; None if it was not measured on both axes."""
    tried = found["trials"][number]
    kl = tried["scores"][RETAIN_KL]["value"]
    harmful_rate = tried["scores"][HARMFUL_UNSEEN]["value"]
    if kl is None or harmful_rate is None:
        return None

    lines = list(tried["words"])
    for name in found["objectives"]:
        if name not in (HARMFUL_UNSEEN, RETAIN_KL):  # the axes show these two
            lines.append(f"{title(name)} {format_score(tried['scores'].get(name))}")
    if not tried["within"]:
        lines.append(OUTSIDE_GATES)

    chosen = number == found["number"]
    return TradePoint(
        kl=kl,
        harmful_rate=harmful_rate,
        text="<br>".join(lines),
        name="chosen" if chosen else "",
        on_front=tried["front"],
        chosen=chosen,
    )
