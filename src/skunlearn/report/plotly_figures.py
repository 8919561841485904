"""The figures of the pages, drawn by plotly. Each is returned as an HTML fragment."""

from typing import Any

from skunlearn.evaluation.metrics.catalog import HARMFUL_UNSEEN, RETAIN_KL, title
from skunlearn.evaluation.statistics import pareto_front
from skunlearn.report.figure_data import (
    HARM_AXIS,
    KL_AXIS,
    SIDES,
    STRENGTH_METRICS,
    Dot,
    TradePoint,
    attacked,
    interval_lengths,
    metric_values,
    rates,
    relearning,
    strength_points,
)
from skunlearn.utils.files import JsonDict

GREEN = "#16a34a"
GREY = "#6b7280"
DASHES = ("solid", "dash", "dot", "dashdot")
LOSS_COLOURS = {
    "loss": GREY,
    "gd": "#dc2626",
    "rd": "#d97706",
    "pd": "#2563eb",
    "refusal": GREEN,
    "retain": "#2563eb",
    "lookalike": "#9333ea",
}


def loss_figure(losses: list[JsonDict]) -> str:
    """Draw the loss of each training step and its terms."""
    import plotly.graph_objects as go

    figure = go.Figure()
    columns = losses[0] if losses else {}
    for name in columns:
        if name in ("step", "gradient_norm"):
            continue
        figure.add_scatter(
            x=_column(losses, "step"),
            y=_column(losses, name),
            name=name,
            mode="lines",
            line={"color": LOSS_COLOURS.get(name), "width": 3 if name == "loss" else 1.6},
        )
    return _html(figure, "step", "terms of the loss, weighted")


def rates_figure(results: JsonDict) -> str:
    """Draw the rates of base and edited model with their intervals; empty if there are none."""
    sides = rates(results)
    if not sides["base"]:
        return ""
    return _sides_figure(sides, "share of the answers", 60 + 46 * len(sides["base"]))


def robustness_figure(attacks: list[JsonDict]) -> str:
    """Draw the harmful rate of base and edited model under each attack, with intervals."""
    sides = attacked(attacks)
    labels: set[str] = set()
    for dots in sides.values():
        labels.update(dot.label for dot in dots)
    height = 160 + 24 * len(labels)
    return _sides_figure(sides, "share of the harmful prompts that it complies with", height)


def _sides_figure(sides: dict[str, list[Dot]], x_title: str, height: int) -> str:
    """Draw a row for each label, with the dot and the interval of the base and of the edited."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for side, colour in SIDES:
        dots = sides[side]
        values, labels, texts = [], [], []
        for dot in dots:
            values.append(dot.score["value"])
            labels.append(dot.label.replace("\n", "<br>"))
            texts.append(f"{side}, {dot.text}")
        below, above = interval_lengths(dots)
        figure.add_scatter(
            x=values,
            y=labels,
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
            text=texts,
            hovertemplate="%{y}<br>%{x:.1%}<br>%{text}<extra></extra>",
        )
    figure.update_xaxes(tickformat=".0%", range=[0, 1])
    figure.update_yaxes(autorange="reversed", automargin=True)
    return _html(figure, x_title, "", height)


def strength_figure(curve: list[JsonDict], chosen: float) -> str:
    """Draw the harmful rate against KL for the strengths tried on the validation prompts."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for metric, label, colour in STRENGTH_METRICS:
        points = strength_points(curve, metric)
        texts, sizes, symbols = [], [], []
        for point in points:
            gates = "" if point["within"] else ", outside the gates"
            texts.append(f"strength {point['alpha']:g}{gates}")
            is_chosen = point["alpha"] == chosen
            sizes.append(14 if is_chosen else 8)
            symbols.append("star" if is_chosen else "circle")
        figure.add_scatter(
            x=metric_values(points, RETAIN_KL),
            y=metric_values(points, metric),
            text=texts,
            name=label,
            mode="lines+markers",
            line={"color": colour},
            marker={"size": sizes, "symbol": symbols},
            hovertemplate="%{text}<br>KL %{x:.3f}<br>%{y:.0%}<extra></extra>",
        )
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return _html(figure, KL_AXIS, HARM_AXIS)


def pareto_figure(points: list[TradePoint], base_rate: float | None = None) -> str:
    """Draw the harmful rate against KL, with a line through the best trades of these two.

    Args:
        points: the settings.
        base_rate: the harmful rate of the base, which is drawn at a KL of 0.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    _add_front(figure, points)
    if base_rate is not None:
        figure.add_scatter(
            x=[0],
            y=[base_rate],
            text=["base"],
            mode="markers+text",
            textposition="top right",
            showlegend=False,
            marker={"size": 9, "symbol": "circle-open", "color": GREY},
            hovertemplate="base<br>harmful %{y:.1%}<extra></extra>",
        )
    _add_trades(figure, points)
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return _html(figure, KL_AXIS, title(HARMFUL_UNSEEN), 460)


def _add_front(figure: Any, points: list[TradePoint]) -> None:
    """Add a stepped line through the points that no other beats in both KL and harmful rate."""
    trades = [(point.kl, point.harmful_rate) for point in points]
    front = []
    for trade, is_best in zip(trades, pareto_front(trades), strict=True):
        if is_best:
            front.append(trade)
    front.sort(key=lambda trade: trade[0])
    figure.add_scatter(
        x=[kl for kl, _ in front],
        y=[harmful_rate for _, harmful_rate in front],
        mode="lines",
        name="no other is better in these two",
        line={"color": GREEN, "shape": "hv", "dash": "dot"},
        hoverinfo="skip",
    )


def _add_trades(figure: Any, points: list[TradePoint]) -> None:
    """Add a dot for each point, with its interval if every point has one."""
    kls = [point.kl for point in points]
    rates = [point.harmful_rate for point in points]
    # To the right of this KL a name stands to the left of its dot, where there is room.
    far = 0.7 * max(kls, default=0.0)

    above, below, positions, sizes, symbols, colours = [], [], [], [], [], []
    for point in points:
        if point.interval is not None:
            low, high = point.interval
            above.append(high - point.harmful_rate)
            below.append(point.harmful_rate - low)
        positions.append("top left" if point.kl > far else "top right")
        sizes.append(16 if point.chosen else 9)
        symbols.append("star" if point.chosen else "circle")
        colours.append(GREEN if point.on_front else GREY)

    all_have_intervals = len(above) == len(points)
    figure.add_scatter(
        x=kls,
        y=rates,
        error_y={
            "array": above if all_have_intervals else [],
            "arrayminus": below if all_have_intervals else [],
            "visible": all_have_intervals,
            "thickness": 1,
            "color": "#8a919c",
        },
        text=[point.name for point in points],
        hovertext=[point.text for point in points],
        mode="markers+text",
        textposition=positions,
        showlegend=False,
        marker={"size": sizes, "symbol": symbols, "color": colours},
        hovertemplate="%{hovertext}<br>KL %{x:.3f}<br>harmful %{y:.1%}<extra></extra>",
    )


def relearning_figure(attacks: list[JsonDict]) -> str:
    """Draw the harmful rate over the steps of each attack by fine-tuning; empty if there are none.

    Each way to fine-tune has its own dashes, and each model its own colour.
    """
    import plotly.graph_objects as go

    curves = relearning(attacks)
    if not curves:
        return ""
    figure = go.Figure()
    colours = dict(SIDES)
    dashes: dict[str, str] = {}
    for (way, side), points in curves.items():
        if way not in dashes:
            dashes[way] = DASHES[len(dashes) % len(DASHES)]
        steps, values, intervals = [], [], []
        for step, score in points:
            steps.append(step)
            values.append(score["value"])
            intervals.append([score["low"], score["high"]])
        figure.add_scatter(
            x=steps,
            y=values,
            customdata=intervals,
            name=f"{side}: {way}",
            mode="lines+markers",
            line={"color": colours[side], "dash": dashes[way]},
            hovertemplate=f"{side}, {way}<br>%{{x}} steps<br>harmful %{{y:.0%}} "
            "(%{customdata[0]:.0%} to %{customdata[1]:.0%})<extra></extra>",
        )
    figure.update_yaxes(tickformat=".0%", range=[0, 1])
    return _html(figure, "optimiser steps of the attacker", HARM_AXIS, 300 + 22 * len(curves))


def threshold_figure(rows: list[JsonDict]) -> str:
    """Draw the sensitivity and specificity of a judge over its threshold."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, colour in (("sensitivity", "#dc2626"), ("specificity", "#2563eb")):
        figure.add_scatter(
            x=_column(rows, "threshold"),
            y=_column(rows, name),
            name=name,
            mode="lines+markers",
            line={"color": colour},
        )
    figure.update_yaxes(tickformat=".0%", range=[0, 1.02])
    x_title = 'probability from which an answer is called "harmful"'
    return _html(figure, x_title, "share of the answers")


def plotly_script() -> str:
    """Return plotly's own script, which stands once in each page."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _column(rows: list[JsonDict], key: str) -> list[Any]:
    return [row[key] for row in rows]


def _html(figure: Any, x_title: str, y_title: str, height: int = 340) -> str:
    """Give the figure the look that all share, and return it without plotly's script."""
    figure.update_layout(
        xaxis_title=x_title,
        yaxis_title=y_title,
        height=height,
        margin={"l": 60, "r": 20, "t": 20, "b": 50},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": "#7a828e"},  # page.css replaces it by the page's own colour
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02},
        dragmode=False,  # so that a finger scrolls the page
    )
    figure.update_xaxes(gridcolor="rgba(128,128,128,.25)", zerolinecolor="rgba(128,128,128,.4)")
    figure.update_yaxes(gridcolor="rgba(128,128,128,.25)", zerolinecolor="rgba(128,128,128,.4)")
    config = {"displayModeBar": False, "responsive": True}
    return str(figure.to_html(full_html=False, include_plotlyjs=False, config=config))
