"""tune.json -> one self-contained page."""

from pathlib import Path

from skunlearn.evaluation.metrics.catalog import (
    CATALOG,
    HARMFUL_UNSEEN,
    RETAIN_KL,
    format_score,
    title,
)
from skunlearn.report.plotly_figures import pareto_figure
from skunlearn.report.run_page import rendered
from skunlearn.utils.files import JsonDict, write_text

OUTSIDE = "outside the gates with their margin"


def write_tuning(found: JsonDict, path: Path) -> None:
    """Write the page, whole or not at all."""
    write_text(path, page(found))


def page(found: JsonDict) -> str:
    """The Pareto front, the chosen setting, and what it does to the test prompts."""
    generated = [(n, tried) for n, tried in enumerate(found["trials"]) if tried["generated"]]
    points = [
        {
            "x": tried["scores"][RETAIN_KL]["value"],
            "y": tried["scores"][HARMFUL_UNSEEN]["value"],
            "ends": None,
            "name": "chosen" if n == found["number"] else "",
            "text": "<br>".join(
                [*tried["words"], *_lines(found, tried), *([] if tried["within"] else [OUTSIDE])]
            ),
            "front": tried["front"],
            "chosen": n == found["number"],
        }
        for n, tried in generated
    ]
    return rendered(
        "tuning.html",
        found=found,
        left_out=len(found["trials"]) - len(generated),
        front=[(n, tried) for n, tried in generated if tried["front"]],
        names=found["objectives"],
        metrics=CATALOG,
        figure=pareto_figure([p for p in points if p["x"] is not None and p["y"] is not None]),
    )


def _lines(found: JsonDict, tried: JsonDict) -> list[str]:
    """The objectives that the axes do not show."""
    names = [name for name in found["objectives"] if name not in (HARMFUL_UNSEEN, RETAIN_KL)]
    return [f"{title(name)} {format_score(tried['scores'].get(name))}" for name in names]
