"""tune.json -> one self-contained page."""

from pathlib import Path
from typing import Any

from skunlearn.report.page import rendered
from skunlearn.report.plots import pareto_figure, script
from skunlearn.rundir import write_text
from skunlearn.words import METRICS

Tree = dict[str, Any]
SHOWN = ("harmful_rate_unseen", "retain_kl", "over_refusal_rate", "degenerate_rate_unseen")


def write_tuning(found: Tree, path: Path) -> None:
    """Write the page, whole or not at all."""
    write_text(path, page(found))


def page(found: Tree) -> str:
    """The Pareto front, the chosen setting, and what it does to the test prompts."""
    generated = [(n, tried) for n, tried in enumerate(found["trials"]) if tried["generated"]]
    points = [
        {
            "x": tried["scores"]["retain_kl"]["value"],
            "y": tried["scores"]["harmful_rate_unseen"]["value"],
            "ends": None,
            "name": "chosen" if n == found["number"] else "",
            "text": "<br>".join([*tried["words"], *_lines(tried["scores"]), *([] if tried["within"] else [OUTSIDE])]),
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
        names=SHOWN,
        metrics=METRICS,
        figure=pareto_figure([p for p in points if p["x"] is not None and p["y"] is not None]),
        plotly=script(),
    )


OUTSIDE = "outside the gates with their margin"


def _lines(scores: Tree) -> list[str]:
    """The objectives that the axes do not show."""
    return [
        f"{METRICS[name][0]} {scores[name]['value']:.1%}"
        for name in SHOWN[2:]
        if scores.get(name, {}).get("value") is not None
    ]
