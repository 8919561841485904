"""HTML pages from the Jinja templates that ship beside this module."""

from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from skunlearn.evaluation.metrics.catalog import (
    direction,
    format_interval,
    format_score,
    meaning,
    title,
    tooltip,
)
from skunlearn.report.plotly_figures import plotly_script
from skunlearn.report.wording import changed, gate_explained, gate_numbers

# Functions that the templates call by their names.
TEMPLATE_FUNCTIONS = (
    changed,
    direction,
    format_interval,
    format_score,
    gate_explained,
    gate_numbers,
    meaning,
    title,
    tooltip,
)


def rendered(name: str, **values: Any) -> str:
    """Return a whole page.

    Args:
        name: the template's file name.
        values: what the template shows. Every text is escaped unless the template marks it safe.
    """
    environment = Environment(
        loader=FunctionLoader(resource),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # The page is one file: style, behaviour and plotly stand in it.
    environment.globals["style"] = resource("page.css")
    environment.globals["behaviour"] = resource("page.js")
    environment.globals["plotly"] = plotly_script()
    for function in TEMPLATE_FUNCTIONS:
        environment.globals[function.__name__] = function
    return environment.get_template(name).render(**values)


def resource(name: str) -> str:
    """Return the text of a file that ships beside this module."""
    return files("skunlearn.report").joinpath(name).read_text(encoding="utf-8")
