"""One self-contained HTML page from the contents of results.json."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from skunlearn.report.plots import loss_figure, robustness_figure, script, strength_figure
from skunlearn.rundir import write_text
from skunlearn.words import GROUPS, METRICS, VECTORS, interval, limits, robustness, sentence, shown, title

Tree = dict[str, Any]


def render(results: Tree) -> str:
    """The page; every text of a model or a data set is escaped."""
    attacks = results.get("attacks") or []
    measured = results["scores"]["edited"]
    return rendered(
        "page.html",
        results=results,
        sentence=sentence(results),
        metrics=METRICS,
        names=[*(name for name in METRICS if name in measured), *(name for name in measured if name not in METRICS)],
        title=title,
        groups=GROUPS,
        limits=limits(results),
        attacks=attacks,
        robustness=robustness(attacks),
        robustness_figure=robustness_figure(attacks) if attacks else "",
        vectors=VECTORS,
        losses={name: loss_figure(rows) for name, rows in results["losses"].items()},
        strength=strength_figure(results["curve"], results["alpha"]) if results["curve"] else "",
        plotly=script(),
    )


def rendered(name: str, **values: Any) -> str:
    """A template that ships beside this module, with its values, escaped unless it says otherwise."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals |= {"shown": shown, "interval": interval, "style": resource("page.css")}
    return environment.from_string(resource(name)).render(**values)


def write_report(results: Tree, path: Path) -> None:
    """Write the page, whole or not at all."""
    write_text(path, render(results))


def resource(name: str) -> str:
    """A text that ships beside this module."""
    return files("skunlearn.report").joinpath(name).read_text(encoding="utf-8")
