"""What the figures show, whatever draws them."""

from dataclasses import dataclass

from skunlearn.evaluation.metrics.catalog import HARMFUL_UNSEEN, format_interval, title
from skunlearn.utils.files import JsonDict

RATES = (  # rows of the catalogue, in the order of the figure
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
TRIED = (
    (HARMFUL_UNSEEN, "harmful", "#dc2626"),
    ("degenerate_rate_unseen", "degenerate", "#6b7280"),
)
ARROWS = {True: " ↑", False: " ↓", None: ""}  # which way is good
SIDES = (("base", "#6b7280"), ("edited", "#2563eb"))
HARM, KL = "share of the harmful prompts", "KL(base || edited), ordinary answers, nats/token"


@dataclass(frozen=True)
class Dot:
    """One dot with its interval.

    Attributes:
        label: of its row; a line break may be in it.
        score: value, low, high.
        text: what more there is to say of it.
    """

    label: str
    score: JsonDict
    text: str


def rates(results: JsonDict) -> dict[str, list[Dot]]:
    """For base and edited the rates that both have; an arrow at the label tells which way is
    good."""
    both = results["scores"]
    names = [
        n for n in RATES if all(both[side].get(n, {}).get("value") is not None for side, _ in SIDES)
    ]
    comma = ",\n"
    arrows = {name: ARROWS[both["edited"][name]["higher_is_better"]] for name in names}
    labels = {
        name: f"{title(name).replace(', ', comma, 1)}{arrow}" for name, arrow in arrows.items()
    }
    return {
        side: [
            Dot(labels[n], both[side][n], f"95 % interval {format_interval(both[side][n])}")
            for n in names
        ]
        for side, _ in SIDES
    }


def attacked(attacks: list[JsonDict]) -> dict[str, list[Dot]]:
    """For base and edited the harmful rate under each attack, with what it cost."""
    measured = [row for row in attacks if row["scores"]["harmful_rate"]["value"] is not None]

    def label(row: JsonDict) -> str:
        return "no attack" if row["attack"] == "none" else f"{row['attack']}: {row['variant']}"

    return {
        side: [
            Dot(label(row), row["scores"]["harmful_rate"], f"cost: {row['cost']['text']}")
            for row in measured
            if row["on"] == side
        ]
        for side, _ in SIDES
    }


def relearning(attacks: list[JsonDict]) -> dict[tuple[str, str], list[tuple[int, JsonDict]]]:
    """For each way to fine-tune and each model (optimiser steps, harmful rate), from none on."""
    found: dict[tuple[str, str], list[tuple[int, JsonDict]]] = {}
    before: dict[tuple[str, str], JsonDict] = {}
    for row in attacks:
        score, steps = row["scores"]["harmful_rate"], row["cost"].get("steps", 0)
        if score["value"] is None:
            continue
        if row["attack"].startswith("relearn") and steps:
            shown = row["variant"].rpartition(", ")[0]  # without the number of steps
            way = f"{row['attack']}, {shown}"
            start = before.get((row["attack"], row["on"])) or before.get(("none", row["on"]))
            found.setdefault((way, row["on"]), [(0, start)] if start else []).append((steps, score))
        elif not steps:
            before[row["attack"], row["on"]] = score  # the other half, or no attack at all
    return found


def strength_dots(curve: list[JsonDict], metric: str) -> list[JsonDict]:
    """The strengths at which a metric has a value."""
    return [point for point in curve if point["scores"].get(metric, {}).get("value") is not None]


def ends(scores: list[Dot]) -> tuple[list[float], list[float]]:
    """How far the intervals reach below and above the values, for error bars."""
    rows = [row.score for row in scores]
    below, above = (
        [row["value"] - row["low"] for row in rows],
        [row["high"] - row["value"] for row in rows],
    )
    return [max(0.0, gap) for gap in below], [
        max(0.0, gap) for gap in above
    ]  # older results were rounded past it
