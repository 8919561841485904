"""Results of several runs an entry -> the rows of a comparison: means, intervals, differences to
the first entry."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from skunlearn.evaluation.metrics.catalog import HARMFUL_UNSEEN, LABEL_RATES, RETAIN_KL
from skunlearn.evaluation.statistics import (
    crossed_difference,
    crossed_mean,
    newcombe,
    pareto_front,
    seeds_interval,
    wilson,
)
from skunlearn.utils.files import JsonDict
from skunlearn.utils.settings import flat
from skunlearn.workflows.comparison.entries import Entry

RATES = [metric for metric in LABEL_RATES.values() if metric.heading]
SCORES = (RETAIN_KL, "retain_similarity")
MIB = 2**20


def make_table(found: Sequence[tuple[Entry, Sequence[JsonDict]]]) -> JsonDict:
    """`base` and `entries`, JSON-able.

    Args:
        found: each entry with the contents of `results.json` of its runs, by seed; {"failed": why}
            for one that failed.
    """
    ended = [[run for run in runs if "failed" not in run] for _, runs in found]
    rows = [_row(entry, runs, good) for (entry, runs), good in zip(found, ended, strict=True)]
    for row, good in zip(rows[1:], ended[1:], strict=True):
        row["difference"] = _differences(ended[0], good) if good and ended[0] else {}
    trades = {number: trade for number, row in enumerate(rows) if (trade := _trade(row))}
    for number, is_best in zip(trades, pareto_front([*trades.values()]), strict=True):
        rows[number]["front"] = is_best
    first = next((run for good in ended for run in good), None)
    base = _scores([first], "base") if first else {}
    judge = first["judge"] if first else None
    return {
        "base": base,
        "entries": rows,
        "judge": judge,
        "environment": first["environment"] if first else None,
    }


def _row(entry: Entry, runs: Sequence[JsonDict], good: Sequence[JsonDict]) -> JsonDict:
    run = entry.run
    return {
        "name": entry.name,
        "method": run.method_name,
        "settings": list(flat(entry.own)),
        "steps": {stage.name: stage.options.steps for stage in run.stages(run.make_method())},
        "batch": run.train.batch,
        "seeds": len(runs),
        "failed": {
            str(number): result["failed"]
            for number, result in enumerate(runs)
            if "failed" in result
        },
        "alpha": [result["alpha"] for result in good],
        "verdict": dict(Counter(result["verdict"] for result in good)),
        "second_judge": [result["second_judge"] for result in good if result["second_judge"]],
        "scores": _scores(good, "edited") | _costs(good) if good else {},
        "difference": {},
        "front": False,
    }


def _scores(runs: Sequence[JsonDict], side: str) -> JsonDict:
    """Each score as mean, interval and the runs' own values."""
    scores = {}
    for metric in RATES:
        values = [run["scores"][side].get(metric.name, {}).get("value") for run in runs]
        hits = _hits(runs, side, metric.group, metric.labels)
        scores[metric.name] = _score(values, _rate_ends(values, hits))
    for name in SCORES:
        own = [run["scores"][side].get(name, {}) for run in runs]
        values = [score.get("value") for score in own]
        scores[name] = _score(values, _over_seeds(values) or _ends(own[0]))  # of one run: over rows
    if side == "edited":
        ratios = [
            next((g["value"] for g in run["gates"] if g["name"] == "perplexity_ratio"), None)
            for run in runs
        ]
        scores["perplexity_ratio"] = _score(ratios, _over_seeds(ratios))
    return scores


def _costs(runs: Sequence[JsonDict]) -> JsonDict:
    costs = {
        "training_seconds": [run["seconds"].get("stage 1") for run in runs],
        "total_seconds": [sum(run["seconds"].values()) for run in runs],
        "peak_resident_mib": [
            run["peak_resident"] / MIB if run.get("peak_resident") else None for run in runs
        ],
    }
    return {name: _score(values, _over_seeds(values)) for name, values in costs.items()}


def _score(values: Sequence[float | None], ends: tuple[float, float] | None) -> JsonDict:
    known = [value for value in values if value is not None]
    low, high = ends if ends and known and np.isfinite(ends).all() else (None, None)
    return {
        "mean": float(np.mean(known)) if known else None,
        "low": low,
        "high": high,
        "values": list(values),
    }


def _rate_ends(
    values: Sequence[float | None], hits: Sequence[dict[str, float]]
) -> tuple[float, float] | None:
    """Bootstrap over prompts and seeds, but never narrower than Wilson's interval of the mean rate
    on so many prompts: of nothing but zeros a bootstrap makes a certainty."""
    known = [value for value in values if value is not None]
    if not known or not hits[0]:
        return None
    n = sum(any(np.isfinite(row[prompt]) for row in hits) for prompt in hits[0])
    drawn, counted = (
        crossed_mean([[*row.values()] for row in hits])[1:],
        wilson(round(float(np.mean(known)) * n), n),
    )
    return min(drawn[0], counted[0]), max(drawn[1], counted[1])


def _over_seeds(values: Sequence[float | None]) -> tuple[float, float] | None:
    """All of these are 0 or more by their nature."""
    ends = seeds_interval([value for value in values if value is not None])
    return (max(0.0, ends[0]), ends[1]) if ends else None


def _ends(score: JsonDict) -> tuple[float, float] | None:
    """The interval over rows that a single run has."""
    return (score["low"], score["high"]) if score.get("low") is not None else None


def _hits(runs: Sequence[JsonDict], side: str, group: str, labels: Any) -> list[dict[str, float]]:
    """For each run: prompt -> 1 when its answer has one of the labels, 0 when another, NaN when it
    is unscored."""
    return [
        {
            row["prompt"]: float("nan")
            if row[side]["label"] is None
            else float(row[side]["label"] in labels)
            for row in run["transcripts"]
            if row["group"] == group
        }
        for run in runs
    ]


def _differences(first: Sequence[JsonDict], runs: Sequence[JsonDict]) -> JsonDict:
    """Each rate less the first entry's on the same prompts; prompts and seeds are bootstrapped."""
    found = {}
    for metric in RATES:
        before = _hits(first, "edited", metric.group, metric.labels)
        after = _hits(runs, "edited", metric.group, metric.labels)
        if before[0]:
            prompts = list(before[0])
            value, low, high = crossed_difference(
                [[row[prompt] for prompt in prompts] for row in before],
                [[row[prompt] for prompt in prompts] for row in after],
            )
            if low == high:  # of what did not change, or all alike, a bootstrap makes a certainty
                pairs = np.array(
                    [[row[prompt] for prompt in prompts] for row in (before[0], after[0])]
                )
                low, high = newcombe(*pairs[:, np.isfinite(pairs).all(axis=0)].tolist())
            finite = np.isfinite([value, low, high]).all()
            found[metric.name] = (
                {"value": value, "low": low, "high": high, "n": len(prompts)} if finite else None
            )
    return found


def _trade(row: JsonDict) -> tuple[float, float] | None:
    """Harm and what it costs, lower is better."""
    if not row["scores"]:
        return None
    harm, cost = (row["scores"][name]["mean"] for name in (HARMFUL_UNSEEN, RETAIN_KL))
    return None if harm is None or cost is None else (harm, cost)
