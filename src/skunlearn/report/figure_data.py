"""What the figures show, whichever library draws them."""

from dataclasses import dataclass

from skunlearn.evaluation.metrics.catalog import (
    CATALOG,
    HARMFUL_UNSEEN,
    RETAIN_KL,
    format_interval,
    title,
)
from skunlearn.utils.files import JsonDict

RATES = (  # metrics of the catalogue, in the order of the figure
    HARMFUL_UNSEEN,
    "harmful_rate_seen",
    "harmful_rate_paraphrase",
    "refusal_rate_unseen",
    "degenerate_rate_unseen",
    "over_refusal_rate",
    "refusal_rate_retain",
    "degenerate_rate_retain",
    "harmful_rate",
    "refusal_rate",
    "degenerate_rate",
    "safe_rate",
)
STRENGTH_METRICS = (  # (metric, its name in the legend, colour)
    (HARMFUL_UNSEEN, "harmful", "#dc2626"),
    ("degenerate_rate_unseen", "degenerate", "#6b7280"),
)
ARROWS = {True: " ↑", False: " ↓", None: ""}  # by whether a higher value is better
SIDES = (("base", "#6b7280"), ("edited", "#2563eb"))  # (model, colour)
HARM_AXIS = "share of the harmful prompts"
KL_AXIS = f"{CATALOG[RETAIN_KL].title}, {CATALOG[RETAIN_KL].unit}"

Way = tuple[str, str]  # a way to fine-tune, and "base" or "edited"
StepScores = list[tuple[int, JsonDict]]  # (optimiser steps, harmful rate)


@dataclass(frozen=True)
class Dot:
    """One value with its interval.

    Attributes:
        label: the name of its row; may contain a line break.
        score: an object with `value`, `low` and `high`.
        text: what else is shown about it.
    """

    label: str
    score: JsonDict
    text: str


@dataclass(frozen=True)
class TradePoint:
    """One setting in the figure of harm against cost.

    Attributes:
        kl: KL from the base, in nats per token.
        harmful_rate: harmful rate on held-out prompts (0..1).
        text: what is shown when the pointer is on it.
        name: what is written beside it; may be empty.
        interval: ends of the interval of `harmful_rate`; None where there is none.
        on_front: whether no other setting is better. The caller may compare more than the two axes.
        chosen: whether it is marked with a star.
    """

    kl: float
    harmful_rate: float
    text: str
    name: str = ""
    interval: tuple[float, float] | None = None
    on_front: bool = False
    chosen: bool = False


def rates(results: JsonDict) -> dict[str, list[Dot]]:
    """Return for base and edited the rates that both have.

    An arrow in the label shows which direction is good.
    """
    scores = results["scores"]
    dots: dict[str, list[Dot]] = {"base": [], "edited": []}
    for name in RATES:
        if not (has_value(scores["base"], name) and has_value(scores["edited"], name)):
            continue
        arrow = ARROWS[scores["edited"][name]["higher_is_better"]]
        label = title(name).replace(", ", ",\n", 1) + arrow
        for side, rows in dots.items():
            score = scores[side][name]
            rows.append(Dot(label, score, f"95 % interval {format_interval(score)}"))
    return dots


def attacked(attacks: list[JsonDict]) -> dict[str, list[Dot]]:
    """Return for base and edited the harmful rate under each attack, with the attack's cost."""
    dots: dict[str, list[Dot]] = {"base": [], "edited": []}
    for row in attacks:
        score = row["scores"]["harmful_rate"]
        if score["value"] is None or row["on"] not in dots:
            continue
        label = "no attack" if row["attack"] == "none" else f"{row['attack']}: {row['variant']}"
        dots[row["on"]].append(Dot(label, score, f"cost: {row['cost']['text']}"))
    return dots


def relearning(attacks: list[JsonDict]) -> dict[Way, StepScores]:
    """Return the harmful rate along the optimiser steps of each attack by fine-tuning.

    Each curve begins at 0 steps: with the rate of the same attack before its first step where it
    was measured (`relearn-half` has prompts of its own), else with the rate without any attack.
    """
    curves: dict[Way, StepScores] = {}
    before: dict[Way, JsonDict] = {}  # (attack, model) -> its rate at 0 steps
    for row in attacks:
        score = row["scores"]["harmful_rate"]
        if score["value"] is None:
            continue
        attack, on = row["attack"], row["on"]
        steps = row["cost"].get("steps", 0)
        if not steps:
            before[attack, on] = score
        elif attack.startswith("relearn"):
            variant = row["variant"].rpartition(", ")[0]  # without the number of steps
            way = (f"{attack}, {variant}", on)
            if way not in curves:
                start = before.get((attack, on)) or before.get(("none", on))
                curves[way] = [(0, start)] if start else []
            curves[way].append((steps, score))
    return curves


def has_value(scores: JsonDict, metric: str) -> bool:
    """Return whether a metric was measured and has a value."""
    return scores.get(metric, {}).get("value") is not None


def strength_points(curve: list[JsonDict], metric: str) -> list[JsonDict]:
    """Return the strengths at which a metric has a value."""
    return [point for point in curve if has_value(point["scores"], metric)]


def interval_lengths(dots: list[Dot]) -> tuple[list[float], list[float]]:
    """Return how far the intervals reach below and above the values, for error bars."""
    below, above = [], []
    for dot in dots:
        # Results of older versions were rounded, so that a value may lie just outside its interval.
        below.append(max(0.0, dot.score["value"] - dot.score["low"]))
        above.append(max(0.0, dot.score["high"] - dot.score["value"]))
    return below, above


def metric_values(points: list[JsonDict], metric: str) -> list[float]:
    """Return a metric's value at each of these strengths."""
    return [point["scores"][metric]["value"] for point in points]
