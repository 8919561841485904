"""The report's figures, as plotly draws them."""

from typing import Any

from skunlearn.evaluation.statistics import pareto_front
from skunlearn.report.figure_data import (
    HARM,
    KL,
    SIDES,
    TRIED,
    Dot,
    attacked,
    ends,
    rates,
    relearning,
    strength_dots,
)
from skunlearn.utils.files import JsonDict

DASHES = ("solid", "dash", "dot", "dashdot")
COLOURS = {
    "loss": "#6b7280",
    "gd": "#dc2626",
    "rd": "#d97706",
    "pd": "#2563eb",
    "refusal": "#16a34a",
    "retain": "#2563eb",
    "lookalike": "#9333ea",
}


def loss_figure(losses: list[JsonDict]) -> str:
    """Loss of each step and its terms, as an HTML fragment."""
    import plotly.graph_objects as go

    figure = go.Figure()
    names = [
        name for name in (losses[0] if losses else {}) if name not in ("step", "gradient_norm")
    ]
    for name in names:
        figure.add_scatter(
            x=[row["step"] for row in losses],
            y=[row[name] for row in losses],
            name=name,
            mode="lines",
            line={"color": COLOURS.get(name), "width": 3 if name == "loss" else 1.6},
        )
    return _html(figure, "step", "terms of the loss, weighted")


def rates_figure(results: JsonDict) -> str:
    """The rates of base and edited model side by side, with their intervals, as an HTML fragment;
    empty without any."""
    sides = rates(results)
    return (
        _sides_figure(sides, "share of the answers", 60 + 46 * len(sides["base"]))
        if sides["base"]
        else ""
    )


def strength_figure(curve: list[JsonDict], chosen: float) -> str:
    """Harmful rate against KL along the strengths tried, on validation prompts, as an HTML
    fragment."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for metric, label, colour in TRIED:
        points = strength_dots(curve, metric)
        figure.add_scatter(
            x=[p["scores"]["retain_kl"]["value"] for p in points],
            y=[p["scores"][metric]["value"] for p in points],
            text=[
                f"strength {p['alpha']:g}{'' if p['within'] else ', outside the gates'}"
                for p in points
            ],
            name=label,
            mode="lines+markers",
            line={"color": colour},
            marker={
                "size": [14 if p["alpha"] == chosen else 8 for p in points],
                "symbol": ["star" if p["alpha"] == chosen else "circle" for p in points],
            },
            hovertemplate="%{text}<br>KL %{x:.3f}<br>%{y:.0%}<extra></extra>",
        )
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return _html(figure, KL, HARM)


def pareto_figure(points: list[JsonDict], base: float | None = None) -> str:
    """Harmful rate against KL, one point a setting, the best trades joined by a line, as an HTML
    fragment.

    Args:
        points: each with `x` (KL), `y` (rate), `ends` of the rate's interval or None, `name` beside
            it or empty, `text` for the pointer, whether it is on the `front` (of more objectives,
            perhaps), and whether it is `chosen`.
        base: the base's rate, drawn where its KL is, at 0.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    best = pareto_front([(p["x"], p["y"]) for p in points])
    front = sorted(
        (p for p, is_best in zip(points, best, strict=True) if is_best), key=lambda p: p["x"]
    )
    figure.add_scatter(
        x=[p["x"] for p in front],
        y=[p["y"] for p in front],
        mode="lines",
        name="no other is better in these two",
        line={"color": "#16a34a", "shape": "hv", "dash": "dot"},
        hoverinfo="skip",
    )
    if base is not None:
        figure.add_scatter(
            x=[0],
            y=[base],
            text=["base"],
            mode="markers+text",
            textposition="top right",
            showlegend=False,
            marker={"size": 9, "symbol": "circle-open", "color": "#6b7280"},
            hovertemplate="base<br>harmful %{y:.1%}<extra></extra>",
        )
    far = 0.7 * max(
        (p["x"] for p in points), default=0.0
    )  # there is no room for a name on the right of these
    with_ends = all(p["ends"] and p["ends"][0] is not None for p in points)
    figure.add_scatter(
        x=[p["x"] for p in points],
        y=[p["y"] for p in points],
        error_y={
            "array": [p["ends"][1] - p["y"] for p in points] if with_ends else [],
            "arrayminus": [p["y"] - p["ends"][0] for p in points] if with_ends else [],
            "visible": with_ends,
            "thickness": 1,
            "color": "#8a919c",
        },
        text=[p["name"] for p in points],
        hovertext=[p["text"] for p in points],
        mode="markers+text",
        textposition=["top left" if p["x"] > far else "top right" for p in points],
        showlegend=False,
        marker={
            "size": [16 if p["chosen"] else 9 for p in points],
            "symbol": ["star" if p["chosen"] else "circle" for p in points],
            "color": ["#16a34a" if p["front"] else "#6b7280" for p in points],
        },
        hovertemplate="%{hovertext}<br>KL %{x:.3f}<br>harmful %{y:.1%}<extra></extra>",
    )
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return _html(figure, KL, "harmful answers, held-out prompts", 460)


def robustness_figure(attacks: list[JsonDict]) -> str:
    """Harmful rate of the edited model, and of the base, under each attack, with its interval, as
    an HTML fragment."""
    sides = attacked(attacks)
    labels = {row.label for rows in sides.values() for row in rows}
    return _sides_figure(
        sides, "share of the harmful prompts that it goes along with", 160 + 24 * len(labels)
    )


def relearning_figure(attacks: list[JsonDict]) -> str:
    """Harmful rate over the steps of fine-tuning, one line a way and model, as an HTML fragment;
    empty without any."""
    import plotly.graph_objects as go

    lines, figure = relearning(attacks), go.Figure()
    ways = list(dict.fromkeys(way for way, _ in lines))
    for (way, side), points in lines.items():
        figure.add_scatter(
            x=[steps for steps, _ in points],
            y=[score["value"] for _, score in points],
            customdata=[[score["low"], score["high"]] for _, score in points],
            name=f"{side}: {way}",
            mode="lines+markers",
            line={"color": dict(SIDES)[side], "dash": DASHES[ways.index(way) % len(DASHES)]},
            hovertemplate=f"{side}, {way}<br>%{{x}} steps<br>harmful %{{y:.0%}} (%{{customdata[0]:.0%}} to "
            "%{customdata[1]:.0%})<extra></extra>",
        )
    figure.update_yaxes(tickformat=".0%", range=[0, 1])
    return (
        _html(figure, "optimiser steps of the attacker", HARM, 300 + 22 * len(lines))
        if lines
        else ""
    )


def _sides_figure(sides: dict[str, list[Dot]], x: str, height: int) -> str:
    """A row for each label, with the base's and the edited model's dot and interval."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for side, colour in SIDES:
        rows = sides[side]
        below, above = ends(rows)
        figure.add_scatter(
            x=[row.score["value"] for row in rows],
            y=[row.label.replace("\n", "<br>") for row in rows],
            name=side,
            mode="markers",
            marker={
                "color": colour,
                "size": 11,
                "symbol": "circle-open" if side == "base" else "circle",
            },
            error_x={
                "type": "data",
                "symmetric": False,
                "array": above,
                "arrayminus": below,
                "thickness": 1.5,
            },
            text=[f"{side}, {row.text}" for row in rows],
            hovertemplate="%{y}<br>%{x:.1%}<br>%{text}<extra></extra>",
        )
    figure.update_xaxes(tickformat=".0%", range=[0, 1])
    figure.update_yaxes(autorange="reversed", automargin=True)
    return _html(figure, x, "", height)


def threshold_figure(rows: list[JsonDict]) -> str:
    """Sensitivity and specificity over the threshold of a judge, as an HTML fragment."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, colour in (("sensitivity", "#dc2626"), ("specificity", "#2563eb")):
        figure.add_scatter(
            x=[row["threshold"] for row in rows],
            y=[row[name] for row in rows],
            name=name,
            mode="lines+markers",
            line={"color": colour},
        )
    figure.update_yaxes(tickformat=".0%", range=[0, 1.02])
    return _html(
        figure, 'probability from which an answer is called "harmful"', "share of the answers"
    )


def script() -> str:
    """plotly's own script, to stand once in the page."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _html(figure: Any, x: str, y: str, height: int = 340) -> str:
    figure.update_layout(
        xaxis_title=x,
        yaxis_title=y,
        height=height,
        margin={"l": 60, "r": 20, "t": 20, "b": 50},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": "#7a828e"},  # the page's own colour takes its place there
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02},
        dragmode=False,  # a finger scrolls the page
    )
    figure.update_xaxes(gridcolor="rgba(128,128,128,.25)", zerolinecolor="rgba(128,128,128,.4)")
    figure.update_yaxes(gridcolor="rgba(128,128,128,.25)", zerolinecolor="rgba(128,128,128,.4)")
    config = {"displayModeBar": False, "responsive": True}
    return str(figure.to_html(full_html=False, include_plotlyjs=False, config=config))
